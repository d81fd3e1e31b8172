"""What a body may be, and where a large one is read: beside the event loop, one after the other.

Reading takes time in proportion to the body. In a thread the loop gets its turns in between; with one thread alone, no
number of large bodies at once, of requests and answers, takes more than half of the interpreter from everybody else.
What a single step may cost is bounded before (`BodyLimits`): the parser lets nobody else run.

Whoever sends many large ones, a tenant or an expert, makes its own wait: tenants and experts take turns.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: From so many bytes on a body, of a request or an answer, is large: below, a thread costs more of the loop's time than
#: it spares.
LARGE_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a body may be.

    Attributes:
        most_bytes: As it comes, and inflated.
        most_values: Of the JSON in it; see `json_values.py`.
    """

    most_bytes: int
    most_values: int


class LargeBodies:
    """The thread in which they are read. It starts with the first one.

    Not the loop's own threads: a few large answers would keep all of these, which look up names, too.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._reading = False
        #: By sender; the one whose turn is next stands first.
        self._waiting: dict[str, deque[tuple[Callable[[], Any], asyncio.Future[Any]]]] = {}

    def read_request(self, tenant: str, read: Callable[[], T]) -> asyncio.Future[T]:
        """What `read` will answer; it touches nothing that the loop does. Where nobody waits for it, it is not called.

        Args:
            tenant: Whose request it is.
            read: Reads it.
        """
        return self._wait(f"tenant {tenant}", read)

    def read_answer(self, expert: str, read: Callable[[], T]) -> asyncio.Future[T]:
        """The same of an answer.

        Args:
            expert: Whose answer it is.
            read: Reads it.
        """
        return self._wait(f"expert {expert}", read)

    def _wait(self, sender: str, read: Callable[[], T]) -> asyncio.Future[T]:
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(sender, deque()).append((read, done))
        self._next()
        return done

    def _next(self) -> None:
        while self._waiting and not self._reading:
            sender = next(iter(self._waiting))
            queue = self._waiting.pop(sender)
            read, done = queue.popleft()
            if queue:
                self._waiting[sender] = queue  # behind all others
            if not done.done():
                self._reading = True
                if self._thread is None:
                    self._thread = ThreadPoolExecutor(1, "large-bodies")
                reading = done.get_loop().run_in_executor(self._thread, read)
                reading.add_done_callback(partial(self._was_read, done))

    def _was_read(self, done: asyncio.Future[Any], reading: asyncio.Future[Any]) -> None:
        self._reading = False
        self._next()
        if reading.cancelled():
            done.cancel()
            return
        error = reading.exception()  # seen, whether or not somebody waits for it
        if done.done():
            return
        if error is None:
            done.set_result(reading.result())
        else:
            done.set_exception(error)
