"""References to the environment in litellm's notation, `os.environ/NAME`, and what must be written so."""

from __future__ import annotations

import re
from typing import Final

_ENV: Final = re.compile(r"^os\.environ/([A-Za-z_][A-Za-z0-9_]*)$")
_SECRET: Final = re.compile(r"(?:key|secret|password|credential)s?$|(?:^|_)token$", re.IGNORECASE)


def looks_secret(name: str) -> bool:
    """Whether a parameter's name says that its value is a secret."""
    return _SECRET.search(name) is not None


def variable_of(value: object) -> str | None:
    """The environment variable in `os.environ/NAME`, None for any other value."""
    match = _ENV.match(value) if isinstance(value, str) else None
    return match.group(1) if match else None
