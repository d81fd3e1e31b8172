"""From a YAML file and the environment to `Settings`, with every problem at once."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pointsman.gateway.settings import yaml_source
from pointsman.gateway.settings.base import SettingsError
from pointsman.gateway.settings.environment import apply_environment, interpolate, put, replace_addresses, unset_in
from pointsman.gateway.settings.litellm.document import from_litellm, is_litellms
from pointsman.gateway.settings.litellm.pool import with_model_list
from pointsman.gateway.settings.litellm.records import Migration, MigrationRecord
from pointsman.gateway.settings.paths import resolve_paths
from pointsman.gateway.settings.problems import describe, located
from pointsman.gateway.settings.tree import Settings
from pointsman.gateway.settings.yaml_source import Document
from pointsman.gateway.settings.yaml_source import Path as PathInFile

#: The pool that is served when no file is named.
DEFAULT_FILE = Path(__file__).parent.parent / "default.yaml"

#: An address in place of one that nobody knows yet.
_STANDS_FOR = {"base_url": "http://not-set.invalid/v1", "url": "redis://not-set.invalid"}


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings, and what became of what stands in litellm's shape.

    Attributes:
        settings: Checked.
        records: What became of each entry in litellm's shape, in the file's order.
    """

    settings: Settings
    records: tuple[tuple[MigrationRecord, str], ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for everything that has no counterpart, with its path and line."""
        return tuple(sentence for record, sentence in self.records if record.lost)


def load_settings(
    path: Path | None = None, env: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Read, check and freeze the settings.

    Args:
        path: The YAML file, ours or litellm's; None for the embedded default pool.
        env: The environment; nothing is overridden or interpolated from it when left out. Where a file in litellm's
            shape holds secrets, they are added to it under names of their own: settings hold none.
        overrides: Dotted path -> value, stronger than file and environment (command line options).

    Returns:
        The settings, with relative paths made absolute against the file's folder.

    Raises:
        SettingsError: Something is wrong; lists everything that is.
    """
    return read_settings(path, env, overrides).settings


def read_settings(
    path: Path | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    elsewhere: bool = False,
) -> LoadedSettings:
    """The same, with what became of what stands in litellm's shape.

    Args:
        path: As for `load_settings`.
        env: As for `load_settings`.
        overrides: As for `load_settings`.
        elsewhere: Whether the environment in which it is served is another one. Variables that are not set, and that
            an address in litellm's shape refers to, are warnings then.

    Raises:
        SettingsError: As for `load_settings`.
    """
    file = path if path is not None else DEFAULT_FILE
    text = text_of(file)
    return _parse(text, source=str(file), folder=file.parent, env=env, overrides=overrides, elsewhere=elsewhere)


def text_of(file: Path) -> str:
    """The text of a file.

    Raises:
        SettingsError: It cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SettingsError(["no such file"], str(file)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"cannot be read: {error}"], str(file)) from error


def parse_settings(
    text: str,
    *,
    source: str,
    folder: Path,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """The same from text.

    Args:
        text: The YAML.
        source: Name for errors.
        folder: What relative paths are relative to.
        env: As for `load_settings`.
        overrides: As for `load_settings`.

    Raises:
        SettingsError: Something is wrong; lists everything that is.
    """
    return _parse(text, source=source, folder=folder, env=env, overrides=overrides).settings


def _parse(
    text: str,
    *,
    source: str,
    folder: Path,
    env: Mapping[str, str] | None,
    overrides: Mapping[str, Any] | None,
    elsewhere: bool = False,
) -> LoadedSettings:
    document = yaml_source.parse(text, source)
    environment = env if env is not None else {}
    data, migration = in_our_shape(document, folder, environment)
    if isinstance(env, MutableMapping):
        env.update(migration.variables)
    environment = {**environment, **migration.variables}
    problems = migration.problems + apply_environment(data, environment)
    for dotted, value in (overrides or {}).items():
        put(data, tuple(dotted.split(".")), value)
    if elsewhere:
        _stand_in(data, environment, migration)
    problems += interpolate(data, environment)
    resolve_paths(data, folder)
    settings = _checked(data, problems, migration, document, source)
    return LoadedSettings(settings, told(migration, document))


def _stand_in(data: dict[str, Any], env: Mapping[str, str], migration: Migration) -> None:
    """Put other addresses in place of those in litellm's shape that refer to what is not set here."""

    def change(path: PathInFile, address: str) -> str:
        unset = unset_in(address, env)
        if not unset or migration.origin(path) == path:
            return address
        migration.lost(migration.origin(path), f"the environment variable {unset[0]} is not set here; serve needs it")
        return _STANDS_FOR[str(path[-1])]

    replace_addresses(data, change)


def _checked(
    data: dict[str, Any],
    problems: list[tuple[PathInFile, str]],
    migration: Migration,
    document: Document,
    source: str,
) -> Settings:
    """Raw settings, checked.

    Raises:
        SettingsError: Something is wrong with them, or was before.
    """
    settings: Settings | None = None
    try:
        raw = json.dumps(data)
    except ValueError as error:  # what Python cannot write either: a number of thousands of digits
        raise SettingsError(["not valid YAML: a number cannot be read"], source) from error
    try:
        # JSON, because there strict means "no guessing" and yet lists become tuples and text becomes enums.
        settings = Settings.model_validate_json(raw, strict=True)
    except ValidationError as error:
        # Of an address that the environment does not say, it is enough to say that.
        told_already = {path for path, _ in problems}
        problems = problems + [one for one in describe(error, Settings, document) if one[0] not in told_already]
    if problems or settings is None:
        sentences = [located(migration.origin(where), sentence, document) for where, sentence in problems]
        raise SettingsError(list(dict.fromkeys(sentences)), source)
    return settings


def check_raw(data: dict[str, Any], migration: Migration, document: Document, source: str) -> None:
    """See that raw settings can be used, whatever the addresses are that the environment is to say.

    Raises:
        SettingsError: They cannot.
    """
    data = copy.deepcopy(data)
    replace_addresses(data, lambda path, address: _STANDS_FOR[str(path[-1])] if "${" in address else address)
    _checked(data, migration.problems, migration, document, source)


def in_our_shape(document: Document, folder: Path, env: Mapping[str, str]) -> tuple[dict[str, Any], Migration]:
    """Raw settings in which nothing is in litellm's shape any more, and what became of what was.

    Args:
        document: The file.
        folder: What relative paths are relative to.
        env: The environment.
    """
    data, migration = document.data, Migration(env)
    if is_litellms(data):
        data = from_litellm(data, folder, migration, frozenset(Settings.model_fields))
    return with_model_list(data, migration), migration


def told(migration: Migration, document: Document) -> tuple[tuple[MigrationRecord, str], ...]:
    """What became of each entry, with a sentence that names its path and line, in the file's order."""
    records = sorted(migration.records, key=lambda record: document.line(record.path) or 0)
    return tuple((record, located(record.path, record.sentence, document)) for record in records)
