"""From a YAML file and the environment to `Settings`, with every problem at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pointsman.gateway.settings import yaml_source
from pointsman.gateway.settings.base import SettingsError
from pointsman.gateway.settings.environment import apply_environment, interpolate, put
from pointsman.gateway.settings.paths import resolve_paths
from pointsman.gateway.settings.problems import describe, located
from pointsman.gateway.settings.tree import Settings

#: The pool that is served when no file is named.
DEFAULT_FILE = Path(__file__).parent.parent / "default.yaml"


def load_settings(
    path: Path | None = None, env: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Read, check and freeze the settings.

    Args:
        path: The YAML file; None for the embedded default pool.
        env: The environment; nothing is overridden or interpolated from it when left out.
        overrides: Dotted path -> value, stronger than file and environment (command line options).

    Returns:
        The settings, with relative paths made absolute against the file's folder.

    Raises:
        SettingsError: Something is wrong; lists everything that is.
    """
    file = path if path is not None else DEFAULT_FILE
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SettingsError(["no such file"], str(file)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"cannot be read: {error}"], str(file)) from error
    return parse_settings(text, source=str(file), folder=file.parent, env=env, overrides=overrides)


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
    document = yaml_source.parse(text, source)
    data = document.data
    environment = env if env is not None else {}
    problems = apply_environment(data, environment)
    for dotted, value in (overrides or {}).items():
        put(data, tuple(dotted.split(".")), value)
    problems += interpolate(data, environment)
    resolve_paths(data, folder)
    settings: Settings | None = None
    try:
        raw = json.dumps(data)
    except ValueError as error:  # what Python cannot write either: a number of thousands of digits
        raise SettingsError(["not valid YAML: a number cannot be read"], source) from error
    try:
        # JSON, because there strict means "no guessing" and yet lists become tuples and text becomes enums.
        settings = Settings.model_validate_json(raw, strict=True)
    except ValidationError as error:
        problems += describe(error, Settings, document)
    if problems or settings is None:
        raise SettingsError([located(where, sentence, document) for where, sentence in problems], source)
    return settings
