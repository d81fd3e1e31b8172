"""The installed backends: entry points of this package or of any other. A backend is imported when it is named."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from pointsman.experts.backend_spec import BackendSpec
from pointsman.experts.spec import NULL_BACKEND

_GROUP: Final = "pointsman.backends"


class BackendUnavailable(ValueError):
    """No installed package has a backend of this name, or the one that has it is broken."""


def installed_backends() -> tuple[str, ...]:
    """Names of the backends that settings may state, sorted. None of them is imported."""
    return tuple(sorted({point.name for point in _points()}))


@cache
def backend_spec(name: str) -> BackendSpec[Any]:
    """The declaration of a backend.

    Args:
        name: As the settings state it.

    Raises:
        BackendUnavailable: None is installed, two are, or it cannot be imported.
    """
    # The same package may be found twice on the path; that is one backend.
    points = {point.value: point for point in _points() if point.name == name}
    if not points:
        names = installed_backends()
        if not names:
            raise BackendUnavailable(
                "no backend is installed: install Pointsman again, so that its entry points are new"
            )
        close = difflib.get_close_matches(name, names, n=1)
        meant = f" (did you mean {close[0]}?)" if close else ""
        raise BackendUnavailable(f"no backend '{name}' is installed{meant}; installed are {', '.join(names)}")
    if len(points) > 1:
        packages = " and ".join(sorted(map(_package, points.values())))
        raise BackendUnavailable(f"backend '{name}' is in two packages, {packages}: remove one of them")
    (point,) = points.values()
    try:
        spec = point.load()
    except Exception as error:  # somebody else's module may fail in any way as it is imported
        raise BackendUnavailable(f"backend '{name}' of {_package(point)} cannot be imported: {error!r}") from error
    if not isinstance(spec, BackendSpec):
        raise BackendUnavailable(f"backend '{name}' of {_package(point)}: {point.value} is no BackendSpec")
    return spec


@cache
def _points() -> tuple[EntryPoint, ...]:
    # The name of the experts that call no model is not free.
    return tuple(point for point in entry_points(group=_GROUP) if point.name != NULL_BACKEND)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unnamed package"
