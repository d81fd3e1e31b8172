"""What an application sees with OpenAI's own package."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest

from tests.e2e.running import Running, fake, pool_of_fakes, running

CODE = "Write a Python function that reverses a linked list."


@pytest.fixture
async def gateway() -> AsyncIterator[Running]:
    async with running({"pool": {"experts": pool_of_fakes()}, "router": {"flags": True}}) as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


async def test_auto_reaches_the_expert_that_suits_the_prompt(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": CODE}]
    )
    answer = raw.parse()
    assert answer.model == raw.headers["x-pointsman-expert"] == "fake-code"
    assert raw.headers["x-pointsman-category"] == "code"
    assert raw.headers["x-pointsman-cache"] == "miss"
    assert float(raw.headers["x-pointsman-overhead-ms"]) > 0
    assert answer.choices[0].message.content == f"fake-code says: {CODE}"
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


async def test_the_second_time_the_decision_comes_from_the_cache(client: openai.AsyncOpenAI) -> None:
    for expected in ("miss", "hit-local"):
        raw = await client.chat.completions.with_raw_response.create(
            model="auto", messages=[{"role": "user", "content": CODE}]
        )
        assert raw.headers["x-pointsman-cache"] == expected
        assert raw.headers["x-pointsman-expert"] == "fake-code"


async def test_a_streamed_answer_is_the_same_text_and_reports_usage(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": CODE}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert {chunk.model for chunk in chunks} == {"fake-code"}
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == f"fake-code says: {CODE}"
    assert chunks[-1].usage is not None
    assert chunks[-1].choices == []


async def test_legacy_completions_are_routed_too(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(model="auto", prompt=CODE)
    assert answer.model == "fake-code"
    chunks = [chunk async for chunk in await client.completions.create(model="auto", prompt=CODE, stream=True)]
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == answer.choices[0].text


async def test_a_named_model_bypasses_routing(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(
        model="fake-prose", messages=[{"role": "user", "content": CODE}]
    )
    assert raw.parse().model == "fake-prose"
    assert raw.headers["x-pointsman-reason"] == "named_by_caller"
    assert "x-pointsman-category" not in raw.headers


async def test_models_lists_auto_and_the_experts(client: openai.AsyncOpenAI) -> None:
    names = [model.id async for model in client.models.list()]
    assert names == ["auto", "fake-code", "fake-math", "fake-clinical", "fake-prose", "fake-general"]
    assert (await client.models.retrieve("fake-math")).id == "fake-math"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("nobody")


async def test_an_unknown_model_says_what_there_is(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        await client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "hi"}])
    assert error.value.code == "model_not_found"
    assert "fake-code" in error.value.message


async def test_budgets_go_in_extra_body_and_never_reach_the_expert(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as error:
        await client.chat.completions.create(
            model="auto",
            messages=[{"role": "user", "content": CODE}],
            extra_body={"routing": {"max_energy_j": 0.05}},
        )
    assert error.value.code == "budget_infeasible"
    assert error.value.param == "routing.max_energy_j"
    assert error.value.response.headers["x-pointsman-reason"] == "max_energy_j"
    raw = await client.chat.completions.with_raw_response.create(
        model="auto",
        messages=[{"role": "user", "content": CODE}],
        max_tokens=20,
        extra_body={"routing": {"max_energy_j": 5}},
    )
    assert raw.headers["x-pointsman-expert"] == "fake-code"


async def test_a_cap_holds_for_a_named_model_as_well(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as error:
        await client.chat.completions.create(
            model="fake-code",
            messages=[{"role": "user", "content": CODE}],
            extra_headers={"x-pointsman-max-cost-usd": "0.0000001"},
        )
    assert error.value.param == "routing.max_cost_usd"


async def test_flags_are_followed_and_stripped() -> None:
    experts = [fake("small", params_total_b=1, prior={"*": 0.1}), fake("large", params_total_b=70, prior={"*": 0.9})]
    for expert in experts:
        expert["options"] = {"reply": "{prompt}"}
    async with (
        running({"pool": {"experts": experts}, "router": {"flags": True}}) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
    ):
        plain = await client.chat.completions.create(model="auto", messages=[{"role": "user", "content": CODE}])
        flagged = await client.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": f"[Flag: smallest model] {CODE}"}]
        )
        assert (plain.model, flagged.model) == ("large", "small")
        assert flagged.choices[0].message.content == CODE
        with pytest.raises(openai.BadRequestError) as error:
            await client.chat.completions.create(
                model="auto", messages=[{"role": "user", "content": f"[Flag: loudest] {CODE}"}]
            )
        assert error.value.code == "unknown_flag"
