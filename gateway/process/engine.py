"""Engine processes that backends declare for all their experts.

The process that holds them outlives the workers that use them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pointsman.experts.backend_registry import backend_spec

if TYPE_CHECKING:
    from pointsman.experts.backend_spec import Engine
    from pointsman.gateway.settings import Settings

_log = logging.getLogger(__name__)


class Engines:
    """The engines that were started, by backend."""

    def __init__(self) -> None:
        self._held: dict[str, Engine] = {}

    async def hold(self, settings: Settings) -> None:
        """Start the engine of each backend that these settings name, unless it runs already."""
        for name in dict.fromkeys(expert.backend for expert in settings.pool.experts):
            make = backend_spec(name).engine
            if make is None or name in self._held:
                continue
            engine = self._held[name] = make()
            try:
                await engine.ensure()
            except OSError as error:
                # The experts try again themselves, and report the failure to their callers.
                _log.error("the engine of backend %s does not start: %s", name, error)

    async def aclose(self) -> None:
        """End those that were started here."""
        for engine in self._held.values():
            await engine.aclose()
        self._held.clear()
