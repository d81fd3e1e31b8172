"""What a request can cost is known before it goes out, however it says so and whichever field an expert goes by.

The expert of these tests costs money for real: it makes as many tokens as the field says that it goes by, reads numbers
as leniently as servers do, and is paid by the token. A limit of one dollar an hour must hold against all of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import aiohttp.web
import pytest

from tests.e2e.running import Running, fake, running

ENV = {"KEY_A": "sk-aaaaaaaaaaaaaaaaaaaa", "OWN_KEY": "sk-the-operators-own"}
#: A tenth of a cent a token of the answer: a thousand are a dollar.
PRICE = {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 1_000.0}
INPUT_PRICE = {"input_usd_per_mtok": 10.0, "output_usd_per_mtok": 0.0}
WINDOW = 100_000
AT_ONCE = 12
LIMIT_USD = 1.0

Reads = Callable[[dict[str, Any]], int]


def lenient(value: object, default: int) -> int:
    """A number as servers with lax schemas read it."""
    try:
        return int(float(value)) if value is not None else default  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return default


def by(*names: str) -> Reads:
    """An expert that goes by the first of these fields; without any it makes 900 tokens."""

    def tokens(body: dict[str, Any]) -> int:
        wrapped = body.get("extra_body") or {}
        stated = next((one for one in (body.get(name, wrapped.get(name)) for name in names) if one is not None), None)
        limit = lenient(stated, 900)
        # -1 and 0 are no limit at all where they are not refused.
        return limit if limit > 0 else 900

    return tokens


class Paid:
    """An expert that makes what it is told to and counts it."""

    def __init__(self, reads: Reads) -> None:
        self.reads = reads
        self.made = 0
        self.read = 0
        self.calls = 0
        self.port = 0

    async def answer(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        # As a server that keeps the first of two like fields, and as one that keeps the last.
        raw = await request.text()
        first = json.loads(raw, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
        last = json.loads(raw)
        prompt = last.get("prompt")
        prompts = len(prompt) if isinstance(prompt, list) and not isinstance(prompt[0], int) else 1
        made = max(self.reads(body) * max(1, lenient(body.get("n"), 1)) * prompts for body in (first, last))
        self.calls += 1
        self.made += made
        self.read += len(raw) // 4
        # All of them are under way before any is settled.
        await asyncio.sleep(0.3)
        usage = {"prompt_tokens": len(raw) // 4, "completion_tokens": made, "total_tokens": made}
        choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop", "text": "ok"}
        return aiohttp.web.json_response({"id": "1", "model": "m", "choices": [choice], "usage": usage})


@asynccontextmanager
async def paid(reads: Reads, price: dict[str, float], **fields: Any) -> AsyncIterator[tuple[Running, Paid]]:
    """A gateway with such an expert, and a key of a dollar an hour."""
    expert = Paid(reads)
    app = aiohttp.web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/{rest:.*}", expert.answer)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    expert.port = runner.addresses[0][1]
    settings = {
        "name": "paid", "backend": "openai_http", "model": "m", "base_url": f"http://127.0.0.1:{expert.port}",
        "api_key_env": "OWN_KEY", "generalist": True, "price": price, "context_window_tokens": WINDOW,
        "max_concurrency": 256, **fields,
    }  # fmt: skip
    tree = {
        "pool": {"experts": [settings], "probe_interval_s": 0},
        "auth": {"keys": [{"name": "a", "key_env": "KEY_A", "limits": {"usd_per_hour": LIMIT_USD}}]},
    }
    try:
        async with running(tree, ENV) as gateway:
            yield gateway, expert
    finally:
        await runner.cleanup()


async def at_once(gateway: Running, path: str, body: bytes, count: int = AT_ONCE) -> list[tuple[int, Any]]:
    """The same request many times at once: statuses and answers."""
    headers = {"authorization": f"Bearer {ENV['KEY_A']}", "content-type": "application/json"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(gateway.url, connector=connector, headers=headers) as http:

        async def one() -> tuple[int, Any]:
            async with http.post(path, data=body) as reply:
                return reply.status, await reply.json()

        return list(await asyncio.gather(*(one() for _ in range(count))))


CHAT = {"model": "paid", "messages": [{"role": "user", "content": "x"}]}
TEXT = {"model": "paid", "prompt": "x"}
RESPONSE = {"model": "paid", "input": "x"}
MESSAGE = {"model": "paid", "messages": [{"role": "user", "content": "x"}]}
_ANY = by("max_tokens", "max_completion_tokens")
_NEW = by("max_completion_tokens", "max_tokens")


@pytest.mark.parametrize(
    ("path", "asked", "reads"),
    [
        ("/v1/chat/completions", {**CHAT, "max_tokens": 600, "max_completion_tokens": 1}, _ANY),
        ("/v1/chat/completions", {**CHAT, "max_tokens": 1, "max_completion_tokens": 600}, _NEW),
        ("/v1/chat/completions", {**CHAT, "max_tokens": 1, "n_predict": 600}, by("n_predict")),
        ("/v1/chat/completions", {**CHAT, "max_tokens": 1, "extra_body": {"max_tokens": 600}}, by("extra")),
        ("/v1/chat/completions", {**CHAT, "max_output_tokens": 1}, _ANY),
        ("/v1/chat/completions", {**CHAT, "max_tokens": -1}, _ANY),
        ("/v1/chat/completions", {**CHAT, "max_tokens": "600"}, _ANY),
        ("/v1/chat/completions", {**CHAT, "max_tokens": 600.0}, _ANY),
        ("/v1/chat/completions", {**CHAT, "max_tokens": 20, "n": 40}, _ANY),
        ("/v1/chat/completions", {**CHAT, "max_tokens": 20, "n": 40.0}, _ANY),
        ("/v1/chat/completions", {**CHAT, "max_tokens": 20, "n": "40"}, _ANY),
        ("/v1/completions", {**TEXT, "max_tokens": 600, "max_completion_tokens": 1}, by("max_tokens")),
        ("/v1/completions", {**TEXT, "max_completion_tokens": 1}, by("max_tokens")),
        ("/v1/completions", {**TEXT, "prompt": ["x" * 3_000, *["x"] * 29], "max_tokens": 20}, by("max_tokens")),
        ("/v1/completions", {**TEXT, "prompt": [[1], [2, 3], [4]], "max_tokens": 200}, by("max_tokens")),
        ("/v1/responses", {**RESPONSE, "max_output_tokens": 600, "max_completion_tokens": 1}, _NEW),
        ("/v1/responses", {**RESPONSE, "max_output_tokens": 1, "max_tokens": 600}, _ANY),
        ("/v1/responses", {**RESPONSE, "max_tokens": 1}, by("max_output_tokens")),
        ("/v1/messages", {**MESSAGE, "max_tokens": 600, "max_completion_tokens": 1}, by("max_tokens")),
    ],
)
async def test_calls_at_once_never_make_more_than_the_key_may_spend(
    path: str, asked: dict[str, Any], reads: Reads
) -> None:
    async with paid(reads, PRICE) as (gateway, expert):
        answers = await at_once(gateway, path, json.dumps(asked).encode())
        assert expert.made * PRICE["output_usd_per_mtok"] / 1e6 <= LIMIT_USD
        assert {status for status, _ in answers} <= {200, 400, 429}


@pytest.mark.parametrize(
    "body",
    [
        b'{"max_tokens":600,"model":"paid","messages":[{"role":"user","content":"x"}],"max_tokens":1}',
        b'{"max_tokens":1,"model":"paid","messages":[{"role":"user","content":"x"}],"max_tokens":600}',
        b'{"n":40,"max_tokens":20,"model":"paid","messages":[{"role":"user","content":"x"}],"n":1}',
        b'{"n":40,"max_tokens":20,"model":"paid","messages":[{"role":"user","content":"\\"x\\""}],"\\u006e" : 1}',
    ],
)
async def test_a_field_that_stands_twice_counts_as_the_expert_reads_it(body: bytes) -> None:
    async with paid(by("max_tokens"), PRICE) as (gateway, expert):
        await at_once(gateway, "/v1/chat/completions", body)
        assert 0 < expert.made * PRICE["output_usd_per_mtok"] / 1e6 <= LIMIT_USD


LONG = "word " * 40_000


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": [{"type": "input_text", "text": LONG}]}]},
        {"messages": [{"role": "user", "content": [{"type": "nobody_knows", "deep": [{"er": LONG}]}]}]},
        {"messages": [{"role": "User", "content": "x", "name": LONG}]},
        {"messages": [{"role": LONG, "content": "x"}]},
        {"documents": [{"text": LONG}]},
        {"tools": [{"type": "function", "function": {"name": "f", "description": LONG}}]},
        {"guided_json": {"description": LONG}},
        {"response_format": {"type": "text", "description": LONG}},
        {"chat_template_kwargs": {"note": LONG}},
        {"metadata": {"note": LONG}},
        {"nobody_knows": LONG},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_a_prompt_is_paid_for_wherever_it_stands(fields: dict[str, Any]) -> None:
    """Half a dollar of input in each of twelve calls at once: one goes out, or none."""
    async with paid(by("max_tokens"), INPUT_PRICE) as (gateway, expert):
        answers = await at_once(
            gateway, "/v1/chat/completions", json.dumps({**CHAT, "max_tokens": 1, **fields}).encode()
        )
        assert expert.read * INPUT_PRICE["input_usd_per_mtok"] / 1e6 <= LIMIT_USD
        assert [status for status, _ in answers].count(429) >= AT_ONCE - 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"n": 40.0}, "n"), ({"n": "40"}, "n"), ({"n": True}, "n"), ({"best_of": -1}, "best_of"), ({"n": 10**30}, "n")],
)
async def test_a_number_that_is_none_is_named(fields: dict[str, Any], field: str) -> None:
    async with paid(_ANY, PRICE) as (gateway, expert):
        ((status, answer),) = await at_once(gateway, "/v1/chat/completions", json.dumps({**CHAT, **fields}).encode(), 1)
        assert (status, answer["error"]["param"], expert.calls) == (400, field, 0)


async def test_without_a_bound_a_limit_that_cannot_be_read_is_named() -> None:
    async with paid(_ANY, PRICE, context_window_tokens=None, default_max_tokens=100) as (gateway, expert):
        body = json.dumps({**CHAT, "max_tokens": "600"}).encode()
        ((status, answer),) = await at_once(gateway, "/v1/chat/completions", body, 1)
        assert (status, answer["error"]["param"], expert.calls) == (400, "max_tokens", 0)


async def test_what_a_caller_without_limits_and_caps_says_is_the_expert_s_to_judge() -> None:
    async with running({"pool": {"experts": [fake("only", generalist=True)]}}) as gateway:
        for value in (-1, 0, "9", 256.0):
            body = json.dumps({**CHAT, "model": "only", "max_tokens": value}).encode()
            ((status, _),) = await at_once(gateway, "/v1/chat/completions", body, 1)
            assert status == 200


@pytest.mark.parametrize(
    ("cap", "fits"),
    # Of the fake expert: 2 dollars a million tokens of the answer, 0.01 J a token, 5 ms a token.
    [("max_cost_usd", 8e-4), ("max_energy_j", 3.0), ("max_latency_ms", 1_500.0)],
)
async def test_caps_count_what_limits_count(cap: str, fits: float) -> None:
    """A cap that an answer of 100 tokens keeps and one of 800 does not, whichever field states it."""
    as_fast_as_stated = {"tokens_per_s": 200, "completion_tokens": 20}
    only = fake("only", generalist=True, options=as_fast_as_stated)
    async with running({"pool": {"experts": [only]}}) as gateway:

        async def status(**fields: Any) -> int:
            body = {**CHAT, "model": "only", "routing": {cap: fits}, **fields}
            return (await at_once(gateway, "/v1/chat/completions", json.dumps(body).encode(), 1))[0][0]

        assert await status(max_tokens=100) == 200
        assert await status(max_tokens=800) == 422
        assert await status(max_tokens=800, max_completion_tokens=1) == 422
        assert await status(max_completion_tokens=800, max_tokens=1) == 422
        assert await status(max_output_tokens=1) == 422
        assert await status(max_tokens="1") == 422
        if cap != "max_latency_ms":
            assert await status(max_tokens=100, n=8) == 422
