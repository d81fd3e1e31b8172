"""What is told of the inside: to a probe a word, to a key nothing of experts that it may not use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from tests.e2e.running import Running, fake, running

ENV = {name: f"sk-{name.lower()}-0123456789abcdef" for name in ("FREE", "BOUND", "OPERATOR", "METRICS")}
AUTH = {
    "keys": [
        {"name": "free", "key_env": "FREE", "tenant": "t"},
        {"name": "bound", "key_env": "BOUND", "tenant": "t", "experts": ["seen"]},
        {"name": "op", "key_env": "OPERATOR", "role": "operator"},
        {"name": "prometheus", "key_env": "METRICS", "role": "metrics"},
    ]
}
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}


@asynccontextmanager
async def gateway(**more: Any) -> AsyncIterator[Running]:
    pool = {
        "probe_interval_s": 0,
        "experts": [
            fake("seen", max_concurrency=1),
            fake("hidden-acme", prior={"*": 0.9}),
            {"name": "hidden-dead", "backend": "openai_http", "base_url": "http://127.0.0.1:9/v1"},
        ],
    }
    async with running({"pool": pool, "auth": AUTH, **more}, ENV) as gateway:
        yield gateway


async def told(gateway: Running, key: str | None, path: str, body: Any = None) -> tuple[int, str]:
    """The status of an answer, and all that it says, with its headers."""
    headers = {} if key is None else {"authorization": f"Bearer {ENV.get(key, key)}"}
    method = "GET" if body is None else "POST"
    async with (
        aiohttp.ClientSession(gateway.url) as http,
        http.request(method, path, json=body, headers=headers, allow_redirects=False) as reply,
    ):
        return reply.status, f"{dict(reply.headers)} {await reply.text()}"


@pytest.mark.parametrize("key", [None, "FREE", "BOUND", "sk-wrong"])
async def test_a_probe_is_told_in_a_word(key: str | None) -> None:
    async with gateway() as running:
        status, said = await told(running, key, "/ready")
        assert status == 200
        assert said.endswith('{"status":"ready"}')


@pytest.mark.parametrize("key", ["OPERATOR", "METRICS"])
async def test_an_operator_is_told_what_stands_in_the_way_but_no_address(key: str) -> None:
    async with gateway() as running:
        for _ in range(3):
            await told(running, "FREE", "/v1/chat/completions", {"model": "hidden-dead", **CHAT})
        status, said = await told(running, key, "/ready")
        assert status == 200
        assert "cannot connect" in said
        assert "settings" in said
        assert "127.0.0.1" not in said


async def test_without_keys_it_is_told_to_this_machine() -> None:
    async with running({"pool": {"experts": [fake("seen")]}}) as gateway:
        assert "seen" in (await told(gateway, None, "/ready"))[1]


BODIES: list[tuple[str, Any]] = [
    ("/v1/models", None),
    ("/v1/models/nobody", None),
    ("/v1/route", CHAT),
    ("/v1/route", {**CHAT, "routing": {"max_cost_usd": 1e-12}}),
    ("/v1/route", {**CHAT, "model": "nobody"}),
    ("/v1/chat/completions", {**CHAT, "model": "auto"}),
    ("/v1/chat/completions", {**CHAT, "model": "nobody"}),
    ("/v1/chat/completions", {**CHAT, "model": "auto", "routing": {"max_cost_usd": 1e-12}}),
    ("/v1/chat/completions", {**CHAT, "model": "auto", "tools": [{"type": "function"}]}),
    ("/v1/messages", {**CHAT, "model": "nobody", "max_tokens": 3}),
    ("/v1/messages/count_tokens", {**CHAT, "model": "nobody"}),
    ("/v1/responses", {"model": "nobody", "input": "x"}),
    ("/v1/embeddings", {"model": "auto", "input": "x"}),
]


@pytest.mark.parametrize(("path", "body"), BODIES)
async def test_a_key_is_told_of_no_expert_that_it_may_not_use(path: str, body: Any) -> None:
    async with gateway() as running:
        _, said = await told(running, "BOUND", path, body)
        assert "hidden" not in said
        assert "hidden" in (await told(running, "FREE", "/v1/models"))[1]


async def test_nor_when_its_own_is_full() -> None:
    for queue in (0, 1):
        async with gateway(admission={"queue": queue, "max_wait_ms": 1}) as running:
            flight = running.app.runtime.pool.begin("seen", stream=False)
            status, said = await told(running, "BOUND", "/v1/chat/completions", {"model": "auto", **CHAT})
            flight.cancel()
            assert status == 503
            assert "hidden" not in said


async def test_nor_by_decisions_of_its_tenants_other_keys() -> None:
    async with gateway() as running:
        decisions = {}
        for key, model in (("FREE", "seen"), ("FREE", "hidden-acme"), ("BOUND", "auto")):
            headers = {"authorization": f"Bearer {ENV[key]}"}
            async with (
                aiohttp.ClientSession(running.url) as http,
                # A cap, so that a decision with candidates is made even where a model is named.
                http.post(
                    "/v1/chat/completions",
                    json={**CHAT, "model": model, "routing": {"max_cost_usd": 9}},
                    headers=headers,
                ) as reply,
            ):
                assert reply.status == 200
                decisions[key, model] = reply.headers["x-pointsman-decision"]
        for (key, model), decision in decisions.items():
            status, said = await told(running, "BOUND", f"/v1/decisions/{decision}")
            assert status == (404 if model == "hidden-acme" else 200), (key, model)
            assert "hidden" not in said
            assert "hidden" in (await told(running, "OPERATOR", f"/v1/decisions/{decision}"))[1]


async def test_an_unwell_expert_is_told_without_its_address() -> None:
    async with gateway() as running:
        for _ in range(4):
            _, said = await told(running, "FREE", "/v1/chat/completions", {"model": "hidden-dead", **CHAT})
            assert "127.0.0.1" not in said
        _, said = await told(running, "FREE", "/v1/route", CHAT)
        assert "unhealthy" in said
        assert "127.0.0.1" not in said


@pytest.mark.parametrize("path", ["/v1/models/", "/ready/", "/health/", "//evil.example/%2e%2e"])
async def test_no_host_header_leads_anybody_elsewhere(path: str) -> None:
    async with running({"pool": {"experts": [fake("seen")]}}) as gateway, aiohttp.ClientSession() as http:
        headers = {"host": "evil.example"}
        async with http.get(f"{gateway.url}{path}", headers=headers, allow_redirects=False) as reply:
            assert reply.status == (200 if path == "/v1/models/" else 404)
            assert "location" not in reply.headers
            assert b"evil.example/v1" not in await reply.read()


async def test_a_short_record_of_another_replica_is_told_no_more() -> None:
    """As Redis holds it, for a replica that did not decide."""
    from pointsman.gateway.record.ledger import _short_seen

    def call(expert: str) -> dict[str, Any]:
        return {"expert": expert, "status": 200}

    record = {
        "expert": "seen",
        "fallbacks": ["hidden", "seen"],
        "candidates": [{"expert": "seen"}, {"expert": "hidden"}],
        "outcome": {"expert": "seen", "calls": [call("seen"), call("hidden")], "shadow": call("hidden")},
    }
    assert b"hidden" not in orjson.dumps(_short_seen(record, frozenset({"seen"})))
