"""How long the event loop stands still: whatever holds it makes every client of the process wait.

A timer that comes late says for how long the loop was held, but for what passed of its own time.
"""

from __future__ import annotations

import asyncio
from typing import Final

#: How often it is looked at. What the loop was held for is found out but for so much.
_EVERY_S: Final = 0.02
#: A maximum is kept for one to two of these: no scrape at least every half minute misses it.
_KEPT_S: Final = 30.0
#: From here on a pause is a long one.
LONG_S: Final = 0.1


class LoopWatchdog:
    """The pauses of one event loop.

    Attributes:
        long: How many long ones there were since this was last set back.
    """

    def __init__(self) -> None:
        self.long = 0
        self._longest_s = self._longest_before_s = 0.0

    @property
    def longest_s(self) -> float:
        """The longest of the last half minute to minute."""
        return max(self._longest_s, self._longest_before_s)

    async def watch(self) -> None:
        """Watch the loop that runs this until cancelled."""
        loop = asyncio.get_running_loop()
        kept_until_s = loop.time() + _KEPT_S
        while True:
            due_s = loop.time() + _EVERY_S
            await asyncio.sleep(_EVERY_S)
            now_s = loop.time()
            late_s = now_s - due_s
            if late_s > self._longest_s:
                self._longest_s = late_s
            if late_s >= LONG_S:
                self.long += 1
            if now_s > kept_until_s:
                kept_until_s = now_s + _KEPT_S
                self._longest_s, self._longest_before_s = 0.0, self._longest_s
