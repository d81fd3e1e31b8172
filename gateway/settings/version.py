"""The version of the settings that serves, and the result of the last change to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pointsman.gateway.settings.tree import Settings


class ReloadOutcome(StrEnum):
    """What became of a command to change the settings. The values are labels of a metric."""

    SWITCHED = "switched"
    ROLLED_BACK = "rolled_back"
    INVALID = "invalid"
    FIXED = "fixed"
    FAILED = "failed"
    NOT_READY = "not_ready"

    @property
    def changed(self) -> bool:
        """Whether other settings serve now."""
        return self in (ReloadOutcome.SWITCHED, ReloadOutcome.ROLLED_BACK)


class ReloadRefused(Exception):
    """The new settings do not serve.

    Attributes:
        outcome: What to call it.
        why: For the operator.
    """

    def __init__(self, outcome: ReloadOutcome, why: str) -> None:
        super().__init__(why)
        self.outcome = outcome
        self.why = why


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """What became of a command to change the settings.

    Attributes:
        outcome: In a word.
        version: Of the settings that serve now.
        digest: Of the same: equal settings have equal digests.
        why: Where nothing changed, the reason.
    """

    outcome: ReloadOutcome
    version: int
    digest: str
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {"outcome": self.outcome.value, "version": self.version, "digest": self.digest, "why": self.why}

    @staticmethod
    def from_dict(apply_report: dict[str, Any]) -> ReloadReport:
        """The inverse."""
        return ReloadReport(
            ReloadOutcome(apply_report["outcome"]), apply_report["version"], apply_report["digest"], apply_report["why"]
        )


def digest_of(settings: Settings) -> str:
    """Twelve characters that are equal for equal settings, in any process. Secrets are no part of settings."""
    return hashlib.sha256(json.dumps(_in_order(settings.model_dump()), default=str).encode()).hexdigest()[:12]


def _in_order(value: Any) -> Any:
    """Sets come in an order of their process's own."""
    match value:
        case dict():
            return {key: _in_order(item) for key, item in sorted(value.items())}
        case list() | tuple():
            return [_in_order(item) for item in value]
        case set() | frozenset():
            return sorted(map(str, value))
    return value


class SettingsVersion:
    """What a serving process knows of its settings' version, and how it requests a change. One per process.

    Attributes:
        version: Of what serves.
        digest: Of the same.
        last: The latest report; None before the first.
    """

    def __init__(self, settings: Settings) -> None:
        self.version = 1
        self.digest = digest_of(settings)
        self.last: ReloadReport | None = None
        self._ask: Callable[[str], Awaitable[ReloadReport]] | None = None

    def apply_report(self, report: ReloadReport) -> None:
        """Hear what became of a command, anybody's."""
        self.version, self.digest, self.last = report.version, report.digest, report

    def set_change_handler(self, ask: Callable[[str], Awaitable[ReloadReport]]) -> None:
        """Set the function that changes the settings: called with `reload` or `rollback`."""
        self._ask = ask

    async def reload(self) -> ReloadReport:
        """Reload the settings in all workers."""
        return await self._request_change("reload")

    async def rollback(self) -> ReloadReport:
        """Have the settings before the present ones serve again, in all workers."""
        return await self._request_change("rollback")

    async def _request_change(self, command: str) -> ReloadReport:
        if self._ask is None:
            return ReloadReport(ReloadOutcome.FAILED, self.version, self.digest, "nobody here reads settings again")
        return await self._ask(command)

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        last = None if self.last is None else {"outcome": self.last.outcome.value, "why": self.last.why}
        return {"version": self.version, "digest": self.digest, "last_change": last}
