"""Structured answers of a fake expert: function calls, and JSON of a given schema.

It understands nothing: it puts numbers and words of the prompt wherever the schema has room for them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from pointsman.experts.backends.openai_wire import last_user_text
from pointsman.experts.protocols import Endpoint

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_QUOTED = re.compile(r"['\"`]([A-Za-z_]\w*)['\"`]")
#: Shorter words of a function's name ("get", "run") are in any prompt.
_TELLING_LETTERS = 4
#: Levels of a schema that refers to itself; deeper ones stay empty.
_DEEPEST = 8


def tool_to_call(payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The function that the answer calls (OpenAI's `function` object), None for an answer in words.

    As told by `tool_choice`: the named one, or the first where some call is required. Left free, the first of whose
    name the latest user message has a word, unless the conversation ends with what a function gave.
    """
    tools: list[Mapping[str, Any]] = [
        tool["function"]
        for tool in payload.get("tools") or ()
        if isinstance(tool, Mapping) and isinstance(tool.get("function"), Mapping)
    ]
    choice = payload.get("tool_choice") or "auto"
    if not tools or choice == "none":
        return None
    if isinstance(choice, Mapping):
        name = (choice.get("function") or {}).get("name")
        return next((tool for tool in tools if tool.get("name") == name), None)
    prompt = last_user_text(Endpoint.CHAT, payload).lower()
    wanted = next((tool for tool in tools if _is_spoken_of(str(tool.get("name")), prompt)), None)
    if choice == "required":
        return wanted or tools[0]
    return None if payload["messages"][-1].get("role") == "tool" else wanted


def response_schema(payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The JSON schema of the answer, None for words; for any JSON, an object of the keys that the prompt quotes."""
    shape = payload.get("response_format")
    kind = shape.get("type") if isinstance(shape, Mapping) else None
    if isinstance(shape, Mapping) and kind == "json_schema":
        schema = (shape.get("json_schema") or {}).get("schema")
        return schema if isinstance(schema, Mapping) else {"type": "object"}
    if kind != "json_object":
        return None
    keys = _QUOTED.findall(last_user_text(Endpoint.CHAT, payload)) or ["answer"]
    return {"type": "object", "properties": {key: {"type": "string"} for key in keys}, "required": keys}


def fill(schema: Mapping[str, Any], prompt: str) -> Any:
    """A value that the schema allows, made of the prompt's numbers (in their order) and its text.

    Knows `$ref`, `const`, `enum`, `anyOf`, `oneOf`, `allOf`, `type`, `properties`, `items`, `minItems`, `minimum` and
    `maximum`: what frameworks write for functions and classes. All properties are filled, required or not.
    """
    return _Filler(schema, prompt).value(schema, 0)


def _is_spoken_of(name: str, prompt: str) -> bool:
    words = re.split(r"[_\-.]", name.lower())
    return name.lower() in prompt or any(len(word) >= _TELLING_LETTERS and word in prompt for word in words)


class _Filler:
    def __init__(self, root: Mapping[str, Any], prompt: str) -> None:
        self._root = root
        self._prompt = prompt
        self._numbers = [float(number) for number in _NUMBER.findall(prompt)]

    def value(self, schema: Mapping[str, Any], depth: int) -> Any:
        if depth > _DEEPEST:
            return None
        if "$ref" in schema:
            return self.value(self._referred(str(schema["$ref"])), depth + 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][0]
        for alternatives in ("anyOf", "oneOf", "allOf"):
            if schema.get(alternatives):
                return self.value(schema[alternatives][0], depth + 1)
        kind = schema.get("type", "object" if "properties" in schema else "string")
        return self._of_type(kind[0] if isinstance(kind, list) else kind, schema, depth)

    def _of_type(self, kind: str, schema: Mapping[str, Any], depth: int) -> Any:
        match kind:
            case "object":
                return {name: self.value(one, depth + 1) for name, one in schema.get("properties", {}).items()}
            case "array":
                return [
                    self.value(schema.get("items", {}), depth + 1) for _ in range(max(1, schema.get("minItems", 1)))
                ]
            case "integer":
                return int(self._number(schema))
            case "number":
                return self._number(schema)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return self._prompt

    def _number(self, schema: Mapping[str, Any]) -> float:
        number = self._numbers.pop(0) if self._numbers else 0.0
        least, most = float(schema.get("minimum", -math.inf)), float(schema.get("maximum", math.inf))
        return min(max(number, least), most)

    def _referred(self, pointer: str) -> Mapping[str, Any]:
        found: Any = self._root
        for step in pointer.removeprefix("#").strip("/").split("/"):
            found = found.get(step, {}) if isinstance(found, Mapping) and step else found
        return found if isinstance(found, Mapping) else {}
