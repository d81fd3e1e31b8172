"""How background tasks are cancelled and awaited."""

from __future__ import annotations

import asyncio
from typing import Any, Final

_AGAIN_S: Final = 0.1
_TIMES: Final = 10


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel background tasks and wait for their end, for a second at most.

    A cancellation can be lost: a client library that is just then opening a connection may turn it into an error of its
    own, which the task takes for a failed try and continues. So each is cancelled until it has ended.
    """
    for _ in range(_TIMES):
        running = [task for task in tasks if not task.done()]
        if not running:
            return
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_AGAIN_S)
