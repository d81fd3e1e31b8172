"""What the gateway tells a client of its own time is too coarse to tell whose words it has met before."""

from __future__ import annotations

import aiohttp

from tests.e2e.running import eventually, fake, running

ENV = {"KEY_A": "sk-aaaaaaaaaaaaaaaaaaaa", "KEY_O": "sk-oooooooooooooooooooo"}
KEYS = [
    {"name": "a", "key_env": "KEY_A", "tenant": "t"},
    {"name": "o", "key_env": "KEY_O", "tenant": "t", "role": "operator"},
]
CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}


async def test_times_are_told_in_whole_milliseconds() -> None:
    tree = {"pool": {"experts": [fake("only", generalist=True)]}, "auth": {"keys": KEYS}}
    async with running(tree, ENV) as gateway, aiohttp.ClientSession(gateway.url) as http:
        client, operator = ({"authorization": f"Bearer {key}"} for key in ENV.values())
        async with http.post("/v1/chat/completions", json=CHAT, headers=client) as reply:
            assert int(reply.headers["x-pointsman-overhead-ms"]) >= 1
            assert "server-timing" not in reply.headers
            decision = reply.headers["x-pointsman-decision"]
        async with http.post("/v1/chat/completions", json=CHAT, headers=operator) as reply:
            assert "." in reply.headers["x-pointsman-overhead-ms"]
        await eventually(lambda: gateway.app.runtime.ledger._recent[decision].outcome is not None)
        told = []
        for headers in (client, operator):
            async with http.get(f"/v1/decisions/{decision}", headers=headers) as reply:
                outcome = (await reply.json())["outcome"]
                told.append([type(outcome["ttft_ms"]), type(outcome["latency_ms"])])
        assert told == [[int, int], [float, float]]
