"""What stands between a client and litellm. What litellm itself does is in the contract every backend keeps."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from typing import Any

import orjson
import pytest

from pointsman.experts.backends.fake import Script
from pointsman.experts.backends.fake.server import FakeServer
from pointsman.experts.backends.litellm import LiteLLMExpert
from pointsman.experts.errors import ExpertMisconfigured
from pointsman.experts.spec import ExpertSpec
from tests.unit.experts.calls import chat, read, text

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
