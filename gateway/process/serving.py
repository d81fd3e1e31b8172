"""The App that serves now, and its replacement by another while requests are running."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from pointsman.experts.errors import ExpertError, ExpertMisconfigured
from pointsman.gateway.app import App, create_app
from pointsman.gateway.http.admin import AdminListener
from pointsman.gateway.http.asgi import Receive, Scope, Send
from pointsman.gateway.process.engine import Engines
from pointsman.gateway.settings import Settings, SettingsError
from pointsman.gateway.settings.version import ReloadOutcome, ReloadRefused, ReloadReport, SettingsVersion
from pointsman.routers.errors import RouterError

_log = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 0.1

#: Why an App cannot be built, for the operator to mend.
MISCONFIGURED: Final = (SettingsError, RouterError, ExpertMisconfigured)


class Serving:
    """Stands where a server expects one app for its whole life. A place where settings serve (`reload.ReloadTarget`).

    Args:
        app: Serves first.

    Attributes:
        current: Takes every new request.
        draining: Whether this process is about to stop: every response closes its connection.
        quiet_s: How long a connection must have been idle to be closed then.
        admin: The operators' listener.
    """

    def __init__(self, app: App) -> None:
        self.current = app
        self.draining = False
        self.quiet_s = 0.0
        self._engines = Engines()
        self.admin = AdminListener(lambda: self.current.runtime)
        self._prepared: dict[int, App] = {}
        self._retiring: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @property
    def settings(self) -> Settings:
        """What serves now."""
        return self.current.runtime.settings

    @property
    def configuration(self) -> SettingsVersion:
        """Which version that is."""
        return self.current.runtime.configuration

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self.current(scope, receive, send)

    def drain(self, quiet_s: float) -> None:
        """Take leave of the clients from now on.

        Args:
            quiet_s: A connection idle for so long is closed; a request that comes before is answered.
        """
        self.draining = True
        self.quiet_s = quiet_s

    async def prepare(self, version: int, settings: Settings) -> None:
        """Build an App and try it, beside the one that serves.

        Raises:
            ReloadRefused: It cannot be built, or is not ready.
        """
        before = self.current
        await self._engines.hold(settings)
        try:
            # In a thread: reading an artefact takes longer than a stream may wait.
            app = await asyncio.to_thread(create_app, settings, before=before)
        except MISCONFIGURED as error:
            raise ReloadRefused(ReloadOutcome.FAILED, str(error)) from error
        async with contextlib.AsyncExitStack() as on_failure:
            on_failure.push_async_callback(app.stop, before)
            try:
                await app.start()
            except ExpertError as error:
                raise ReloadRefused(ReloadOutcome.FAILED, str(error)) from error
            await self._try(app, before)
            self._prepared[version] = app
            on_failure.pop_all()

    @staticmethod
    async def _try(app: App, before: App) -> None:
        """Probe what is new, if the operator wants probes at all.

        Raises:
            ReloadRefused: No expert of it is well, while one of the present App is.
        """
        if not app.runtime.settings.pool.probe_interval_s:
            return
        await app.runtime.pool.probe_new()
        problem = app.runtime.pool.problem
        if problem is not None and before.runtime.pool.problem is None:
            raise ReloadRefused(ReloadOutcome.NOT_READY, problem)

    async def switch(self, version: int) -> None:
        """Serve what was prepared. Requests under way end where they began."""
        app, before = self._prepared.pop(version), self.current
        app.adopt(before)
        self.current = app
        self._retiring = asyncio.create_task(self._retire(before, app, self._retiring), name="retire")

    async def drop(self, version: int) -> None:
        """Forget what was prepared, if anything was."""
        app = self._prepared.pop(version, None)
        if app is not None:
            await app.stop(self.current)

    def apply_report(self, report: ReloadReport, *, count: bool = True) -> None:
        """Hear what became of a command to change the settings.

        Args:
            report: Of it.
            count: Whether to count it; of several workers one does.
        """
        self.configuration.apply_report(report)
        telemetry = self.current.runtime.telemetry
        telemetry.config_version.set(report.version)
        if count:
            telemetry.config_reloads.labels(report.outcome.value).inc()

    async def _retire(self, app: App, successor: App, earlier: asyncio.Task[None] | None) -> None:
        """Close an App once nothing of it is under way, after those before it: parts go from each to the next."""
        await app.quiesce()
        patience_s = self.settings.server.drain_s
        if earlier is not None:
            await earlier
        try:
            async with asyncio.timeout(patience_s):
                await self._until_idle(app)
        except TimeoutError:
            _log.warning("requests older than the settings are broken off after %g s", patience_s)
        await app.stop(successor)

    async def _until_idle(self, app: App) -> None:
        while not app.idle and not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _LOOK_EVERY_S)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._start()
                except (ExpertError, OSError) as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _start(self) -> None:
        await self._engines.hold(self.settings)
        await self.current.start()
        await self.admin.start(self.settings.admin)
        self.current.runtime.telemetry.config_version.set(self.configuration.version)

    async def _stop(self) -> None:
        self._stopping.set()
        await self.admin.stop()
        for version in list(self._prepared):
            await self.drop(version)
        if self._retiring is not None:
            await self._retiring
        await self.current.stop(None)
        await self._engines.aclose()
