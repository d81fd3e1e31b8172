"""The gateway says for how long its event loop stood still."""

from __future__ import annotations

import asyncio
import re
import time

import aiohttp

from tests.e2e.running import fake, running


async def test_a_pause_of_the_loop_is_a_metric() -> None:
    async with running({"pool": {"experts": [fake("only")]}}) as gateway, aiohttp.ClientSession(gateway.url) as http:

        async def said() -> tuple[float, float]:
            async with http.get("/metrics") as reply:
                text = await reply.text()
            longest = re.search(r"^pointsman_loop_pause_seconds (.+)$", text, re.MULTILINE)
            pauses = re.search(r"^pointsman_loop_pauses_total (.+)$", text, re.MULTILINE)
            assert longest is not None
            assert pauses is not None
            return float(longest[1]), float(pauses[1])

        # Its first look at the loop is under way.
        await asyncio.sleep(0.1)
        _, before = await said()
        asyncio.get_running_loop().call_soon(time.sleep, 0.5)
        async with asyncio.timeout(10):
            while (await said())[0] < 0.4:
                await asyncio.sleep(0.02)
        assert (await said())[1] > before
