"""How long an input holds the event loop, in CPU time of the loop's own thread: a busy machine does not add to it.

The loop has no network and waits for nothing but its threads. Where a real one would sleep until a timer, its clock
goes on to that timer at once; where a real one would connect to an expert, the expert is an `ExpertWire`.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

#: What holds the loop for longer is found again before it counts: a collection of garbage may have fallen into it.
AGAIN_FROM_MS: Final = 10.0
#: An expert's bytes come in pieces of so many; the largest is what a loop reads from a socket at once.
PIECES_BYTES: Final = (256 * 1024, 16 * 1024, 1024, 100)


class _Clock(selectors.DefaultSelector):
    """Where there is nothing to do but wait, it is later at once, unless a thread is at work."""

    ahead_s = 0.0
    threads = 0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0 or self.threads:
            return super().select(timeout)
        found = super().select(0)
        if not found:
            self.ahead_s += timeout
        return found


class MeasuredLoop(asyncio.SelectorEventLoop):
    """An event loop that knows its longest turn.

    Attributes:
        longest_ms: CPU time of the longest turn so far; whoever measures sets it back.
        answer: What every expert says, whatever it is asked; its first byte chooses the size of the pieces.
        asked: Connections to experts so far.
    """

    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)
        self.longest_ms = 0.0
        self.answer = b""
        self.asked = 0

    def time(self) -> float:
        """Monotonic seconds, and those that were not waited for."""
        return super().time() + self._clock.ahead_s

    def _run_once(self) -> None:
        began_s = time.thread_time()
        super()._run_once()  # type: ignore[misc]  # of BaseEventLoop, and in no stub
        self.longest_ms = max(self.longest_ms, 1e3 * (time.thread_time() - began_s))

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """As any loop, and the clock stands still meanwhile."""
        self._clock.threads += 1
        running = super().run_in_executor(executor, func, *args)
        running.add_done_callback(self._ended)
        return running

    def _ended(self, _: object) -> None:
        self._clock.threads -= 1

    async def create_connection(self, protocol_factory: Any, *_: Any, **__: Any) -> Any:
        """To an expert, wherever it is said to be."""
        self.asked += 1
        protocol = protocol_factory()
        transport = ExpertWire(self, protocol, self.answer)
        protocol.connection_made(transport)
        return transport, protocol


class ExpertWire(asyncio.Transport):
    """A connection to an expert that answers the first thing it is told, piece by piece, and hangs up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol, answer: bytes) -> None:
        super().__init__()
        self._loop = loop
        self._protocol = protocol
        step, said = PIECES_BYTES[answer[0] % len(PIECES_BYTES)] if answer else 1, answer[1:]
        self._pieces = deque(said[at : at + step] for at in range(0, len(said), step))
        self._asked = self._paused = self._closing = self._lost = False

    def write(self, data: Any) -> None:
        if not self._asked:
            self._asked = True
            self._loop.call_soon(self._say)

    def _say(self) -> None:
        """Each piece in a turn of its own, as from a socket."""
        if self._lost or self._paused:
            return
        if self._pieces and not self._closing:
            self._protocol.data_received(self._pieces.popleft())
            self._loop.call_soon(self._say)
        else:
            self._lose()

    def _lose(self) -> None:
        if not self._lost:
            self._closing = self._lost = True
            self._protocol.connection_lost(None)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lose)

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._say)


def held_ms(
    call: Callable[[bytes], Coroutine[Any, Any, object] | object], data: bytes, loop: MeasuredLoop | None = None
) -> float:
    """The longest time, in CPU milliseconds, for which a call with an input holds the loop.

    Args:
        call: Takes the input. All of a plain function counts; of a coroutine function the longest turn of the loop.
        data: The input.
        loop: Where coroutines run; a new one where none is given.
    """
    least_ms = once_ms(call, data, loop)
    if least_ms > AGAIN_FROM_MS:
        least_ms = min(least_ms, once_ms(call, data, loop))
    return least_ms


def once_ms(call: Callable[[bytes], Any], data: bytes, loop: MeasuredLoop | None = None) -> float:
    """The same, measured once."""
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
