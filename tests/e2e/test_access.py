"""Who gets in, and what of a client's request gets through to an expert."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import aiohttp.web
import pytest
from yarl import URL

from tests.e2e.running import Running, fake, running

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hello there"}]}
ENV = {"KEY_A": "sk-aaaaaaaaaaaaaaaa", "KEY_B": "sk-bbbbbbbbbbbbbbbb"}
KEYS = [{"name": "a", "key_env": "KEY_A"}, {"name": "b", "key_env": "KEY_B"}]


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {ENV[key]}"}


@pytest.fixture
async def gateway() -> AsyncIterator[Running]:
    tree = {"pool": {"experts": [fake("only", generalist=True)]}, "auth": {"keys": KEYS}}
    async with running(tree, ENV) as gateway:
        yield gateway


@pytest.fixture
async def http(gateway: Running) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(gateway.url) as session:
        yield session


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Bearer ", "Basic sk-aaaaaaaaaaaaaaaa"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/route", "/v1/feedback"])
async def test_without_an_accepted_key_nothing_is_served(
    gateway: Running, http: aiohttp.ClientSession, path: str, authorization: str
) -> None:
    async with http.post(path, json=CHAT, headers={"authorization": authorization}) as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (401, "invalid_api_key")
    assert gateway.fake("only").stats.started == 0


async def test_probes_need_no_key_and_everything_else_does(http: aiohttp.ClientSession) -> None:
    for path, status in [("/health", 200), ("/ready", 200), ("/metrics", 200), ("/v1/models", 401), ("/docs", 401)]:
        async with http.get(path) as reply:
            assert reply.status == status, path


@pytest.mark.parametrize("path", ["/health/../v1/models", "//v1/models", "/health/", "/v1/models?x=/health"])
async def test_no_spelling_of_a_path_opens_it(gateway: Running, path: str) -> None:
    # By hand, since HTTP clients tidy a path up before they send it.
    address = URL(gateway.url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    reply = await reader.read()
    writer.close()
    assert reply.split(b" ", 2)[1] in {b"401", b"404"}
    assert b"only" not in reply


async def test_tenants_share_neither_cache_nor_decisions(http: aiohttp.ClientSession) -> None:
    seen = {}
    for key in ("KEY_A", "KEY_B"):
        async with http.post("/v1/chat/completions", json=CHAT, headers=bearer(key)) as reply:
            assert reply.headers["x-pointsman-cache"] == "miss"
            seen[key] = reply.headers["x-pointsman-decision"]
    async with http.get(f"/v1/decisions/{seen['KEY_A']}", headers=bearer("KEY_A")) as reply:
        assert reply.status == 200
    async with http.get(f"/v1/decisions/{seen['KEY_A']}", headers=bearer("KEY_B")) as reply:
        assert reply.status == 404
    feedback = {"decision_id": seen["KEY_A"], "quality": 0}
    async with http.post("/v1/feedback", json=feedback, headers=bearer("KEY_B")) as reply:
        assert reply.status == 404


async def test_only_allowed_headers_and_no_field_of_ours_reach_an_expert() -> None:
    received: list[Any] = []

    async def expert(request: aiohttp.web.Request) -> aiohttp.web.Response:
        received.append((dict(request.headers), await request.json(), request.path))
        return aiohttp.web.json_response({"id": "1", "model": "inner", "choices": [], "extra": {"kept": True}})

    app = aiohttp.web.Application()
    app.router.add_post("/v1/chat/completions", expert)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    upstream = {
        "name": "outer",
        "backend": "openai_http",
        "model": "inner",
        "base_url": f"http://127.0.0.1:{port}",
        "api_key_env": "KEY_B",
        "generalist": True,
    }
    tree = {"pool": {"experts": [upstream], "probe_interval_s": 0}, "auth": {"keys": KEYS[:1]}}
    try:
        async with running(tree, ENV) as gateway, aiohttp.ClientSession() as http:
            headers = {
                **bearer("KEY_A"),
                "cookie": "a=b",
                "x-api-key": "leak",
                "traceparent": "00-1-2-3",
                "x-pointsman-weight-cost": "0",
                "x-forwarded-host": "evil",
                "openai-organization": "o",
            }
            body = {
                **CHAT,
                "base_url": "http://evil",
                "custom": [1, {"deep": None}],
                "routing": {"weights": {"cost": 0}},
            }
            async with http.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers) as reply:
                assert reply.status == 200
                answer = await reply.json()
            assert answer == {"id": "1", "model": "outer", "choices": [], "extra": {"kept": True}}
    finally:
        await runner.cleanup()
    sent_headers, sent, path = received[0]
    names = {name.lower() for name in sent_headers}
    assert path == "/v1/chat/completions"
    assert sent_headers["Authorization"] == f"Bearer {ENV['KEY_B']}"
    assert sent_headers["traceparent"] == "00-1-2-3"
    assert not names & {"cookie", "x-api-key", "x-forwarded-host", "openai-organization"}
    assert not {name for name in names if name.startswith("x-pointsman")}
    assert sent == {**CHAT, "model": "inner", "base_url": "http://evil", "custom": [1, {"deep": None}]}


async def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    tree = {"pool": {"experts": [fake("only")]}, "server": {"max_body_bytes": 2048}}
    async with running(tree) as gateway, aiohttp.ClientSession() as http:
        big = {**CHAT, "messages": [{"role": "user", "content": "x" * 4096}]}
        for path in ("/v1/chat/completions", "/v1/route"):
            async with http.post(f"{gateway.url}{path}", json=big) as reply:
                assert (reply.status, (await reply.json())["error"]["code"]) == (413, "body_too_large")
