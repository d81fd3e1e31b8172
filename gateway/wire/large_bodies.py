"""What a body may be, and where a large one is read: beside the event loop, one after the other.

Reading takes time in proportion to the body. In a thread the loop gets its turns in between; with one thread alone, no
number of large bodies at once takes more than half of the interpreter from everybody else. What a single step may cost
is bounded before (`BodyLimits`): the parser lets nobody else run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

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
    """The thread in which they are read. It starts with the first one."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None

    async def read(self, read: Callable[[], T]) -> T:
        """What `read` answers; it touches nothing that the loop does."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "large-bodies")
        return await asyncio.get_running_loop().run_in_executor(self._thread, read)
