"""Further files that a file in litellm's shape names under `include`: their sections are added to its own."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Any, Final

from pointsman.gateway.settings import yaml_source
from pointsman.gateway.settings.base import SettingsError
from pointsman.gateway.settings.litellm.records import Migration
from pointsman.gateway.settings.yaml_source import Path

_MOST_FILES: Final = 100


def included(data: dict[str, Any], folder: FilePath, migration: Migration) -> dict[str, Any]:
    """A document with the sections of all files that it includes. Lists are joined; of mappings, what is new is added.

    Args:
        data: The document.
        folder: What the names of files are relative to.
        migration: Is told of files that cannot be read.
    """
    found = {name: value for name, value in data.items() if name != "include"}
    left = _names(data.get("include"), ("include",), migration)
    seen: set[FilePath] = set()
    while left:
        path, name = left.pop(0)
        file = (folder / name).absolute()
        if file in seen or len(seen) >= _MOST_FILES:
            continue
        seen.add(file)
        further = _read(file, path, migration)
        left += [(path, one) for _, one in _names(further.pop("include", None), path, migration)]
        migration.became(path, f"the sections of {name} were added")
        for section, value in further.items():
            found[section] = _joined(found.get(section), value)
    return found


def _names(value: object, path: Path, migration: Migration) -> list[tuple[Path, str]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        migration.problems.append((path, "must be a list of names of files"))
        return []
    return [((*path, index), one) for index, one in enumerate(value)]


def _read(file: FilePath, path: Path, migration: Migration) -> dict[str, Any]:
    try:
        return yaml_source.parse(file.read_text(encoding="utf-8"), file.name).data
    except (OSError, UnicodeDecodeError) as error:
        why = "it is no text" if isinstance(error, UnicodeDecodeError) else error.strerror
        migration.problems.append((path, f"{file.name} cannot be read: {why}"))
    except SettingsError as error:
        migration.problems += [(path, f"{file.name}: {problem}") for problem in error.problems]
    return {}


def _joined(own: object, further: object) -> object:
    if isinstance(own, list) and isinstance(further, list):
        return [*own, *further]
    if isinstance(own, dict) and isinstance(further, dict):
        return {**further, **own}
    return further if own is None else own
