"""Changing the settings of a running gateway: everywhere or nowhere, and back again.

Two phases. Every serving process builds the new App beside the one that serves and tries it; only when all of them have
it ready does any of them switch. Whatever goes wrong before that leaves everything as it was.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from gateway.settings import Settings, SettingsError

_log = logging.getLogger(__name__)

#: What a listening socket and a supervisor were made of.
_FIXED: Final = ("server.host", "server.port", "server.workers", "admin")
#: A worker that has not built an App after so long will not.
_PREPARE_S: Final = 60.0


class ReloadOutcome(StrEnum):
    """What became of a wish to change the settings. The values are labels of a metric."""

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
class Report:
    """What became of a wish to change the settings.

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
    def from_dict(told: dict[str, Any]) -> Report:
        """The inverse."""
        return Report(ReloadOutcome(told["outcome"]), told["version"], told["digest"], told["why"])


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


class Place(Protocol):
    """Where settings serve: this process, or a worker."""

    async def prepare(self, version: int, settings: Settings) -> None:
        """Build an App and try it, beside the one that serves.

        Raises:
            ReloadRefused: It cannot be built, or is not ready.
        """

    async def switch(self, version: int) -> None:
        """Serve what was prepared."""

    async def drop(self, version: int) -> None:
        """Forget what was prepared, if anything was."""


class Reloader:
    """Changes the settings of all places at once.

    Args:
        settings: What serves now; version 1.
        read: Reads the settings anew; raises SettingsError.
        places: Where settings are to serve, asked anew each time.
        tell: Told every report.
        changing: Held while settings change; held by others, nothing changes.

    Attributes:
        settings: What serves now.
        version: Of it.
        last: The latest report; None before the first.
    """

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings],
        places: Callable[[Settings], Awaitable[Sequence[Place]]],
        tell: Callable[[Report], None],
        changing: asyncio.Lock,
    ) -> None:
        self.settings = settings
        self.version = 1
        self.last: Report | None = None
        self._digest = digest_of(settings)
        self._previous: Settings | None = None
        self._read = read
        self._places = places
        self._tell = tell
        self._changing = changing

    async def reload(self) -> Report:
        """Read the settings anew and serve them."""
        return await self._report(self._read, ReloadOutcome.SWITCHED)

    async def rollback(self) -> Report:
        """Serve the settings before the present ones again; a second time, the present ones."""
        return await self._report(self._before, ReloadOutcome.ROLLED_BACK)

    def _before(self) -> Settings:
        if self._previous is None:
            raise SettingsError(["there are no settings before these"])
        return self._previous

    async def _report(self, read: Callable[[], Settings], success: ReloadOutcome) -> Report:
        async with self._changing:
            try:
                await self._change(read)
            except ReloadRefused as refused:
                report = Report(refused.outcome, self.version, self._digest, refused.why)
                _log.error("the settings stay as they are (version %d): %s", self.version, refused.why)
            else:
                report = Report(success, self.version, self._digest)
                _log.info("the settings serve as version %d (%s)", self.version, self._digest)
            self.last = report
            self._tell(report)
            return report

    async def _change(self, read: Callable[[], Settings]) -> None:
        try:
            settings = await asyncio.to_thread(read)
        except SettingsError as error:
            raise ReloadRefused(ReloadOutcome.INVALID, str(error)) from None
        if fixed := _fixed(self.settings, settings):
            sentence = f"{', '.join(fixed)}: cannot change while the gateway runs; start it again"
            raise ReloadRefused(ReloadOutcome.FIXED, sentence)
        places = await self._places(settings)
        if not places:
            raise ReloadRefused(ReloadOutcome.FAILED, "no worker serves at the moment")
        version = self.version + 1
        results = await asyncio.gather(*(_prepared(place, version, settings) for place in places))
        refusals = [refusal for refusal in results if refusal is not None]
        if refusals:
            await asyncio.gather(*(place.drop(version) for place in places))
            # All of them build the same: usually they say the same.
            raise ReloadRefused(refusals[0].outcome, "; ".join(dict.fromkeys(refusal.why for refusal in refusals)))
        # A worker that dies from here on is started again with the new settings.
        self._previous, self.settings, self.version = self.settings, settings, version
        self._digest = digest_of(settings)
        await asyncio.gather(*(place.switch(version) for place in places))


async def _prepared(place: Place, version: int, settings: Settings) -> ReloadRefused | None:
    try:
        async with asyncio.timeout(_PREPARE_S):
            await place.prepare(version, settings)
    except ReloadRefused as refused:
        return refused
    except TimeoutError:
        return ReloadRefused(ReloadOutcome.FAILED, f"nothing was built within {_PREPARE_S:g} s")
    return None


def _fixed(now: Settings, then: Settings) -> list[str]:
    """What was changed that cannot be."""
    return [path for path in _FIXED if _at(now, path) != _at(then, path)]


def _at(settings: Settings, path: str) -> object:
    found: object = settings
    for name in path.split("."):
        found = getattr(found, name, None)
    return found


class Configuration:
    """What a serving process knows of its settings' version, and whom it asks to change them. One per process.

    Attributes:
        version: Of what serves.
        digest: Of the same.
        last: The latest report; None before the first.
    """

    def __init__(self, settings: Settings) -> None:
        self.version = 1
        self.digest = digest_of(settings)
        self.last: Report | None = None
        self._ask: Callable[[str], Awaitable[Report]] | None = None

    def told(self, report: Report) -> None:
        """Hear what became of a wish, anybody's."""
        self.version, self.digest, self.last = report.version, report.digest, report

    def changed_by(self, ask: Callable[[str], Awaitable[Report]]) -> None:
        """Set whom to ask: called with `reload` or `rollback`."""
        self._ask = ask

    async def reload(self) -> Report:
        """Have the settings read anew, for all workers."""
        return await self._asked("reload")

    async def rollback(self) -> Report:
        """Have the settings before the present ones serve again, in all workers."""
        return await self._asked("rollback")

    async def _asked(self, wish: str) -> Report:
        if self._ask is None:
            return Report(ReloadOutcome.FAILED, self.version, self.digest, "nobody here reads settings again")
        return await self._ask(wish)

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        last = None if self.last is None else {"outcome": self.last.outcome.value, "why": self.last.why}
        return {"version": self.version, "digest": self.digest, "last_change": last}
