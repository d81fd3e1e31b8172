"""The fake as a backend in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from experts.backends.fake.play import Interrupted, Stats, play_body, wait_for_head
from experts.backends.fake.script import Plan, Script, plan_call
from experts.errors import ExpertStreamBroken, ExpertTimeout, ExpertUnavailable
from experts.protocols import ExpertCall, Headers
from experts.spec import ExpertSpec


class FakeReply:
    """An answer being played. See `experts.protocols.ExpertReply`."""

    def __init__(self, name: str, plan: Plan, arrived_s: float, idle_timeout_s: float | None, stats: Stats) -> None:
        self._name = name
        self._plan = plan
        self._idle_timeout_s = idle_timeout_s
        self._stats = stats
        self._body = play_body(plan, arrived_s)
        self._over = False

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._plan.status

    @property
    def headers(self) -> Headers:
        """Response headers."""
        return self._plan.headers

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """The next pieces.

        Raises:
            ExpertStreamBroken: The script says so, or the reply was closed.
            ExpertTimeout: The script pauses for longer than the call allows.
        """
        if self._over:
            if self._finished:
                raise StopAsyncIteration
            raise ExpertStreamBroken(self._name, "closed by its reader")
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                return await anext(self._body)
        except StopAsyncIteration:
            self._end(finished=True)
            raise
        except Interrupted:
            self._end(finished=True)
            raise ExpertStreamBroken(self._name, "the script breaks the answer here") from None
        except TimeoutError:
            self._end(finished=False)
            raise ExpertTimeout(self._name, f"no byte for {self._idle_timeout_s:g} s") from None
        except asyncio.CancelledError:
            self._end(finished=False)
            raise

    async def aclose(self) -> None:
        """Stop playing; counts as cancelled when the body was not read to its end."""
        self._end(finished=False)
        await self._body.aclose()  # type: ignore[attr-defined]

    def _end(self, *, finished: bool) -> None:
        if self._over:
            return
        self._over, self._finished = True, finished
        if finished:
            self._stats.finished += 1
        else:
            self._stats.cancelled += 1

    _finished = False


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

    async def call(self, call: ExpertCall) -> FakeReply:
        """Play the script for one call.

        Raises:
            ExpertUnavailable: The script refuses.
            ExpertTimeout: The head is due later than the call allows.
        """
        number = self.stats.started
        self.stats.started += 1
        arrived_s = asyncio.get_running_loop().time()
        plan = plan_call(self.script, self._spec.model, number, call.endpoint, call.payload, int(self._time_s()))
        try:
            async with asyncio.timeout(call.head_timeout_s):
                await wait_for_head(plan, arrived_s)
        except Interrupted:
            self.stats.finished += 1
            raise ExpertUnavailable(self._spec.name, "the script refuses the call") from None
        except TimeoutError:
            self.stats.cancelled += 1
            raise ExpertTimeout(self._spec.name, f"no answer within {call.head_timeout_s:g} s") from None
        except asyncio.CancelledError:
            self.stats.cancelled += 1
            raise
        return FakeReply(self._spec.name, plan, arrived_s, call.idle_timeout_s, self.stats)

    async def probe(self) -> str | None:
        """Always well: a script speaks of calls."""
        return None

    async def aclose(self) -> None:
        """Nothing to let go of."""
