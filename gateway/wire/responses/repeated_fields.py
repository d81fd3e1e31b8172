"""Of a request, what its response repeats: every field that OpenAI's response has, be it stated or not.

https://www.openresponses.org/specification
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_Types = type | tuple[type, ...]
_NUMBER: Final = (int, float)
#: Field -> what it may be, and what stands there where the request says nothing of the kind.
_REPEATED: Final[Mapping[str, tuple[_Types, Any]]] = {
    "instructions": ((str, list), None),
    "max_output_tokens": (int, None),
    "max_tool_calls": (int, None),
    "metadata": (dict, {}),
    "parallel_tool_calls": (bool, True),
    "presence_penalty": (_NUMBER, 0.0),
    "frequency_penalty": (_NUMBER, 0.0),
    "prompt_cache_key": (str, None),
    "safety_identifier": (str, None),
    "service_tier": (str, "default"),
    "temperature": (_NUMBER, 1.0),
    "tool_choice": ((str, dict), "auto"),
    "top_logprobs": (int, 0),
    "top_p": (_NUMBER, 1.0),
    "truncation": (str, "disabled"),
    "user": (str, None),
}
#: What a function has beside its type and name.
_OF_FUNCTIONS: Final = ("description", "parameters", "strict")


def repeated(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a response that say what was asked."""
    fields = {name: _or(asked.get(name), kinds, unsaid) for name, (kinds, unsaid) in _REPEATED.items()}
    if fields["service_tier"] == "auto":
        fields["service_tier"] = "default"
    text, reasoning, tools = asked.get("text"), asked.get("reasoning"), asked.get("tools")
    fields["text"] = {"format": {"type": "text"}} | _stated(text)
    fields["reasoning"] = {"effort": None, "summary": None} | _stated(reasoning)
    fields["tools"] = [_tool(one) for one in tools if isinstance(one, dict)] if isinstance(tools, list) else []
    return fields


def _or(value: Any, kinds: _Types, unsaid: Any) -> Any:
    fits = isinstance(value, kinds) and (kinds is bool or not isinstance(value, bool))
    return value if fits else unsaid


def _stated(value: object) -> dict[str, Any]:
    return {name: one for name, one in value.items() if one is not None} if isinstance(value, dict) else {}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    return {**dict.fromkeys(_OF_FUNCTIONS), **tool} if tool.get("type") == "function" else tool
