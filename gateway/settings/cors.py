"""Settings of calls from browsers: which pages of other origins may call."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from pointsman.gateway.settings.base import Node
from pointsman.gateway.settings.problems import TreeProblems
from pointsman.gateway.settings.yaml_source import Path


class CorsSettings(Node):
    """Cross-origin resource sharing. A key in a page is known to everybody who opens it."""

    origins: tuple[str, ...] = ()
    """Origins whose pages may call, such as `https://app.example.org`, or `"*"` for all; none by default."""
    headers: tuple[str, ...] = ()
    """Request headers that pages may send; whatever they ask for when left out."""
    credentials: bool = False
    """Whether browsers may send cookies and logins along, for a proxy that wants them; not with `"*"`."""
    max_age_s: int = Field(default=600, ge=0)
    """Seconds that a browser may remember what it was told."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        problems: list[tuple[Path, str]] = []
        for index, origin in enumerate(self.origins):
            scheme, _, host = origin.partition("://")
            if origin != "*" and (not scheme or not host or "/" in host or origin != origin.lower()):
                problems.append((("origins", index), "must be '*' or an origin such as https://app.example.org"))
        if self.credentials and "*" in self.origins:
            problems.append((("credentials",), "cannot be true for all origins; name them"))
        if problems:
            raise TreeProblems(problems)
        return self
