"""What stands between a client and litellm. What litellm itself does is in the contract every backend keeps."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import struct
import subprocess
import sys
from dataclasses import replace
from typing import Any

import orjson
import pytest

from pointsman.experts.backends.fake import Script
from pointsman.experts.backends.fake.server import FakeServer
from pointsman.experts.backends.litellm import LiteLLMExpert
from pointsman.experts.errors import ExpertMisconfigured
from pointsman.experts.protocols import Endpoint, ExpertCall
from pointsman.experts.spec import Capability, ExpertSpec
from tests.e2e.upstream import Says, upstream
from tests.unit.experts.calls import chat, read, text

CHAT = (
    b'{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop",'
    b'"message":{"role":"assistant","content":"Hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)
SPEC = ExpertSpec("hosted", "litellm", "openai/m")

needs_litellm = pytest.mark.skipif(importlib.util.find_spec("litellm") is None, reason="the extra litellm is absent")


STEERING = "api_base base_url api_key custom_llm_provider mock_response fallbacks model_list extra_headers extra_body"


@pytest.mark.parametrize("field", [*STEERING.split(), "timeout", "num_retries", "aws_region_name", "top_k"])
async def test_a_client_may_not_steer_litellm(field: str) -> None:
    status, body = await read(LiteLLMExpert(SPEC, api_key="sk-own"), chat(**{field: "http://127.0.0.1:1"}))
    error = orjson.loads(body)["error"]
    assert (status, error["param"], error["type"]) == (400, field, "invalid_request_error")


async def test_a_missing_extra_is_said_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExpertMisconfigured, match=r"pip install 'pointsman\[litellm\]'"):
        await LiteLLMExpert(SPEC).start()


async def test_a_broken_installation_is_said_at_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litellm", None)  # what Python itself does to a module that may not be imported
    with pytest.raises(ExpertMisconfigured, match="litellm"):
        await LiteLLMExpert(SPEC).call(chat())


def test_importing_the_backend_imports_no_litellm() -> None:
    code = "import sys, pointsman.experts.backends.litellm; sys.exit('litellm' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@needs_litellm
async def test_importing_litellm_leaves_the_loop_alone() -> None:
    """In a process of its own, where litellm is not imported yet: the loop goes on turning while it is."""
    code = """
import asyncio, sys
from pointsman.experts.backends.litellm import LiteLLMExpert
from pointsman.experts.spec import ExpertSpec

async def main():
    turns = 0
    loading = asyncio.create_task(LiteLLMExpert(ExpertSpec("a", "litellm", "openai/m"))._load())
    while not loading.done():
        await asyncio.sleep(0.01)
        turns += 1
    litellm = await loading
    assert turns > 10, turns
    assert (litellm.telemetry, litellm.drop_params) == (False, False)

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=-1, stderr=-1)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert out == b""


@needs_litellm
async def test_the_operators_arguments_and_fields_go_along() -> None:
    server = FakeServer(Script(reply="{prompt}"), api_key="sk-own")
    await server.start()
    options: dict[str, Any] = {"params": {"organization": "org"}, "extra_fields": frozenset({"top_k"})}
    expert = LiteLLMExpert(SPEC, api_key="sk-own", api_base=server.url, **options)
    assert await text(expert, chat("hello", top_k=3)) == "hello"
    wrong = LiteLLMExpert(SPEC, api_key="sk-other", api_base=server.url)
    status, body = await read(wrong, chat())
    assert status == 401
    assert b"wrong API key" in body
    await expert.aclose()
    await wrong.aclose()
    await server.aclose()


@needs_litellm
async def test_a_model_of_no_provider_is_the_operators_fault() -> None:
    expert = LiteLLMExpert(ExpertSpec("hosted", "litellm", "nobody/nothing"), api_key="x")
    with pytest.raises(ExpertMisconfigured, match="nobody/nothing"):
        await expert.call(chat())
    await expert.aclose()


