"""Paths in a settings file are relative to that file, not to where the command was called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

from pointsman.experts.backend_registry import BackendUnavailable, backend_spec

#: Values of `router.artifact` that are names rather than folders.
ARTIFACT_NAMES: Final = frozenset({"default"})


def resolve_paths(data: dict[str, Any], folder: Path) -> None:
    """Make the relative paths of raw settings absolute, in place."""
    for expert in _mappings(_below(data, "pool", "experts")):
        _absolute(expert, "api_key_file", folder)
        options = expert.get("options")
        if isinstance(options, dict):
            for key in _paths_among_options(expert.get("backend")):
                _absolute(options, key, folder)
    for key_settings in _mappings(_below(data, "auth", "keys")):
        _absolute(key_settings, "key_file", folder)
    auth = data.get("auth")
    if isinstance(auth, dict):
        _absolute(auth, "pepper_file", folder)
    ledger = data.get("ledger")
    if isinstance(ledger, dict):
        _absolute(ledger, "path", folder)
    router = data.get("router")
    if isinstance(router, dict) and router.get("artifact") not in ARTIFACT_NAMES:
        _absolute(router, "artifact", folder)


def _paths_among_options(backend: Any) -> Iterator[str]:
    """Names of the options that are paths."""
    if not isinstance(backend, str):
        return
    try:
        fields = backend_spec(backend).options.model_fields
    except BackendUnavailable:
        # The check of the settings reports it.
        return
    for name, field in fields.items():
        if field.annotation is Path or Path in get_args(field.annotation):
            yield name


def _absolute(holder: dict[str, Any], key: str, folder: Path) -> None:
    value = holder.get(key)
    if isinstance(value, str) and value:
        holder[key] = str((folder / Path(value).expanduser()).absolute())


def _below(data: dict[str, Any], branch: str, leaf: str) -> Any:
    found = data.get(branch)
    return found.get(leaf) if isinstance(found, dict) else None


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
