"""Carrying a plan out in time, and counting what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from experts.backends.fake.script import Ending, Plan

#: Pieces due within so short a time are sent together: no event loop wakes more often than that.
_COALESCE_S = 0.0005


class Interrupted(Exception):
    """The script ends the answer here."""


@dataclass(slots=True)
class Stats:
    """What became of the calls so far.

    Attributes:
        started: All calls.
        finished: Answered to the end the script wanted, errors and breaks included.
        cancelled: Left by the caller before that.
    """

    started: int = 0
    finished: int = 0
    cancelled: int = 0

    @property
    def in_flight(self) -> int:
        """Calls of which nothing has become yet."""
        return self.started - self.finished - self.cancelled


async def wait_for_head(plan: Plan, arrived_s: float) -> None:
    """Sleep until the head is due.

    Args:
        plan: What happens.
        arrived_s: Loop time of the call's arrival.

    Raises:
        Interrupted: There will be no head; the script closes the connection.
    """
    if plan.status == 0:
        await _end(plan)
    await _sleep_until(arrived_s + plan.head_after_s)


async def play_body(plan: Plan, arrived_s: float) -> AsyncIterator[bytes]:
    """The body, every piece when it is due.

    Raises:
        Interrupted: The script ends the answer in its middle.
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


async def _end(plan: Plan) -> None:
    if plan.ending is Ending.BREAK:
        raise Interrupted
    if plan.ending is Ending.HANG:
        await asyncio.Event().wait()


async def _sleep_until(due_s: float) -> None:
    delay_s = due_s - asyncio.get_running_loop().time()
    if delay_s > 0:
        await asyncio.sleep(delay_s)
