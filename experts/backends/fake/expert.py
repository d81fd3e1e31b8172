"""The fake as a backend in this process."""

from __future__ import annotations

import time
from collections.abc import Callable

from pointsman.experts.backend_spec import BackendSetup, BackendSpec
from pointsman.experts.backends.fake.script import Script, plan_call
from pointsman.experts.backends.planned import PlannedReply, Stats, play
from pointsman.experts.protocols import ExpertCall
from pointsman.experts.spec import UNWRITTEN_CAPABILITIES, ExpertSpec


class FakeExpert:
    """A scripted expert in this process.

    Args:
        spec: What it pretends to be.
        script: What it does.
        time_s: Unix time, for the `created` of answers.
    """

    def __init__(self, spec: ExpertSpec, script: Script | None = None, time_s: Callable[[], float] = time.time) -> None:
        self._spec = spec
        self._time_s = time_s
        self.script = script or Script()
        self.stats = Stats()

    @property
    def spec(self) -> ExpertSpec:
        """What it pretends to be."""
        return self._spec

    async def start(self) -> None:
        """Nothing to prepare."""

    async def call(self, call: ExpertCall) -> PlannedReply:
        """Play the script for one call.

        Raises:
            ExpertUnavailable: The script refuses.
            ExpertTimeout: The head is due later than the call allows.
        """
        number = self.stats.started
        self.stats.started += 1
        plan = plan_call(self.script, self._spec.model, number, call.endpoint, call.payload, int(self._time_s()))
        return await play(self._spec.name, plan, call, self.stats)

    async def probe(self) -> str | None:
        """Always well: a script speaks of calls."""
        return None

    async def aclose(self) -> None:
        """Nothing to let go of."""


def _build(setup: BackendSetup[Script]) -> FakeExpert:
    return FakeExpert(setup.spec, setup.options)


BACKEND = BackendSpec(
    reaches="a script",
    options=Script,
    build=_build,
    endpoints=UNWRITTEN_CAPABILITIES,
    answers="as scripted",
)
