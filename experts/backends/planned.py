"""Answers known in advance, played back in time: the common part of the fake expert and the replay of records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from enum import StrEnum

from pointsman.experts.errors import ExpertError, ExpertStreamBroken, ExpertTimeout, ExpertUnavailable
from pointsman.experts.protocols import ExpertCall, Headers
from pointsman.experts.spec import Usage

#: Pieces due within so short a time are sent together: no event loop wakes more often than that.
_COALESCE_S = 0.0005


class EndMode(StrEnum):
    """How a plan ends."""

    COMPLETE = "complete"
    BREAK = "break"
    HANG = "hang"


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """What an expert makes for one call, seen or not.

    Attributes:
        user: For whom: the call's `user`, empty without one.
        prompt_tokens: Read at once.
        steps: (when, tokens) of the answer, counted from the arrival of the call, in order.
    """

    user: str
    prompt_tokens: int
    steps: tuple[tuple[float, int], ...]

    def by(self, elapsed_s: float) -> Usage:
        """What is made by then."""
        return Usage(self.prompt_tokens, sum(tokens for when_s, tokens in self.steps if when_s <= elapsed_s))


@dataclass(frozen=True, slots=True)
class ReplyPlan:
    """What happens on one call, and when.

    Attributes:
        status: HTTP status; 0 when no head is ever sent (`ending` says whether it hangs or closes).
        headers: Of the response.
        head_after_s: When the head is sent, counted from the arrival of the call.
        pieces: (when, what) of the body, in order.
        ending: What happens after the last piece.
        work: What is made meanwhile; None where that is not counted.
    """

    status: int
    headers: Headers = ()
    head_after_s: float = 0.0
    pieces: tuple[tuple[float, bytes], ...] = ()
    ending: EndMode = EndMode.COMPLETE
    work: PlannedWork | None = None

    @property
    def immediate(self) -> bool:
        """Everything happens at once and nothing goes wrong."""
        return (
            self.ending is EndMode.COMPLETE and self.head_after_s == 0 and (not self.pieces or self.pieces[-1][0] == 0)
        )


class PlannedFailure(Exception):
    """The plan ends the answer here."""


@dataclass(slots=True)
class Stats:
    """What became of the calls so far.

    Attributes:
        started: All calls.
        finished: Answered to the end the plan wanted, errors and breaks included.
        cancelled: Left by the caller before that.
        made: Tokens that were made for each user (`PlannedWork`), by the calls that are over.
    """

    started: int = 0
    finished: int = 0
    cancelled: int = 0
    made: dict[str, Usage] = field(default_factory=dict)

    def worked(self, plan: ReplyPlan, elapsed_s: float) -> None:
        """A call is over, so long after it arrived: count what was made for it."""
        work = plan.work
        if work is not None:
            made, before = work.by(elapsed_s), self.made.get(work.user)
            if before is not None:
                made = Usage(
                    before.prompt_tokens + made.prompt_tokens, before.completion_tokens + made.completion_tokens
                )
            self.made[work.user] = made

    @property
    def in_flight(self) -> int:
        """Calls of which nothing has become yet."""
        return self.started - self.finished - self.cancelled


class PlannedReply:
    """An answer being played. See `pointsman.experts.protocols.ExpertReply`."""

    __slots__ = (
        "_arrived_s",
        "_body",
        "_failure",
        "_idle_timeout_s",
        "_name",
        "_over",
        "_plan",
        "_stats",
        "headers",
        "status",
    )

    def __init__(
        self, name: str, plan: ReplyPlan, arrived_s: float, idle_timeout_s: float | None, stats: Stats
    ) -> None:
        self.status = plan.status
        self.headers = plan.headers
        self._name = name
        self._plan = plan
        self._arrived_s = arrived_s
        self._idle_timeout_s = idle_timeout_s
        self._stats = stats
        self._body = play_body(plan, arrived_s)
        self._over = False
        self._failure: ExpertError | None = None

    def __aiter__(self) -> PlannedReply:
        return self

    async def __anext__(self) -> bytes:
        """The next pieces.

        Raises:
            ExpertStreamBroken: The plan says so, or the reply was closed.
            ExpertTimeout: The plan pauses for longer than the call allows.
        """
        if self._failure is not None:
            raise self._failure
        if self._over:
            raise StopAsyncIteration
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                return await anext(self._body)
        except StopAsyncIteration:
            self._end(None)
            raise
        except PlannedFailure:
            self._end(ExpertStreamBroken(self._name, "the answer breaks off here, as planned"))
        except TimeoutError:
            self._end(ExpertTimeout(self._name, f"no byte for {self._idle_timeout_s:g} s"), left=True)
        except asyncio.CancelledError:
            self._end(ExpertStreamBroken(self._name, "closed by its reader"), left=True)
            raise
        assert self._failure is not None  # noqa: S101  # set just above
        raise self._failure

    async def aclose(self) -> None:
        """Stop playing; counts as cancelled when the body was not read to its end."""
        self._end(ExpertStreamBroken(self._name, "closed by its reader"), left=True)
        await self._body.aclose()

    def _end(self, failure: ExpertError | None, *, left: bool = False) -> None:
        if self._over:
            return
        self._over, self._failure = True, failure
        self._stats.worked(self._plan, asyncio.get_running_loop().time() - self._arrived_s)
        if left:
            self._stats.cancelled += 1
        else:
            self._stats.finished += 1


async def play(name: str, plan: ReplyPlan, call: ExpertCall, stats: Stats) -> PlannedReply:
    """Play a plan for a call and return when its head is due. `stats.started` is the caller's to count.

    Args:
        name: Of the expert, for errors.
        plan: What happens.
        call: The call, for its timeouts.
        stats: Where to count what becomes of it.

    Raises:
        ExpertUnavailable: The plan has no head.
        ExpertTimeout: The head is due later than the call allows.
    """
    loop = asyncio.get_running_loop()
    arrived_s = loop.time()
    try:
        async with asyncio.timeout(call.head_timeout_s):
            await wait_for_head(plan, arrived_s)
    except PlannedFailure:
        stats.finished += 1
        stats.worked(plan, loop.time() - arrived_s)
        raise ExpertUnavailable(name, "refuses the call, as planned", sent=plan.work is not None) from None
    except TimeoutError:
        stats.cancelled += 1
        stats.worked(plan, loop.time() - arrived_s)
        raise ExpertTimeout(name, f"no answer within {call.head_timeout_s:g} s") from None
    except asyncio.CancelledError:
        stats.cancelled += 1
        stats.worked(plan, loop.time() - arrived_s)
        raise
    return PlannedReply(name, plan, arrived_s, call.idle_timeout_s, stats)


async def wait_for_head(plan: ReplyPlan, arrived_s: float) -> None:
    """Sleep until the head is due.

    Args:
        plan: What happens.
        arrived_s: Loop time of the call's arrival.

    Raises:
        PlannedFailure: There will be no head; the connection closes.
    """
    await _sleep_until(arrived_s + plan.head_after_s)
    if plan.status == 0:
        await _end(plan)


async def play_body(plan: ReplyPlan, arrived_s: float) -> AsyncGenerator[bytes, None]:
    """The body, every piece when it is due.

    Raises:
        PlannedFailure: The plan ends the answer in its middle.
    """
    loop = asyncio.get_running_loop()
    index, pieces = 0, plan.pieces
    while index < len(pieces):
        await _sleep_until(arrived_s + pieces[index][0])
        reached_s = loop.time() - arrived_s + _COALESCE_S
        due = index + 1
        while due < len(pieces) and pieces[due][0] <= reached_s:
            due += 1
        yield b"".join(piece for _, piece in pieces[index:due])
        index = due
    await _end(plan)


async def _end(plan: ReplyPlan) -> None:
    if plan.ending is EndMode.BREAK:
        raise PlannedFailure
    if plan.ending is EndMode.HANG:
        await asyncio.Event().wait()


async def _sleep_until(due_s: float) -> None:
    delay_s = due_s - asyncio.get_running_loop().time()
    if delay_s > 0:
        await asyncio.sleep(delay_s)
