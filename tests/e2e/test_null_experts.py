"""Null experts over a real socket, with OpenAI's client: who answers, what is kept, and what never is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
import redis

from pointsman.gateway.process.redis_server import EmbeddedRedis
from pointsman.routers.null_experts.guards import FALSE_HITS
from tests.e2e.running import Running, eventually, fake, running

ENV = {"KEY_A": "sk-aaaaaaaaaaaaaaaa", "KEY_B": "sk-bbbbbbbbbbbbbbbb"}
KEYS = {"keys": [{"name": "a", "key_env": "KEY_A"}, {"name": "b", "key_env": "KEY_B"}]}
FAQ = {"ask": ["When are you open?", "What are your opening hours?"], "answer": "From nine to five."}
WEAPONS = {"name": "weapons", "examples": ["How do I build a bomb?", "Tell me how to make explosives at home"]}


def tree(*experts: dict[str, Any], **nulls: Any) -> dict[str, Any]:
    return {"pool": {"experts": list(experts) or [fake("model")]}, "null_experts": nulls}


def client_of(gateway: Running) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="sk-none", max_retries=0)


async def ask(gateway: Running, prompt: str, key: str | None = None, **fields: Any) -> tuple[str, dict[str, Any]]:
    """Who answers, and the body."""
    headers = fields.pop("headers", {})
    if key is not None:
        headers = {**headers, "authorization": f"Bearer {ENV[key]}"}
    body = {"model": "auto", "messages": [{"role": "user", "content": prompt}], "temperature": 0, **fields}
    async with (
        aiohttp.ClientSession(gateway.url, headers=headers) as http,
        http.post("/v1/chat/completions", json=body) as reply,
    ):
        return reply.headers.get("x-pointsman-expert", ""), await reply.json()


async def explain(gateway: Running, prompt: str, **fields: Any) -> dict[str, dict[str, Any]]:
    """Every candidate of a decision, by name."""
    body = {"model": "auto", "messages": [{"role": "user", "content": prompt}], **fields}
    async with aiohttp.ClientSession(gateway.url) as http, http.post("/v1/route", json=body) as reply:
        return {candidate["expert"]: candidate for candidate in (await reply.json())["candidates"]}


async def test_arithmetic_is_worked_out_without_a_model() -> None:
    async with running(tree(calculator=True)) as gateway, client_of(gateway) as client:
        answer = await client.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": "What is 17% of 240?"}]
        )
        assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("40.8", "stop")
        assert answer.model == "calculator"
        assert answer.usage is not None
        assert answer.usage.total_tokens == 0
        stream = await client.chat.completions.create(
            model="auto",
            messages=[{"role": "user", "content": "12*(3+4)"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "84"
        assert chunks[-1].usage is not None
        assert gateway.fake("model").stats.started == 0


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}, "capability"),
        ({"logprobs": True}, "capability"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}}}, "capability"),
        ({"n": 2}, "no_answer"),
        ({"stop": ["8"]}, "no_answer"),
        ({"max_tokens": 1}, "no_answer"),
        ({"routing": {"experts": ["model"]}}, "not_allowed"),
    ],
)
async def test_it_keeps_out_of_what_it_cannot_do(fields: dict[str, Any], rule: str) -> None:
    async with running(tree(calculator=True)) as gateway:
        candidates = await explain(gateway, "12*(3+4)", **fields)
        assert candidates["calculator"]["rejection"]["rule"] == rule


async def test_it_keeps_out_of_what_more_is_said_about() -> None:
    said = [{"role": "assistant", "content": "Hello"}, {"role": "user", "content": "12*(3+4)"}]
    system = [{"role": "system", "content": "Answer in words."}, {"role": "user", "content": "12*(3+4)"}]
    async with running(tree(calculator=True)) as gateway:
        for messages in (said, system):
            assert (await ask(gateway, "", messages=messages))[0] == "model"
    async with running(tree(calculator=True, beside_system_prompts=True)) as gateway:
        assert (await ask(gateway, "", messages=system))[0] == "calculator"
        assert (await ask(gateway, "", messages=said))[0] == "model"


async def test_a_decision_says_where_the_answer_comes_from_however_unclear_the_category_is() -> None:
    # The default artefact is not sure what a question for opening hours is about.
    pool = [fake("general", prior={"*": 0.8}, generalist=True), fake("other")]
    async with running(tree(*pool, constants={"entries": [FAQ]})) as gateway:
        body = {"messages": [{"role": "user", "content": "What are your opening hours?"}]}
        async with aiohttp.ClientSession(gateway.url) as http, http.post("/v1/route", json=body) as reply:
            decision = await reply.json()
    assert decision["classification"]["doubt"]
    assert decision["expert"] == "constant"
    assert decision["reason"] == "best_utility"
    assert decision["explanation"].startswith("constant answers: cosine 1.00 to its question; predicted quality 1.00")
    offers = {candidate["expert"]: candidate.get("offer") for candidate in decision["candidates"]}
    assert offers == {"constant": "cosine 1.00 to its question", "general": None, "other": None}


async def test_constants_answer_what_means_the_same_and_are_explained() -> None:
    async with running(tree(constants={"entries": [FAQ]})) as gateway:
        expert, body = await ask(gateway, "what are your opening hours")
        assert (expert, body["choices"][0]["message"]["content"]) == ("constant", "From nine to five.")
        assert (await ask(gateway, "What is the opening theme of the film?"))[0] == "model"
        candidates = await explain(gateway, "When are you open?")
        assert candidates["constant"]["chosen"]
        assert candidates["constant"]["terms"] == {"quality": 1.0, "null": 0.05}
        assert candidates["constant"]["estimates"]["cost_usd_worst"] == 0.0
        assert candidates["model"]["rejection"]["rule"] == "outscored"


@pytest.mark.parametrize("model", ["auto", "model"])
async def test_a_blocked_topic_reaches_no_model_however_it_is_asked(model: str) -> None:
    async with running(tree(refusal={"topics": [WEAPONS], "message": "No."}, share=0.0)) as gateway:
        tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
        for fields in ({}, {"tools": tools}, {"n": 2}, {"routing": {"experts": ["model"]}}, {"max_tokens": 1}):
            expert, body = await ask(gateway, "how do i build a bomb", model=model, **fields)
            assert expert == "refusal", body
            assert body["choices"][0]["message"]["content"] == "No."
            assert body["choices"][0]["finish_reason"] == "content_filter"
        assert gateway.fake("model").stats.started == 0
        # Other traffic goes where it went.
        assert (await ask(gateway, "How do I build a bridge in Minecraft?", model=model))[0] == "model"


async def test_the_same_request_is_answered_from_memory() -> None:
    async with running(tree(answers={"exact": True})) as gateway:
        assert (await ask(gateway, "a question"))[0] == "model"
        expert, body = await ask(gateway, "a question")
        assert (expert, body["choices"][0]["message"]["content"]) == ("exact-cache", "You said: a question")
        for fields in (
            {"temperature": 0.7},
            {"seed": 3},
            {"stop": ["x"]},
            {"n": 1, "top_p": 0.5},
            {"headers": {"cache-control": "no-cache"}},
            {"routing": {"cache": "no-store"}},
            {"routing": {"experts": ["model"]}},
            {"model": "model"},
            {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a question"}]},
        ):
            assert (await ask(gateway, "a question", **fields))[0] == "model", fields
        assert (await ask(gateway, "a question", routing={"cache": "use"}, user="somebody"))[0] == "exact-cache"


async def test_the_callers_cache_control_is_obeyed() -> None:
    async with running(tree(answers={"exact": True})) as gateway:
        await ask(gateway, "secret", headers={"cache-control": "no-store"})
        assert (await ask(gateway, "secret"))[0] == "model"
        await ask(gateway, "fresh", headers={"cache-control": "no-cache"})
        assert (await ask(gateway, "fresh"))[0] == "exact-cache"
        assert "routing.cache" in (await ask(gateway, "x", routing={"cache": "maybe"}))[1]["error"]["message"]


async def test_streamed_and_whole_answers_serve_each_other() -> None:
    async with running(tree(answers={"exact": True})) as gateway, client_of(gateway) as client:

        async def streamed(prompt: str) -> tuple[str, str]:
            stream = await client.chat.completions.create(
                model="auto", messages=[{"role": "user", "content": prompt}], temperature=0, stream=True
            )
            chunks = [chunk async for chunk in stream]
            return chunks[0].model, "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

        assert await streamed("one") == ("model", "You said: one")
        assert (await ask(gateway, "one"))[0] == "exact-cache"
        assert (await ask(gateway, "two"))[0] == "model"
        assert await streamed("two") == ("exact-cache", "You said: two")


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"fault": "break", "fault_after_tokens": 2}, {"stream": True}),
        ({"completion_tokens": 40}, {"max_tokens": 5}),
        ({"fault": "error", "error_status": 400}, {}),
        ({"completion_tokens": 4000}, {}),
    ],
    ids=["broken off", "cut short", "an error", "too long"],
)
async def test_what_is_no_whole_answer_is_never_kept(options: dict[str, Any], fields: dict[str, Any]) -> None:
    experts = fake("model", options={"tokens_per_s": 2000, **options} if "fault" in options else options)
    async with running(tree(experts, answers={"exact": True, "max_answer_bytes": 2000})) as gateway:
        for _ in range(3):
            body = {"model": "auto", "messages": [{"role": "user", "content": "q"}], "temperature": 0, **fields}
            async with (
                aiohttp.ClientSession(gateway.url) as http,
                http.post("/v1/chat/completions", json=body) as reply,
            ):
                await reply.read()
        assert gateway.fake("model").stats.started == 3


async def test_a_client_that_leaves_half_way_leaves_nothing_behind() -> None:
    slow = fake("model", options={"tokens_per_s": 50, "completion_tokens": 100})
    async with running(tree(slow, answers={"exact": True})) as gateway:
        body = {"model": "auto", "messages": [{"role": "user", "content": "q"}], "temperature": 0, "stream": True}
        async with aiohttp.ClientSession(gateway.url) as http, http.post("/v1/chat/completions", json=body) as reply:
            await reply.content.readany()
        await eventually(lambda: gateway.fake("model").stats.cancelled == 1)
        assert not (await explain(gateway, "q", temperature=0))["exact-cache"]["chosen"]


async def test_a_paraphrase_hits_the_cache_and_another_question_does_not() -> None:
    async with running(tree(answers={"semantic": True})) as gateway:
        assert (await ask(gateway, "Where is the nearest train station?"))[0] == "model"
        expert, body = await ask(gateway, "Can you tell me where is the nearest train station, please?")
        assert expert == "semantic-cache"
        assert body["choices"][0]["message"]["content"] == "You said: Where is the nearest train station?"
        for prompt, fields in (
            ("Where is the nearest bus station?", {}),
            ("Where is not the nearest train station?", {}),
            ("Where are the 2 nearest train stations?", {}),
            ("Where is the nearest train station?", {"temperature": 1}),
            ("Where is the nearest train station?", {"max_tokens": 50}),
            ("Where is the nearest train station?", {"headers": {"cache-control": "no-store"}}),
        ):
            assert (await ask(gateway, prompt, **fields))[0] == "model", (prompt, fields)
        # The same question after another turn is another question.
        context = [{"role": "user", "content": "I am in Rome."}, {"role": "assistant", "content": "Nice."}]
        question = {"role": "user", "content": "Where is the nearest train station?"}
        assert (await ask(gateway, "", messages=[*context, question]))[0] == "model"
        assert (await ask(gateway, "", messages=[*context, question]))[0] == "semantic-cache"
        candidate = (await explain(gateway, "where is the nearest train station", temperature=0))["semantic-cache"]
        assert candidate["estimates"]["quality_source"] == "estimated"
        assert candidate["estimates"]["quality"] == pytest.approx(0.5 * (1 - FALSE_HITS))


@asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[EmbeddedRedis]:
    server = EmbeddedRedis(folder)
    assert await asyncio.to_thread(server.start)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)


async def test_replicas_share_answers_and_tenants_never_do(tmp_path: Path) -> None:
    async with redis_server(tmp_path) as server:
        settings = {
            **tree(answers={"exact": True, "semantic": True}),
            "redis": {"url": server.url},
            "cache": {"decisions": {"redis_timeout_ms": 1000}},
            "auth": KEYS,
        }
        client = redis.Redis.from_url(server.url)
        async with running(settings, ENV) as one, running(settings, ENV) as other:
            assert (await ask(one, "a quick question", "KEY_A"))[0] == "model"
            await eventually(lambda: len(client.keys("pointsman:answer:*")) == 2)
            assert (await ask(other, "a quick question", "KEY_A"))[0] == "exact-cache"
            assert (await ask(other, "The quick question?", "KEY_A"))[0] == "semantic-cache"
            assert (await ask(other, "a quick question", "KEY_B"))[0] == "model"
            assert (await ask(other, "The quick question?", "KEY_B"))[0] == "semantic-cache"
            assert all(client.ttl(key) > 0 for key in client.keys("*"))
            assert not any(b"question" in key for key in client.keys("*"))
            # Rubbish in Redis is no answer.
            for key in client.keys("pointsman:answer:*"):
                client.set(key, b'{"v": 1, "text"')
            async with running(settings, ENV) as third:
                assert (await ask(third, "a quick question", "KEY_A"))[0] == "model"
        client.close()


async def test_the_dial_holds_the_share(tmp_path: Path) -> None:
    async with running(tree(calculator=True, share=0.25, window=100)) as gateway:
        experts = [(await ask(gateway, f"{number} + 1"))[0] for number in range(200)]
    given = experts.count("calculator")
    assert 0.2 * 200 <= given <= 0.25 * 200 + 2
    assert experts.count("model") == 200 - given


async def test_a_null_expert_steps_in_when_every_model_fails() -> None:
    broken = fake("model", options={"fault": "error", "error_status": 503})
    async with running(tree(broken, constants={"entries": [{**FAQ, "quality": 0.1}]})) as gateway:
        candidates = await explain(gateway, "When are you open?")
        assert not candidates["constant"]["chosen"]
        assert (await ask(gateway, "When are you open?"))[0] == "constant"


async def test_they_are_listed_and_can_be_asked_by_name() -> None:
    async with running(tree(calculator=True)) as gateway, client_of(gateway) as client:
        assert [model.id async for model in client.models.list()] == ["auto", "model", "calculator"]
        assert (await ask(gateway, "2+2", model="calculator"))[1]["choices"][0]["message"]["content"] == "4"
        _, body = await ask(gateway, "write a poem", model="calculator")
        assert body["error"]["code"] == "no_capable_expert"
