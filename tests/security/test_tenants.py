"""What lies with a provider is reached by the tenant alone whose answers brought it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from tests.e2e.running import running
from tests.e2e.upstream import EVENTS, Says, Upstream, upstream

ENV = {"KEY_A": "sk-aaaaaaaaaaaaaaaa", "KEY_A2": "sk-aaaaaaaaaaaaaaa2", "KEY_B": "sk-bbbbbbbbbbbbbbbb"}
KEYS = [
    {"name": "a", "key_env": "KEY_A", "tenant": "ta"},
    {"name": "a2", "key_env": "KEY_A2", "tenant": "ta"},
    {"name": "b", "key_env": "KEY_B", "tenant": "tb"},
]
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "inner",
    "output": [
        {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
        {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1", "outputs": []},
    ],
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
MESSAGE = {
    "id": "msg_9",
    "type": "message",
    "role": "assistant",
    "model": "inner",
    "content": [{"type": "text", "text": "x"}],
    "container": {"id": "container_9", "expires_at": "2030-01-01T00:00:00Z"},
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
SPOKEN = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "inner",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": None, "audio": {"id": "audio_9"}}}],
}
STREAM = b"".join(
    b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, "response": RESPONSE}))
    for kind in ("response.created", "response.completed")
)


class Caller:
    """Asks with one key."""

    def __init__(self, url: str, key: str) -> None:
        self._url, self._key = url, key

    async def __call__(self, path: str, **fields: Any) -> tuple[int, Any]:
        """The status of an answer, and what it says."""
        headers = {"authorization": f"Bearer {ENV[self._key]}"}
        async with (
            aiohttp.ClientSession(self._url) as http,
            http.post(f"/v1/{path}", json={"model": "native", **fields}, headers=headers) as reply,
        ):
            data = await reply.read()
            return reply.status, orjson.loads(data) if data.startswith(b"{") else data


@asynccontextmanager
async def gateway(
    auth: dict[str, Any] | None = None, **answers: Says
) -> AsyncIterator[tuple[Upstream, Caller, Caller, Caller]]:
    """A gateway before an expert that speaks all the APIs, and callers: two of one tenant, one of another."""
    said = {"responses": Says(orjson.dumps(RESPONSE)), "messages": Says(orjson.dumps(MESSAGE))}
    said["chat__completions"] = Says(orjson.dumps(SPOKEN))
    async with upstream(**{**said, **answers}) as expert:
        pool = {
            "probe_interval_s": 0,
            "experts": [expert.expert("native", "chat", "streaming", "responses", "messages", "count_tokens")],
        }
        tree: dict[str, Any] = {"pool": pool, "auth": {"keys": KEYS} if auth is None else auth}
        async with running(tree, ENV) as gateway:
            a, a2, b = (Caller(gateway.url, key) for key in ("KEY_A", "KEY_A2", "KEY_B"))
            yield expert, a, a2, b


def turn(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


NAMING: list[tuple[str, dict[str, Any]]] = [
    ("responses", {"input": "x", "previous_response_id": "resp_1"}),
    ("responses", {"input": "x", "conversation": "resp_1"}),
    ("responses", {"input": "x", "conversation": {"id": "resp_1"}}),
    ("responses", {"input": [{"type": "item_reference", "id": "msg_1"}, {"role": "user", "content": "x"}]}),
    ("responses", {"input": [{"id": "msg_1"}, {"role": "user", "content": "x"}]}),
    ("responses", {"input": [{"type": "reasoning", "id": "ci_1", "summary": []}, {"role": "user", "content": "x"}]}),
    ("responses", {"input": "x", "tools": [{"type": "code_interpreter", "container": "cntr_1"}]}),
    ("responses", {"input": turn({"type": "input_file", "file_id": "cntr_1"})}),
    ("messages", {"max_tokens": 9, "messages": turn({"type": "text", "text": "x"}), "container": "container_9"}),
    (
        "messages",
        {"max_tokens": 9, "messages": turn({"type": "document", "source": {"type": "file", "file_id": "msg_9"}})},
    ),
    (
        "messages",
        {
            "max_tokens": 9,
            "messages": turn({"type": "text", "text": "x"}),
            "thread": {"type": "continue", "previous_message_id": "msg_9"},
        },
    ),
    ("messages/count_tokens", {"messages": turn({"type": "container_upload", "file_id": "container_9"})}),
    ("chat/completions", {"messages": [{"role": "assistant", "audio": {"id": "audio_9"}}]}),
    ("chat/completions", {"messages": turn({"type": "file", "file": {"file_id": "audio_9"}})}),
]


async def everything(caller: Caller) -> None:
    """Have each kind of answer once."""
    for path, fields in (
        ("responses", {"input": "my PIN is 4711"}),
        ("messages", {"max_tokens": 9, "messages": turn({"type": "text", "text": "x"})}),
        ("chat/completions", {"messages": [{"role": "user", "content": "x"}], "modalities": ["text", "audio"]}),
    ):
        status, _ = await caller(path, **fields)
        assert status == 200


@pytest.mark.parametrize(("path", "fields"), NAMING)
async def test_what_an_answer_brought_is_its_tenants_alone(path: str, fields: dict[str, Any]) -> None:
    async with gateway() as (expert, a, a2, b):
        await everything(a)
        asked = len(expert.asked)
        status, told = await b(path, **fields)
        assert (status, len(expert.asked)) == (404, asked)
        if path.startswith("messages"):
            assert (told["type"], told["error"]["type"]) == ("error", "not_found_error")
        else:
            assert (told["error"]["type"], told["error"]["code"]) == ("invalid_request_error", "id_not_found")
        unknown, _ = await b(path, **orjson.loads(orjson.dumps(fields).replace(b"_1", b"_0").replace(b"_9", b"_0")))
        assert unknown == 404
        for own in (a, a2):
            await own(path, **fields)
            asked += 1
            assert len(expert.asked) == asked, "it went to the expert"


async def test_a_decision_alone_tells_nothing_of_it_either() -> None:
    async with gateway() as (_, a, _, b):
        await everything(a)
        assert (await b("route", input="x", previous_response_id="resp_1"))[0] == 404
        assert (await a("route", input="x", previous_response_id="resp_1"))[0] == 200


async def test_a_stream_brings_ids_too_before_its_end() -> None:
    async with gateway(responses=Says(STREAM, kind=EVENTS)) as (expert, a, _, b):
        await a("responses", input="x", stream=True)
        asked = len(expert.asked)
        await a("responses", input="x", previous_response_id="resp_1", stream=True)
        assert len(expert.asked) == asked + 1
        assert (await b("responses", input="x", previous_response_id="resp_1", stream=True))[0] == 404


@pytest.mark.parametrize(
    "fields",
    [
        {"request_id": "resp_1"},
        {"metadata": {"id": "resp_1"}},
        {"tools": [{"type": "function", "name": "resp_1", "parameters": {}}]},
        {"input": [{"type": "message", "role": "user", "content": "resp_1"}]},
    ],
)
async def test_nobody_comes_by_an_id_by_asking_for_an_answer_of_that_name(fields: dict[str, Any]) -> None:
    """Some servers let a client choose what its answer is called."""
    async with gateway() as (_, a, _, b):
        await a("responses", input="my PIN is 4711")
        # This expert calls every answer so.
        assert (await b("responses", **{"input": "x", **fields}))[0] == 200
        assert (await b("responses", input="x", previous_response_id="resp_1"))[0] == 404


async def test_a_turn_that_is_repeated_in_full_goes_on_without_its_name() -> None:
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]}
    turns = [{**said, "id": "msg_1"}, {"role": "user", "content": "and now?"}]
    async with gateway() as (expert, a, _, b):
        await everything(a)
        assert (await b("responses", input=turns))[0] == 200
        sent = expert.asked[-1].json["input"]
        assert sent[0]["id"] not in ("", "msg_1")
        assert sent[0]["id"].startswith("msg_")
        assert {**sent[0], "id": "msg_1"} == turns[0]
        assert sent[1] == turns[1]
        await a("responses", input=turns)
        assert expert.asked[-1].json["input"] == turns


async def test_an_operator_may_give_a_tenant_ids() -> None:
    tenants = {"tb": {"provider_ids": ["file_shared"]}, "ta": {"provider_ids": ["*"]}}
    ask = {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file_shared"}]}]}
    other = {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file_other"}]}]}
    async with gateway({"keys": KEYS, "tenants": tenants}) as (_, a, _, b):
        assert [(await b("responses", **ask))[0], (await b("responses", **other))[0]] == [200, 404]
        assert [(await a("responses", **ask))[0], (await a("responses", **other))[0]] == [200, 200]


@pytest.mark.parametrize(("path", "fields"), NAMING)
async def test_without_keys_nothing_is_looked_up(path: str, fields: dict[str, Any]) -> None:
    async with gateway({}) as (expert, a, _, _):
        await a(path, **fields)
        assert len(expert.asked) == 1


async def test_a_vllm_server_keeps_the_prefixes_of_tenants_apart() -> None:
    answers = {"chat__completions": Says(orjson.dumps(SPOKEN)), "responses": Says(orjson.dumps(RESPONSE))}
    async with upstream(**answers) as vllm, upstream(**answers) as other:
        experts = [
            vllm.expert("native", "chat", "streaming", "responses", cache_salt=True),
            other.expert("plain", "chat", "streaming", "responses"),
        ]
        tree: dict[str, Any] = {"pool": {"probe_interval_s": 0, "experts": experts}, "auth": {"keys": KEYS}}
        async with running(tree, ENV) as gateway:
            for key in ENV:
                ask = Caller(gateway.url, key)
                await ask("chat/completions", messages=turn({"type": "text", "text": "x"}))
                await ask("responses", input="x")
                await ask("chat/completions", model="plain", messages=turn({"type": "text", "text": "x"}))
        a, a_too, a2, a2_too, b, b_too = (asked.json["cache_salt"] for asked in vllm.asked)
        assert len({a, a_too, a2, a2_too}) == len({b, b_too}) == 1
        assert a != b
        assert all("cache_salt" not in asked.json for asked in other.asked)
        del tree["auth"]
        async with running(tree, ENV) as gateway:
            await Caller(gateway.url, "KEY_A")("responses", input="x")
        assert "cache_salt" not in vllm.asked[-1].json
