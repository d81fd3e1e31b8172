"""The engine of the embedded experts, held by a process that outlives whoever asks for it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gateway.settings import Backend

if TYPE_CHECKING:
    from experts.backends.embedded_engine import EngineProcess
    from gateway.settings import Settings

_log = logging.getLogger(__name__)


async def engine_for(settings: Settings) -> EngineProcess | None:
    """The engine, started unless it runs already; None where these settings name no embedded expert."""
    if not any(expert.backend is Backend.EMBEDDED for expert in settings.pool.experts):
        return None
    from experts.backends.embedded_engine import EngineProcess, default_socket

    engine = EngineProcess(default_socket())
    try:
        await engine.ensure()
    except OSError as error:
        # The experts try again themselves, and say so to whoever asks for them.
        _log.error("the embedded engine does not start: %s", error)
    return engine