@needs_litellm
async def test_a_call_with_tools_needs_nothing_that_the_extra_does_not_bring() -> None:
    """litellm imports its extra `mcp` as soon as there are tools."""
    server = FakeServer(Script())
    await server.start()
    tool = {
        "type": "function",
        "function": {"name": "add_up", "parameters": {"properties": {"a": {"type": "integer"}}}},
    }
    try:
        expert = LiteLLMExpert(SPEC, api_key="none", api_base=server.url)
        messages = [{"role": "user", "content": "add_up 3"}]
        status, body = await read(expert, chat(messages=messages, tools=[tool], tool_choice="required"))
        await expert.aclose()
    finally:
        await server.aclose()
    assert status == 200, body
    call = orjson.loads(body)["choices"][0]["message"]["tool_calls"][0]["function"]
    assert (call["name"], orjson.loads(call["arguments"])) == ("add_up", {"a": 3})


@needs_litellm
@pytest.mark.parametrize("encoding", [None, "float", "base64"])
async def test_embeddings_come_in_openais_shape(encoding: str | None) -> None:
    expected = {"object": "list", "model": "m", "usage": {"prompt_tokens": 3, "total_tokens": 3}}
    data = [{"object": "embedding", "index": index, "embedding": [0.5, -1.0]} for index in range(2)]
    async with upstream(embeddings=Says(orjson.dumps({**expected, "data": data}))) as provider:
        spec = replace(SPEC, capabilities=frozenset({Capability.EMBEDDINGS}))
        expert = LiteLLMExpert(spec, api_key="sk-own", api_base=f"http://127.0.0.1:{provider.port}/v1")
        payload: dict[str, Any] = {"model": "x", "input": ["a", "b"]}
        payload |= {} if encoding is None else {"encoding_format": encoding}
        call = ExpertCall("r", Endpoint.EMBEDDINGS, orjson.dumps(payload), payload, stream=False)
        status, body = await read(expert, call)
        asked = provider.asked[-1]
        assert (asked.json["input"], asked.json["model"]) == (["a", "b"], "m")
        assert asked.headers["authorization"] == "Bearer sk-own"
        await expert.aclose()
    found = orjson.loads(body)
    assert (status, found["object"], [one["index"] for one in found["data"]]) == (200, "list", [0, 1])
    assert found["usage"]["prompt_tokens"] == 3
    vector = found["data"][0]["embedding"]
    assert vector == [0.5, -1.0] if encoding != "base64" else struct.unpack("2f", base64.b64decode(vector)) == (0.5, -1)


@needs_litellm
async def test_what_the_operator_states_of_a_request_holds_where_the_client_states_nothing() -> None:
    async with upstream(chat__completions=Says(CHAT)) as provider:
        expert = LiteLLMExpert(
            SPEC,
            api_key="sk-own",
            api_base=f"http://127.0.0.1:{provider.port}/v1",
            params={"temperature": 0.25, "max_tokens": 7},
        )
        await read(expert, chat())
        await read(expert, chat(temperature=0.75))
        await read(expert, chat(max_completion_tokens=3))
        await expert.aclose()
    sent = [request.json for request in provider.asked]
    assert [one.get("temperature") for one in sent] == [0.25, 0.75, 0.25]
    assert [one.get("max_tokens") for one in sent] == [7, 7, None]
    assert sent[2]["max_completion_tokens"] == 3


@needs_litellm
async def test_a_call_may_name_another_model_than_the_usual_one() -> None:
    async with upstream(chat__completions=Says(CHAT)) as provider:
        spec = replace(SPEC, model="openai/*")
        expert = LiteLLMExpert(spec, api_key="sk-own", api_base=f"http://127.0.0.1:{provider.port}/v1")
        await read(expert, replace(chat(), model="openai/gpt-x"))
        await expert.aclose()
    assert provider.asked[-1].json["model"] == "gpt-x"
