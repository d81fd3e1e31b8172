"""How long an input holds the event loop, in CPU time of the loop's own thread: a busy machine does not add to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

#: What holds the loop for longer is found again before it counts: a collection of garbage may have fallen into it.
_AGAIN_FROM_MS: Final = 10.0


class MeasuredLoop(asyncio.SelectorEventLoop):
    """An event loop that knows its longest turn.

    Attributes:
        longest_ms: CPU time of the longest turn so far; whoever measures sets it back.
    """

    longest_ms = 0.0

    def _run_once(self) -> None:
        began_s = time.thread_time()
        super()._run_once()  # type: ignore[misc]  # of BaseEventLoop, and in no stub
        self.longest_ms = max(self.longest_ms, 1e3 * (time.thread_time() - began_s))


def held_ms(
    call: Callable[[bytes], Coroutine[Any, Any, object] | object], data: bytes, loop: MeasuredLoop | None = None
) -> float:
    """The longest time, in CPU milliseconds, for which a call with an input holds the loop.

    Args:
        call: Takes the input. All of a plain function counts; of a coroutine function the longest turn of the loop.
        data: The input.
        loop: Where coroutines run; a new one where none is given.
    """
    least_ms = _once_ms(call, data, loop)
    if least_ms > _AGAIN_FROM_MS:
        least_ms = min(least_ms, _once_ms(call, data, loop))
    return least_ms


def _once_ms(call: Callable[[bytes], Any], data: bytes, loop: MeasuredLoop | None) -> float:
    if not asyncio.iscoroutinefunction(call):
        began_s = time.thread_time()
        call(data)
        return 1e3 * (time.thread_time() - began_s)
    measured = MeasuredLoop() if loop is None else loop
    measured.longest_ms = 0.0
    try:
        measured.run_until_complete(call(data))
    finally:
        if loop is None:
            measured.close()
    return measured.longest_ms
