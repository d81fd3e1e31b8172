"""Delayed hedging: a second expert is asked when the first one takes longer than foreseen, and the quicker one answers.

After Dean and Barroso, "The Tail at Scale" (2013): waiting for the predicted 95th percentile before the second call
keeps the extra load at a few per cent, and an allowance keeps it there when the prediction is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum

from experts.errors import ExpertStreamBroken, ExpertUnavailable
from experts.protocols import ExpertReply, Headers
from gateway.allowance import Allowance
from gateway.recorder import Attempt
from gateway.tasks import end
from routers.types import Decision


class Hedge(StrEnum):
    """How the second call fared. The values appear in metrics."""

    WON = "won"
    LOST = "lost"
    NOT_ALLOWED = "not_allowed"


@dataclass(frozen=True, slots=True)
class HedgePolicy:
    """When to ask a second expert.

    Attributes:
        after: Multiple of the predicted p95.
        least_s: What the first one has in any case, and all it has where nothing is predicted of it.
    """

    after: float = 1.0
    least_s: float = 0.05


class Begun:
    """A streamed reply whose first piece is here already.

    Args:
        reply: The rest of it.
        pieces: Its pieces after the first.
        first: The first.
    """

    def __init__(self, reply: ExpertReply, pieces: AsyncIterator[bytes], first: bytes) -> None:
        self._reply = reply
        self._pieces = pieces
        self._first = first

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._reply.status

    @property
    def headers(self) -> Headers:
        """Response headers."""
        return self._reply.headers

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body, from its beginning."""
        yield self._first
        async for piece in self._pieces:
            yield piece

    async def aclose(self) -> None:
        """As the reply's."""
        await self._reply.aclose()


async def begun(name: str, reply: ExpertReply) -> ExpertReply:
    """Wait for the first piece of a streamed reply.

    Raises:
        ExpertError: It broke off before; the reply is closed.
    """
    pieces = aiter(reply)
    try:
        first = await anext(pieces, b"")
    except ExpertStreamBroken as error:
        await reply.aclose()
        raise ExpertUnavailable(name, error.message) from error
    except BaseException:  # a cancellation too leaves a connection to give back
        await reply.aclose()
        raise
    return Begun(reply, pieces, first)


@dataclass(frozen=True, slots=True)
class Found:
    """An expert's answer, whole or begun.

    Attributes:
        attempt: Whose.
        reply: Its head, and the pieces of a stream.
        body: The whole body where it is not streamed.
    """

    attempt: Attempt
    reply: ExpertReply
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Entrant:
    """An attempt in a race; None in the end when another expert is to be tried."""

    attempt: Attempt
    task: asyncio.Task[Found | None]


#: Sends a call to an expert; told what answers whether no other may follow once this one has failed.
Enter = Callable[[str, Callable[[], bool]], Entrant]


class Hedging:
    """Lets two experts race. One per process.

    Args:
        policy: The operator's.
        allowance: Of second calls.
        on_hedge: Told how each second call fared.
    """

    def __init__(self, policy: HedgePolicy, allowance: Allowance, on_hedge: Callable[[str], None]) -> None:
        self._policy = policy
        self._allowance = allowance
        self._on_hedge = on_hedge

    def delay_s(self, decision: Decision, name: str, *, stream: bool) -> float:
        """How long the first expert has before the second is asked."""
        of = next((one.estimates for one in decision.candidates if one.spec.name == name), None)
        p95_ms = None if of is None else of.ttft_ms_worst if stream else of.latency_ms_worst
        return max(self._policy.least_s, self._policy.after * (p95_ms or 0.0) / 1e3)

    async def race(self, names: tuple[str, ...], delay_s: float, enter: Enter) -> tuple[Found | None, tuple[str, ...]]:
        """Ask the first expert, and the second when it is late.

        Args:
            names: Experts that may be asked, at least two.
            delay_s: How long the first one has.
            enter: Sends a call.

        Returns:
            The answer, None when none came; and the experts not asked yet.

        Raises:
            RequestRefused: All that may be asked have failed.
        """
        self._allowance.request()
        entrants: list[Entrant] = []

        def no_other() -> bool:
            running = sum(not entrant.task.done() for entrant in entrants)
            # The one that asks is itself still running.
            return running <= 1 and len(names) == len(entrants)

        first = enter(names[0], no_other)
        entrants.append(first)
        winner: Entrant | None = None
        try:
            await asyncio.wait({first.task}, timeout=delay_s)
            late = not first.task.done()
            if late and not self._allowance.spent:
                self._allowance.take()
                second = enter(names[1], no_other)
                second.attempt.rival = True
                entrants.append(second)
            elif late:
                self._on_hedge(Hedge.NOT_ALLOWED.value)
            winner = await _quickest(entrants)
            if len(entrants) > 1:
                self._on_hedge((Hedge.WON if winner is entrants[1] else Hedge.LOST).value)
            return None if winner is None else winner.task.result(), names[len(entrants) :]
        finally:
            await _end(entrants, winner)


async def _quickest(entrants: list[Entrant]) -> Entrant | None:
    """Who answers first; None when all failed and others may be asked. Whoever did not is a rival from then on."""
    pending = {entrant.task: entrant for entrant in entrants}
    while pending:
        done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            entrant = pending.pop(task)
            # A failure that settles the request is raised here, and settles it for the others as well.
            if task.exception() is None and task.result() is None:
                continue
            for other in entrants:
                other.attempt.rival = other is not entrant
                if other is not entrant:
                    entrant.attempt.beside = other.attempt.expert
            task.result()
            return entrant
    return None


async def _end(entrants: list[Entrant], winner: Entrant | None) -> None:
    """Cancel who did not win, and give back an answer that came in the same moment."""
    losers = [entrant for entrant in entrants if entrant is not winner]
    await end(*(entrant.task for entrant in losers))
    for entrant in losers:
        task = entrant.task
        if task.cancelled() or task.exception() is not None:
            continue
        found = task.result()
        if found is not None:
            found.attempt.flight.cancel()
            await found.reply.aclose()
