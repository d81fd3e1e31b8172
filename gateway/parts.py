"""The parts of an App by name, so that the next App can keep every part whose settings did not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Parts:
    """The parts of one App, each with what it was made of.

    A part is used again when it would be made of equal things: then its connections, what it has learned, what it has
    counted and what it still owes outlive a change of the settings that are none of its own.

    Args:
        before: Of the App that serves now; None at the start.

    Attributes:
        made: Name -> what a part was made of, and the part.
    """

    def __init__(self, before: Parts | None = None) -> None:
        self._before = {} if before is None else before.made
        self.made: dict[str, tuple[tuple[object, ...], Any]] = {}

    def get(self, name: str, of: tuple[object, ...], make: Callable[[], T]) -> T:
        """A part: the earlier App's, or a new one.

        Args:
            name: Of the part, unique among the parts.
            of: Everything it is made of that may differ: settings, and the parts it holds.
            make: Makes it.
        """
        known = self._before.get(name)
        part: T = known[1] if known is not None and known[0] == of else make()
        self.made[name] = (of, part)
        return part

    def release_previous(self) -> None:
        """All are made: let go of the earlier App's."""
        self._before = {}

    def contains(self, part: object) -> bool:
        """Whether a part is among these."""
        return any(part is mine for _, mine in self.made.values())
