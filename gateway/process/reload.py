"""Changes the settings of a running gateway: in every process or in none, with rollback.

There are two phases. Every serving process builds the new App beside the one that serves, and tries it. They switch
only after all of them are ready. A failure before that leaves everything as it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from pointsman.gateway.settings import Settings, SettingsError
from pointsman.gateway.settings.version import ReloadOutcome, ReloadRefused, ReloadReport, digest_of

_log = logging.getLogger(__name__)

#: What a listening socket and a supervisor were made of.
_FIXED: Final = ("server.host", "server.port", "server.workers", "admin")
#: A worker that has not built an App after so long will not.
_PREPARE_S: Final = 60.0


class ReloadTarget(Protocol):
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
        targets: Where settings are to serve, asked anew each time.
        publish: Told every report.
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
        targets: Callable[[Settings], Awaitable[Sequence[ReloadTarget]]],
        publish: Callable[[ReloadReport], None],
        changing: asyncio.Lock,
    ) -> None:
        self.settings = settings
        self.version = 1
        self.last: ReloadReport | None = None
        self._digest = digest_of(settings)
        self._previous: Settings | None = None
        self._read = read
        self._targets = targets
        self._publish = publish
        self._changing = changing

    async def reload(self) -> ReloadReport:
        """Read the settings anew and serve them."""
        return await self._report(self._read, ReloadOutcome.SWITCHED)

    async def rollback(self) -> ReloadReport:
        """Serve the settings before the present ones again; a second time, the present ones."""
        return await self._report(self._before, ReloadOutcome.ROLLED_BACK)

    def _before(self) -> Settings:
        if self._previous is None:
            raise SettingsError(["there are no settings before these"])
        return self._previous

    async def _report(self, read: Callable[[], Settings], success: ReloadOutcome) -> ReloadReport:
        async with self._changing:
            try:
                await self._switch_all(read)
            except ReloadRefused as refused:
                report = ReloadReport(refused.outcome, self.version, self._digest, refused.why)
                _log.error("the settings stay as they are (version %d): %s", self.version, refused.why)
            else:
                report = ReloadReport(success, self.version, self._digest)
                _log.info("the settings serve as version %d (%s)", self.version, self._digest)
            self.last = report
            self._publish(report)
            return report

    async def _switch_all(self, read: Callable[[], Settings]) -> None:
        try:
            settings = await asyncio.to_thread(read)
        except SettingsError as error:
            raise ReloadRefused(ReloadOutcome.INVALID, str(error)) from None
        if fixed := _fixed(self.settings, settings):
            sentence = f"{', '.join(fixed)}: cannot change while the gateway runs; start it again"
            raise ReloadRefused(ReloadOutcome.FIXED, sentence)
        targets = await self._targets(settings)
        if not targets:
            raise ReloadRefused(ReloadOutcome.FAILED, "no worker serves at the moment")
        version = self.version + 1
        results = await asyncio.gather(*(_prepared(target, version, settings) for target in targets))
        refusals = [refusal for refusal in results if refusal is not None]
        if refusals:
            await asyncio.gather(*(target.drop(version) for target in targets))
            # All of them build the same: usually they say the same.
            raise ReloadRefused(refusals[0].outcome, "; ".join(dict.fromkeys(refusal.why for refusal in refusals)))
        # A worker that dies from here on is started again with the new settings.
        self._previous, self.settings, self.version = self.settings, settings, version
        self._digest = digest_of(settings)
        await asyncio.gather(*(target.switch(version) for target in targets))


async def _prepared(target: ReloadTarget, version: int, settings: Settings) -> ReloadRefused | None:
    try:
        async with asyncio.timeout(_PREPARE_S):
            await target.prepare(version, settings)
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
