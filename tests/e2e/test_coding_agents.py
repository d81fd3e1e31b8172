"""Requests as coding agents send them, with all they say, to a chat server that takes nothing it does not know."""

from __future__ import annotations

from typing import Any

import aiohttp
import openai
import orjson
import pytest

from tests.e2e.running import Running, running
from tests.e2e.strict_chat import StrictChat, strict_chat

CACHED = {"type": "ephemeral"}
CLAUDE: dict[str, Any] = {
    "model": "strict",
    "max_tokens": 32000,
    "stream": True,
    "temperature": 1,
    "metadata": {"user_id": orjson.dumps({"device_id": "a" * 64, "account_uuid": "", "session_id": "b" * 36}).decode()},
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "xhigh"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "betas": ["interleaved-thinking-2025-05-14"],
    "speed": "fast",
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cc_entrypoint=cli;"},
        {"type": "text", "text": "You are an agent.", "cache_control": {**CACHED, "ttl": "1h"}},
    ],
    "tools": [
        {
            "name": "Bash",
            "description": "Runs a command.",
            "input_schema": {"$schema": "x", "type": "object", "properties": {"command": {"type": "string"}}},
            "eager_input_streaming": True,
            "cache_control": CACHED,
        },
        {"type": "custom", "name": "Read", "input_schema": {"type": "object"}, "defer_loading": False},
    ],
    "tool_choice": {"type": "auto"},
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<system-reminder>x</system-reminder>"},
                {"type": "text", "text": "List the files.", "cache_control": CACHED},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": ""},
                {"type": "text", "text": "Looking."},
                {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}},
                {"type": "tool_use", "id": "t2", "name": "Read", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "a.py", "is_error": False},
                {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "b"}]},
                {"type": "text", "text": "Go on.", "cache_control": CACHED},
            ],
        },
        {"role": "system", "content": "The plan has changed."},
        {"role": "user", "content": "And?"},
    ],
}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
CODEX: dict[str, Any] = {
    "model": "strict",
    "instructions": "You are Codex.",
    "stream": True,
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "reasoning": {"effort": "xhigh", "summary": "auto"},
    "text": {"verbosity": "medium"},
    "service_tier": "priority",
    "prompt_cache_key": "019c",
    "prompt_cache_retention": "24h",
    "safety_identifier": "s",
    "client_metadata": {"x-codex-installation-id": "i"},
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [
        {
            "type": "function",
            "name": "exec_command",
            "description": "d",
            "strict": False,
            "parameters": {"type": "object"},
        },
        {"type": "custom", "name": "apply_patch", "description": "Patches.", "format": GRAMMAR},
        {"type": "local_shell"},
    ],
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "sandbox"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Mend it."}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "content": None},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "So."}], "phase": "x"},
        {"type": "function_call", "call_id": "c1", "name": "exec_command", "arguments": "{}"},
        {
            "type": "custom_tool_call",
            "call_id": "c2",
            "name": "apply_patch",
            "input": "*** Begin",
            "status": "completed",
        },
        {"type": "local_shell_call", "call_id": "c3", "action": {"type": "exec", "command": ["ls"], "env": {}}},
        {"type": "function_call_output", "call_id": "c1", "output": "ok"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "patched"},
        {"type": "local_shell_call_output", "id": "c3", "output": "a.py"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go on."}]},
    ],
}


async def post(gateway: Running, path: str, asked: dict[str, Any]) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.post(f"{gateway.url}{path}", json=asked) as response:
        return response.status, await response.read()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("path", "asked"), [("/v1/messages?beta=true", CLAUDE), ("/v1/responses", CODEX)])
async def test_a_strict_server_takes_all_that_agents_say(path: str, asked: dict[str, Any], stream: bool) -> None:
    async with strict_chat() as chat, running({"pool": {"experts": [chat.expert()]}}) as gateway:
        for model in ("strict", "auto"):
            status, said = await post(gateway, path, {**asked, "model": model, "stream": stream})
            assert (status, b"Done." in said) == (200, True), said
        sent = chat.asked[-1]
        assert sent["reasoning_effort"] == "high"
        assert len(sent["tools"]) == len(asked["tools"])


@pytest.mark.parametrize(("path", "asked"), [("/v1/messages", CLAUDE), ("/v1/responses", CODEX)])
async def test_one_message_instructs_where_no_more_is_known(path: str, asked: dict[str, Any]) -> None:
    async with (
        strict_chat() as chat,
        running({"pool": {"experts": [chat.expert(instructing_role="system")]}}) as gateway,
    ):
        status, said = await post(gateway, path, asked)
        assert status == 200, said
        roles = [turn["role"] for turn in chat.asked[-1]["messages"]]
        assert roles[0] == "system"
        assert not {"system", "developer"}.intersection(roles[1:])


@pytest.mark.parametrize(
    ("path", "asked", "field"),
    [
        ("/v1/messages", CLAUDE, "unheard_of"),
        ("/v1/messages", CLAUDE, "inference_geo"),
        ("/v1/responses", CODEX, "prompt"),
    ],
)
async def test_a_field_that_may_mean_something_is_refused_by_name(path: str, asked: dict[str, Any], field: str) -> None:
    async with strict_chat() as chat, running({"pool": {"experts": [chat.expert()]}}) as gateway:
        for model in ("strict", "auto"):
            status, said = await post(gateway, path, {**asked, "model": model, field: "us"})
            assert (status, orjson.loads(said)["error"]["param"]) == (400, field)
        assert not chat.asked


def called(name: str, **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": orjson.dumps(arguments).decode()}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c9", "type": "function", "function": function}],
    }


async def output(chat: StrictChat, tools: list[Any], *, stream: bool) -> Any:
    async with (
        running({"pool": {"experts": [chat.expert()]}}) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
    ):
        if not stream:
            return (await client.responses.create(model="strict", input="Go.", tools=tools)).output
        async with client.responses.stream(model="strict", input="Go.", tools=tools) as events:
            done = [event.item async for event in events if event.type == "response.output_item.done"]
            assert (await events.get_final_response()).output == done
            return done


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("tool", "message", "said"),
    [
        (
            {"type": "custom", "name": "apply_patch", "format": GRAMMAR},
            called("apply_patch", input='*** "Begin"\n'),
            {"type": "custom_tool_call", "name": "apply_patch", "input": '*** "Begin"\n'},
        ),
        (
            {"type": "local_shell"},
            called("local_shell", command=["ls"], timeout_ms=5),
            {"type": "local_shell_call", "action": {"type": "exec", "command": ["ls"], "env": {}, "timeout_ms": 5}},
        ),
        (
            {"type": "shell", "environment": {"type": "local"}},
            called("shell", commands=["ls", "pwd"]),
            {
                "type": "shell_call",
                "action": {"commands": ["ls", "pwd"], "timeout_ms": None, "max_output_length": None},
            },
        ),
        (
            {"type": "apply_patch"},
            called("apply_patch", type="create_file", path="a", diff="+b"),
            {"type": "apply_patch_call", "operation": {"type": "create_file", "path": "a", "diff": "+b"}},
        ),
    ],
)
async def test_tools_of_the_clients_own_come_back_in_their_shape(
    tool: dict[str, Any], message: dict[str, Any], said: dict[str, Any], stream: bool
) -> None:
    async with strict_chat(message) as chat:
        (item,) = await output(chat, [tool], stream=stream)
    got = item.model_dump(exclude_unset=True)
    assert got["call_id"] == "c9"
    assert {name: got[name] for name in said} == said
