"""Tools of Responses that the client runs itself and that are no functions: a chat expert gets them as functions.

Free text (`custom`), shells and patches. What the expert calls is put back into the shape of the tool, and earlier
calls and their outputs become those of functions. A tool that runs at the provider has no counterpart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from pointsman.gateway.wire.fields import object_at, text_at

CUSTOM: Final = "custom"
_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_WHOLE: Final = {"type": "integer"}


def _takes(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


#: Kind -> what it does, and what it takes.
_FUNCTIONS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "local_shell": (
        "Runs a command on the user's machine and returns its output.",
        _takes(
            ("command",),
            command={**_TEXTS, "description": "The program and its arguments."},
            working_directory=_TEXT,
            timeout_ms=_WHOLE,
        ),
    ),
    "shell": (
        "Runs commands in a shell on the user's machine and returns their output.",
        _takes(("commands",), commands=_TEXTS, timeout_ms=_WHOLE, max_output_length=_WHOLE),
    ),
    "apply_patch": (
        "Creates, changes or deletes a file on the user's machine by a diff in the V4A format.",
        _takes(
            ("type", "path"),
            type={"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
            path=_TEXT,
            diff={**_TEXT, "description": "The changed lines; none to delete a file."},
        ),
    ),
}
#: Kind of a call -> kind of its tool.
CALLS: Final[Mapping[str, str]] = {
    "custom_tool_call": CUSTOM,
    "local_shell_call": "local_shell",
    "shell_call": "shell",
    "apply_patch_call": "apply_patch",
}
OUTPUTS: Final = frozenset(f"{call}_output" for call in CALLS)


def function_of(tool: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """The function for a tool; None where the provider runs it.

    Raises:
        RequestRefused: It is malformed.
    """
    kind = tool.get("type")
    if kind == CUSTOM:
        said = [tool["description"]] if isinstance(tool.get("description"), str) else []
        shape = tool.get("format")
        if isinstance(shape, dict) and shape.get("type") == "grammar":
            said.append(f"The input must follow this {shape.get('syntax')} grammar:\n{shape.get('definition')}")
        function = {"name": text_at(tool, "name", where), "parameters": _takes(("input",), input=_TEXT)}
        return {**function, "description": "\n\n".join(said)} if said else function
    if not isinstance(kind, str) or kind not in _FUNCTIONS:
        return None
    place = tool.get("environment")
    if isinstance(place, dict) and place.get("type") != "local":
        return None
    description, parameters = _FUNCTIONS[kind]
    return {"name": kind, "description": description, "parameters": parameters}


def name_of(tool: Mapping[str, Any]) -> object:
    """The name by which a chat knows a tool that its client runs."""
    kind = tool.get("type")
    return kind if isinstance(kind, str) and kind in _FUNCTIONS else tool.get("name")


def kinds_of(tools: object) -> dict[str, str]:
    """Names of functions that are such tools -> which kind."""
    kinds: dict[str, str] = {}
    for tool in tools if isinstance(tools, list) else ():
        kind = tool.get("type") if isinstance(tool, dict) else None
        name = None if kind is None else name_of(tool)
        if isinstance(name, str) and isinstance(kind, str) and (kind == CUSTOM or kind in _FUNCTIONS):
            kinds[name] = kind
    return kinds


def function_called(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The name and arguments of an earlier call.

    Raises:
        RequestRefused: It is malformed.
    """
    kind = CALLS[item["type"]]
    arguments: dict[str, Any]
    if kind == CUSTOM:
        name, arguments = text_at(item, "name", where), {"input": text_at(item, "input", where)}
    else:
        name = kind
        arguments = object_at(item, "operation" if kind == "apply_patch" else "action", where)
        if kind == "local_shell":
            arguments = {field: value for field, value in arguments.items() if field != "type"}
    stated = {field: value for field, value in arguments.items() if value is not None}
    return {"name": name, "arguments": orjson.dumps(stated).decode()}


def call_id_of(item: Mapping[str, Any], where: str) -> str:
    """The id of a call, also where a client names its item alone."""
    return text_at(item, "call_id" if item.get("call_id") is not None else "id", where)


def output_of(item: Mapping[str, Any]) -> object:
    """What a call gave: a string, or parts of content."""
    output = item.get("output")
    if item["type"] == "shell_call_output" and not isinstance(output, str):
        return orjson.dumps(output).decode()
    if item["type"] == "apply_patch_call_output":
        return output if isinstance(output, str) and output else str(item.get("status") or "")
    return output


def call_fields(kind: str, name: str, arguments: str) -> dict[str, Any]:
    """What a call of the expert's says in the tool's own shape; models are not always exact about theirs."""
    try:
        read = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        read = None
    stated: dict[str, Any] = read if isinstance(read, dict) else {}
    if kind == CUSTOM:
        text = stated.get("input")
        return {"type": "custom_tool_call", "name": name, "input": text if isinstance(text, str) else arguments}
    if kind == "apply_patch":
        operation = {"type": _text(stated, "type") or "update_file", "path": _text(stated, "path")}
        if operation["type"] != "delete_file":
            operation["diff"] = _text(stated, "diff")
        return {"type": "apply_patch_call", "operation": operation}
    asked = stated.get("commands", stated.get("command"))
    commands = [one for one in asked if isinstance(one, str)] if isinstance(asked, list) else []
    if kind == "shell":
        commands = [asked] if isinstance(asked, str) else commands
        limits = {field: _whole(stated, field) for field in ("timeout_ms", "max_output_length")}
        return {"type": "shell_call", "action": {"commands": commands, **limits}}
    action: dict[str, Any] = {
        "type": "exec",
        "command": ["bash", "-lc", asked] if isinstance(asked, str) else commands,
        "env": {},
    }
    if directory := _text(stated, "working_directory"):
        action["working_directory"] = directory
    if timeout_ms := _whole(stated, "timeout_ms"):
        action["timeout_ms"] = timeout_ms
    return {"type": "local_shell_call", "action": action}


def _text(stated: Mapping[str, Any], name: str) -> str:
    value = stated.get(name)
    return value if isinstance(value, str) else ""


def _whole(stated: Mapping[str, Any], name: str) -> int | None:
    value = stated.get(name)
    return value if type(value) is int else None
