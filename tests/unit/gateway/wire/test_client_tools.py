"""Tools that clients run and that are no functions: as functions there, and in their own shape back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.request import parse_inbound
from pointsman.gateway.wire.responses.client_tools import call_fields
from pointsman.gateway.wire.translation import TranslatedRequest

SHELL = {"type": "shell", "environment": {"type": "local"}}


def read(**fields: Any) -> tuple[TranslatedRequest, dict[str, Any]]:
    asked = {"model": "m", "input": "hi", **fields}
    request = parse_inbound(Endpoint.RESPONSES, orjson.dumps(asked))
    assert request.translated is not None
    return request.translated, request.payload


def test_the_grammar_of_a_free_text_is_described() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}
    tool = {"type": "custom", "name": "c", "description": "Patches.", "format": grammar}
    _, chat = read(tools=[tool, {"type": "custom", "name": "d"}])
    first, second = (tool["function"] for tool in chat["tools"])
    assert first["description"] == "Patches.\n\nThe input must follow this lark grammar:\nstart: /x/"
    assert first["parameters"]["required"] == ["input"]
    assert set(second) == {"name", "parameters"}


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}, "tools[0]"),
        ({"tools": [{"type": "shell", "environment": {"type": "container_reference"}}]}, "tools[0]"),
        ({"tools": [{"type": "function", "name": "shell"}, SHELL]}, "tools[1]"),
        ({"tools": [SHELL, {"type": "computer_use_preview"}]}, "tools[1]"),
        ({"tools": [SHELL], "tool_choice": {"type": "apply_patch"}}, "tool_choice"),
    ],
)
def test_what_runs_elsewhere_or_has_two_meanings_needs_an_expert_with_the_api(fields: Any, where: str) -> None:
    assert read(**fields)[0].native_only == where


@pytest.mark.parametrize(
    ("tool", "choice", "name"),
    [
        ({"type": "custom", "name": "c"}, {"type": "custom", "name": "c"}, "c"),
        (SHELL, {"type": "shell"}, "shell"),
        ({"type": "apply_patch"}, {"type": "apply_patch"}, "apply_patch"),
    ],
)
def test_such_a_tool_can_be_chosen(tool: Any, choice: Any, name: str) -> None:
    translated, chat = read(tools=[tool], tool_choice=choice)
    assert translated.native_only is None
    assert chat["tool_choice"] == {"type": "function", "function": {"name": name}}


def test_earlier_calls_and_what_they_gave() -> None:
    shown = [{"stdout": "a.py", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]
    patch = {"type": "update_file", "path": "a", "diff": "+b"}
    _, chat = read(
        input=[
            {"role": "user", "content": "hi"},
            {"type": "shell_call", "call_id": "1", "action": {"commands": ["ls"], "timeout_ms": None}},
            {"type": "apply_patch_call", "call_id": "2", "operation": patch},
            {"type": "shell_call_output", "call_id": "1", "output": shown},
            {"type": "apply_patch_call_output", "call_id": "2", "status": "failed"},
        ]
    )
    _, called, shell, patched = chat["messages"]
    stated = [(one["function"]["name"], orjson.loads(one["function"]["arguments"])) for one in called["tool_calls"]]
    assert stated == [("shell", {"commands": ["ls"]}), ("apply_patch", patch)]
    assert orjson.loads(shell["content"]) == shown
    assert patched == {"role": "tool", "tool_call_id": "2", "content": "failed"}


@pytest.mark.parametrize(
    ("kind", "arguments", "said"),
    [
        ("custom", "*** Begin", {"name": "n", "input": "*** Begin"}),
        ("custom", '{"text": "x"}', {"name": "n", "input": '{"text": "x"}'}),
        ("shell", '{"command": "ls"}', {"action": {"commands": ["ls"], "timeout_ms": None, "max_output_length": None}}),
        ("shell", '{"commands": ["ls", 3], "timeout_ms": "x"}', {"action": {
            "commands": ["ls"], "timeout_ms": None, "max_output_length": None}}),
        ("local_shell", '{"command": "ls"}', {"action": {"type": "exec", "command": ["bash", "-lc", "ls"], "env": {}}}),
        ("local_shell", "no JSON", {"action": {"type": "exec", "command": [], "env": {}}}),
        ("apply_patch", '{"type": "delete_file", "path": "a", "diff": "x"}', {
            "operation": {"type": "delete_file", "path": "a"}}),
        ("apply_patch", "[]", {"operation": {"type": "update_file", "path": "", "diff": ""}}),
    ],
)  # fmt: skip
def test_arguments_that_are_not_exact(kind: str, arguments: str, said: dict[str, Any]) -> None:
    got = call_fields(kind, "n", arguments)
    assert {name: value for name, value in got.items() if name != "type"} == said
