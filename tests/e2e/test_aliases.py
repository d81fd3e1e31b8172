"""Further names for experts, as clients with names of their own ask for them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anthropic
import openai
import pytest

from tests.e2e.running import Running, both, fake, pool_of_fakes, running
from tests.e2e.upstream import Says, upstream

HELLO: list[Any] = [{"role": "user", "content": "hello there"}]
CODE = "Write a Python function that reverses a linked list."
SAYS = {"options": {"reply": "{model} says: {prompt}"}}
REDIS = {"redis": {"embedded": False}}
ANSWER = (
    b'{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop",'
    b'"message":{"role":"assistant","content":"Hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)


def pool(*experts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"pool": {"experts": list(experts)}, **REDIS, **more}


def client_of(gateway: Running, key: str = "none") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0)


async def said(gateway: Running, model: str, **fields: Any) -> str:
    """Who answers."""
    async with client_of(gateway) as client:
        answer = await client.chat.completions.create(model=model, messages=HELLO, **fields)
    assert answer.model == str(answer.choices[0].message.content).split()[0]
    return answer.model


@both
async def test_claude_codes_own_names_are_answered(transport: Any) -> None:
    aliases = {"claude-sonnet-4-5*": "auto", "claude-haiku-*": "small", "claude-*": "big", "*": "small"}
    tree = {"pool": {"experts": [*pool_of_fakes(), fake("big", **SAYS), fake("small", **SAYS)]}, **REDIS}
    async with (
        running({**tree, "aliases": aliases}, transport=transport) as gateway,
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key="none", max_retries=0) as client,
    ):
        for name, who in (
            ("claude-haiku-4-5", "small"),
            ("claude-opus-9-20990805", "big"),
            ("claude-sonnet-4-5-20990929", "fake-code"),
            ("something else/entirely", "small"),
            ("big", "big"),
        ):
            asked: list[Any] = [{"role": "user", "content": CODE}]
            answer = await client.messages.create(model=name, max_tokens=50, messages=asked)
            assert answer.model == who, name
            counted = await client.messages.count_tokens(model=name, messages=asked)
            assert counted.input_tokens > 0
            async with client.messages.stream(model=name, max_tokens=50, messages=asked) as stream:
                assert (await stream.get_final_message()).model == who


async def test_an_exact_name_goes_before_a_star_and_an_expert_before_a_star_too() -> None:
    aliases = {"gpt-*": "c", "gpt-4*": "b", "gpt-4o": "a", "g*o": "c"}
    experts = [fake(name, **SAYS) for name in ("a", "b", "c", "gpt-4-own")]
    async with running(pool(*experts, aliases=aliases)) as gateway:
        asked = ("gpt-4o", "gpt-4o-mini", "gpt-3", "go", "gpt-4-own")
        assert [await said(gateway, name) for name in asked] == ["a", "b", "c", "c", "gpt-4-own"]


async def test_what_nobody_knows_is_still_not_found_and_the_error_lists_the_aliases() -> None:
    async with running(pool(fake("a"), aliases={"mine": "a", "x-*": "a"})) as gateway, client_of(gateway) as client:
        with pytest.raises(openai.NotFoundError, match=r"one of: a, mine"):
            await client.chat.completions.create(model="yours", messages=HELLO)


async def test_aliases_are_listed_and_can_be_looked_at() -> None:
    aliases = {"mine": "a", "both": ["a", "b"], "claude-*": "auto", "a": {"experts": ["a"], "fallbacks": ["b"]}}
    async with running(pool(fake("a"), fake("b"), aliases=aliases)) as gateway, client_of(gateway) as client:
        assert [model.id async for model in client.models.list()] == ["auto", "a", "b", "mine", "both"]
        assert (await client.models.retrieve("claude-sonnet-4-5")).id == "claude-sonnet-4-5"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("gpt-4o")


async def test_several_experts_of_equal_worth_take_turns() -> None:
    aliases = {"q": ["q-1", "q-2", "q-3"]}
    async with running(pool(*(fake(f"q-{i}", **SAYS) for i in (1, 2, 3)), aliases=aliases)) as gateway:
        asked = Counter([await said(gateway, "q") for _ in range(12)])
        assert asked == {"q-1": 4, "q-2": 4, "q-3": 4}


async def test_several_experts_stand_in_for_each_other() -> None:
    broken = fake("q-1", options={"fault": "error", "error_status": 503})
    async with running(pool(broken, fake("q-2", **SAYS), aliases={"q": ["q-1", "q-2"]})) as gateway:
        assert [await said(gateway, "q") for _ in range(4)] == ["q-2"] * 4
        with pytest.raises(openai.APIStatusError):
            await said(gateway, "q-1")


async def test_what_none_of_the_experts_states_is_held_against_none() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    asked: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "hello"}, picture]}]
    aliases = {"q": ["a", "b"], "seeing": ["a", "sees"]}
    sees = fake("sees", capabilities=["chat", "streaming", "vision"])
    tree = pool(fake("a"), fake("b"), sees, aliases=aliases)
    async with running(tree) as gateway, client_of(gateway) as client:
        answer = await client.chat.completions.create(model="q", messages=asked)
        assert answer.model in ("a", "b")
        assert (await client.chat.completions.create(model="seeing", messages=asked)).model == "sees"


async def test_fallbacks_are_asked_in_their_order() -> None:
    broken = {"options": {"fault": "error", "error_status": 503}}
    aliases = {"a": {"experts": "a", "fallbacks": ["b", "c"]}, "d": {"experts": ["a", "b"], "fallbacks": "c"}}
    tree = pool(fake("a", **broken), fake("b", **broken), fake("c", **SAYS), aliases=aliases)
    async with running(tree) as gateway:
        assert await said(gateway, "a") == "c"
        assert await said(gateway, "d") == "c"
        assert gateway.fake("b").stats.started >= 1


async def test_fallbacks_keep_what_the_caller_allows() -> None:
    broken = {"options": {"fault": "error", "error_status": 503}}
    aliases = {"a": {"experts": "a", "fallbacks": ["dear", "far", "c"]}}
    dear = fake("dear", price={"input_usd_per_mtok": 1e6, "output_usd_per_mtok": 1e6})
    tree = pool(fake("a", local=True, **broken), dear, fake("far"), fake("c", local=True, **SAYS), aliases=aliases)
    async with running(tree) as gateway:
        routing = {"routing": {"max_cost_usd": 0.1, "local_only": True}}
        assert await said(gateway, "a", max_tokens=20, extra_body=routing) == "c"
        with pytest.raises(openai.APIStatusError):
            await said(gateway, "a", extra_body={"routing": {"experts": ["a"]}})
        assert (gateway.fake("dear").stats.started, gateway.fake("far").stats.started) == (0, 0)


async def test_an_alias_may_have_budgets_of_its_own() -> None:
    aliases = {
        "cheap": {"experts": "auto", "budgets": {"max_cost_usd": 0.001}},
        "cheap a": {"experts": "dear", "budgets": {"max_cost_usd": 0.001}},
    }
    dear = fake("dear", prior={"*": 0.9}, price={"input_usd_per_mtok": 1e5, "output_usd_per_mtok": 1e5}, **SAYS)
    tree = pool(dear, fake("plain", **SAYS), aliases=aliases, budgets={"local_only": False})
    async with running(tree) as gateway, client_of(gateway) as client:
        assert (await client.chat.completions.create(model="auto", messages=HELLO, max_tokens=20)).model == "dear"
        assert (await client.chat.completions.create(model="cheap", messages=HELLO, max_tokens=20)).model == "plain"
        with pytest.raises(openai.APIStatusError):
            await client.chat.completions.create(model="cheap a", messages=HELLO, max_tokens=20)


async def test_an_alias_does_not_lift_what_keeps_prompts_at_home() -> None:
    aliases = {"mine": {"experts": "auto", "budgets": {"max_cost_usd": 1}}}
    tree = pool(fake("far"), fake("near", local=True, **SAYS), aliases=aliases, budgets={"local_only": True})
    async with running(tree) as gateway:
        assert {await said(gateway, "mine") for _ in range(3)} == {"near"}


async def test_a_keys_experts_hold_for_what_an_alias_stands_for() -> None:
    keys = [{"name": "few", "key_env": "FEW", "experts": ["a"]}]
    aliases = {"mine": "a", "theirs": "b", "both": ["a", "b"], "any": "auto", "a": {"experts": "a", "fallbacks": ["b"]}}
    broken = {"options": {"fault": "error", "error_status": 503}}
    tree = pool(fake("a", **SAYS), fake("b", **broken), aliases=aliases, auth={"keys": keys})
    async with running(tree, {"FEW": "sk-few"}) as gateway, client_of(gateway, "sk-few") as client:
        assert [model.id async for model in client.models.list()] == ["auto", "a", "mine", "both", "any"]
        for name in ("mine", "both", "any", "a"):
            assert (await client.chat.completions.create(model=name, messages=HELLO)).model == "a"
        with pytest.raises(openai.PermissionDeniedError, match="may not ask theirs"):
            await client.chat.completions.create(model="theirs", messages=HELLO)
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("theirs")
        assert gateway.fake("b").stats.started == 0


async def test_a_star_in_an_experts_model_is_what_the_client_asks_for() -> None:
    aliases = {"openai/*": "any", "gpt-4": "openai/gpt-4o", "old-*": "openai/new-*"}
    async with upstream(chat__completions=Says(ANSWER)) as provider:
        any_model = provider.expert("any", "chat", "streaming") | {"model": "v1/*"}
        tree = pool(any_model, fake("other", **SAYS), aliases=aliases)
        async with running(tree) as gateway, client_of(gateway) as client:

            async def reached(name: str) -> str:
                answer = await client.chat.completions.create(model=name, messages=HELLO)
                assert answer.choices[0].message.content == "Hi"
                return str(provider.asked[-1].json["model"])

            assert await reached("openai/gpt-4o-mini") == "v1/gpt-4o-mini"
            assert await reached("gpt-4") == "v1/gpt-4o"
            assert await reached("old-mini") == "v1/new-mini"
            for strange in ("openai/http://evil.example/v1", "openai/", "openai/a b", "openai/../x?y", "openai//x"):
                with pytest.raises(openai.NotFoundError):
                    await client.chat.completions.create(model=strange, messages=HELLO)
            # Nobody is to choose a model that is not named.
            assert {await said(gateway, "auto") for _ in range(3)} == {"other"}
            with pytest.raises(openai.NotFoundError):
                await client.chat.completions.create(model="any", messages=HELLO)
            assert [model.id async for model in client.models.list()] == ["auto", "other", "gpt-4"]


async def test_several_experts_whose_model_has_a_star_take_turns_too() -> None:
    async with upstream(chat__completions=Says(ANSWER)) as one, upstream(chat__completions=Says(ANSWER)) as two:
        experts = [provider.expert(name, "chat") | {"model": "*"} for provider, name in ((one, "1"), (two, "2"))]
        tree = pool(*experts, fake("other"), aliases={"openai/*": ["1", "2"]})
        async with running(tree) as gateway, client_of(gateway) as client:
            for _ in range(4):
                await client.chat.completions.create(model="openai/gpt-4o", messages=HELLO)
        models = [[asked.json["model"] for asked in provider.asked] for provider in (one, two)]
        assert models == [["gpt-4o"] * 2] * 2
