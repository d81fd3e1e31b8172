"""Embeddings, rerank and score: where experts have them, with the bytes untouched."""

from __future__ import annotations

import math
from typing import Any

import openai
import orjson
import pytest

from tests.e2e.running import Transport, both, fake, pool_of_fakes, running
from tests.e2e.test_endpoints_messages import ask, outcome
from tests.e2e.upstream import Says, upstream

INPUTS = ["embeddings", "rerank", "score"]
VECTORS = (
    b'{"object":"list","data":[{"index":0,"embedding":[0.10,-1e-9]}],"model":"inner","unknown":1.0,'
    b'"usage":{"prompt_tokens":3,"total_tokens":3}}'
)
#: The documents come first, and have a field of that name themselves.
RANKED = (
    b'{"results":[{"document":{"model":"inner"},"relevance_score":0.5}],"model":"inner","usage":{"total_tokens":3}}'
)


async def test_the_sdk_embeds_with_auto_and_by_name() -> None:
    experts = [*pool_of_fakes(), fake("vectors", capabilities=INPUTS)]
    async with (
        running({"pool": {"experts": experts}}) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
    ):
        for model in ("auto", "vectors"):
            # The SDK asks for base64 where nothing is stated, and reads it.
            for encoding in ({}, {"encoding_format": "float"}):
                answer = await client.embeddings.create(model=model, input=["one two", "two one", "three"], **encoding)  # type: ignore[call-overload]
                assert answer.model == "vectors"
                first, second, third = (one.embedding for one in answer.data)
                assert first == pytest.approx(second)
                assert first != pytest.approx(third)
                assert math.hypot(*first) == pytest.approx(1, abs=1e-6)
                assert answer.usage.prompt_tokens == 5


@both
async def test_a_null_encoding_format_reaches_the_expert(transport: Transport) -> None:
    body = b'{ "model":"auto", "input":["a"], "encoding_format":null, "routing_of_others":1.50 }'
    async with (
        upstream(embeddings=Says(VECTORS)) as server,
        running({"pool": {"experts": [server.expert("vectors", "embeddings")]}}, transport=transport) as gateway,
    ):
        for _ in range(2):
            status, got, headers = await ask(gateway.url, "/v1/embeddings", body)
            assert (status, got) == (200, VECTORS.replace(b'"inner"', b'"vectors"'))
        assert server.asked[-1].body == body.replace(b'"auto"', b'"inner"')
        counted = await outcome(gateway, headers)
        assert counted["prompt_tokens"] == 3


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/v1/score", "/score"])
async def test_rerank_and_score_with_and_without_a_version(path: str) -> None:
    async with running({"pool": {"experts": [*pool_of_fakes(), fake("ranker", capabilities=INPUTS)]}}) as gateway:
        fields: dict[str, Any] = {"query": "red apples", "documents": ["blue sky", "apples red", "red"], "top_n": 2}
        if path.endswith("score"):
            fields = {"text_1": "red apples", "text_2": ["blue sky", "apples red", "red"]}
        status, got, headers = await ask(gateway.url, path, orjson.dumps({"model": "auto", **fields}))
        answer = orjson.loads(got)
        assert (status, headers["x-pointsman-expert"], answer["model"]) == (200, "ranker", "ranker"), got
        if path.endswith("score"):
            assert [one["score"] for one in answer["data"]][1] == pytest.approx(1)
        else:
            assert answer["results"][0]["index"] == 1
            assert len(answer["results"]) == 2


async def test_of_several_models_in_an_answer_its_own_is_named() -> None:
    async with (
        upstream(rerank=Says(RANKED)) as server,
        running({"pool": {"experts": [server.expert("ranker", "rerank")]}}) as gateway,
    ):
        body = orjson.dumps({"model": "auto", "query": "q", "documents": [{"model": "inner"}]})
        _, got, _ = await ask(gateway.url, "/v1/rerank", body)
    assert got == RANKED.replace(b'"model":"inner","usage"', b'"model":"ranker","usage"')


async def test_auto_takes_the_cheapest_of_those_that_can_and_fails_over() -> None:
    dear, cheap = (
        {"price": {"input_usd_per_mtok": price, "output_usd_per_mtok": 0}, "capabilities": ["embeddings"]}
        for price in (9, 1)
    )
    experts = [
        # What it is said to be good at means nothing where nothing is written.
        *pool_of_fakes(),
        fake("dear", prior={"*": 1.0}, **dear),
        fake("cheap", prior={"*": 0.0}, **cheap),
    ]
    body = orjson.dumps({"model": "auto", "input": "hello"})
    async with running({"pool": {"experts": experts}}) as gateway:
        _, _, headers = await ask(gateway.url, "/v1/embeddings", body)
        assert headers["x-pointsman-expert"] == "cheap"
        from pointsman.experts.backends.fake import Script
        from pointsman.experts.backends.fake.script import Fault

        gateway.fake("cheap").script = Script(fault=Fault.ERROR, error_status=503)
        status, _, headers = await ask(gateway.url, "/v1/embeddings", body)
        assert (status, headers["x-pointsman-expert"]) == (200, "dear")


async def test_an_expert_without_the_endpoint_is_not_asked() -> None:
    async with running({"pool": {"experts": [*pool_of_fakes(), fake("vectors", capabilities=INPUTS)]}}) as gateway:
        for path, model in (("/v1/embeddings", "fake-code"), ("/v1/chat/completions", "auto")):
            body = {"model": model, "input": "x", "messages": [{"role": "user", "content": "x"}]}
            status, _, headers = await ask(gateway.url, path, orjson.dumps(body))
            assert (status == 422) == (model == "fake-code")
            assert headers.get("x-pointsman-expert") != "vectors"


async def test_flags_and_null_experts_leave_inputs_alone() -> None:
    tree = {
        "pool": {"experts": [fake("vectors", capabilities=INPUTS)]},
        "router": {"flags": True},
        "null_experts": {"calculator": True},
    }
    async with running(tree) as gateway:
        for text in ("[Flag: nonsense] 1", "2 + 2"):
            status, got, headers = await ask(
                gateway.url, "/v1/embeddings", orjson.dumps({"model": "auto", "input": text})
            )
            assert (status, headers["x-pointsman-expert"]) == (200, "vectors"), got


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("embeddings", {}, "input"),
        ("embeddings", {"input": []}, "input"),
        ("rerank", {"query": "q"}, "documents"),
        ("score", {"text_2": "q"}, "text_1"),
    ],
)
async def test_what_is_missing_is_named(path: str, fields: dict[str, Any], param: str) -> None:
    async with running({"pool": {"experts": [fake("vectors", capabilities=INPUTS)]}}) as gateway:
        status, got, _ = await ask(gateway.url, f"/v1/{path}", orjson.dumps({"model": "auto", **fields}))
        assert (status, orjson.loads(got)["error"]["param"]) == (400, param)
