"""`ChatPointsman` beside LangChain's own OpenAI client on one gateway: what the second gives, the first does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypedDict

import orjson
import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langchain_openai.chat_models.base import BaseChatOpenAI
from pydantic import BaseModel

from pointsman.gateway.clients.langchain import ChatPointsman
from tests.e2e.running import running
from tests.e2e.upstream import EVENTS, Says, Upstream, upstream

ABLE = ["chat", "streaming", "tools", "vision", "json_schema", "logprobs", "audio", "files"]
#: What only one of them says, or what differs from run to run.
_OWN = {"expert", "decision_id", "reason", "cache", "overhead_ms", "category", "model_provider"}
_SCORED = {"content": [{"token": "hi", "logprob": -0.5, "bytes": [104, 105], "top_logprobs": []}]}
_USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 3,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 1, "audio_tokens": 0},
}
_CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Rome"}'}}
_FILLED = {"id": "c1", "type": "function", "function": {"name": "Place", "arguments": '{"place": "Rome"}'}}
_CUT = {"id": "c2", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Ro'}}


class Place(BaseModel):
    """A place."""

    place: str


class Typed(TypedDict):
    """A place."""

    place: str


@tool
def weather(place: str) -> str:
    """The weather at a place."""
    return "sunny"


def whole(*messages: dict[str, Any], finish: str = "stop") -> Says:
    """An answer with as many choices."""
    choices = [
        {"index": index, "message": {"role": "assistant", **message}, "logprobs": _SCORED, "finish_reason": finish}
        for index, message in enumerate(messages)
    ]
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "inner"}
    return Says(
        orjson.dumps({**head, "choices": choices, "usage": _USAGE, "system_fingerprint": "fp", "service_tier": "x"})
    )


def stream(*deltas: dict[str, Any]) -> Says:
    """The same in pieces."""
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "inner",
        "system_fingerprint": "fp",
    }
    events = [
        {**head, "choices": [{"index": 0, "delta": delta, "logprobs": _SCORED, "finish_reason": None}]}
        for delta in deltas
    ]
    events.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    events.append({**head, "choices": [], "usage": _USAGE})
    return Says(b"".join(b"data: %b\n\n" % orjson.dumps(event) for event in events) + b"data: [DONE]\n\n", EVENTS)


JSON = whole({"content": '{"place": "Rome"}'})
TEXT = whole({"content": "hi"})
CALLS = whole({"content": None, "tool_calls": [_CALL, _CUT]}, finish="tool_calls")
FUNCTION = {"name": "Where", "description": "d", "parameters": Place.model_json_schema()}
SHAPE = {"name": "Where", "strict": True, "schema": {**Place.model_json_schema(), "additionalProperties": False}}


@dataclass
class Case:
    """What is asked, and of an expert that says what."""

    ask: Callable[[BaseChatOpenAI], Awaitable[Any]]
    says: Says = field(default_factory=lambda: TEXT)
    fields: dict[str, Any] | None = None


async def joined(pieces: AsyncIterator[Any]) -> Any:
    """All chunks as one."""
    whole = None
    async for piece in pieces:
        whole = piece if whole is None else whole + piece
    return whole


async def several(model: BaseChatOpenAI) -> Any:
    """Two answers at once, and what goes with each."""
    result = await model.agenerate([[HumanMessage("hi")]], n=2)
    (generations,) = result.generations
    told = {name: value for name, value in (result.llm_output or {}).items() if name != "model_provider"}
    return [(one.text, _shared(one.generation_info or {})) for one in generations], told


class Heard(AsyncCallbackHandler):
    """Tokens with their log-probabilities, as callbacks hear of them."""

    def __init__(self) -> None:
        self.tokens: list[tuple[str, Any]] = []

    async def on_llm_new_token(self, token: str, *, chunk: Any = None, **more: Any) -> None:
        """One more."""
        if token:
            self.tokens.append((token, (chunk.generation_info or {}).get("logprobs")))


async def heard(model: BaseChatOpenAI) -> Any:
    """What a callback hears of a stream."""
    handler = Heard()
    await joined(model.astream("hi", config={"callbacks": [handler]}))
    return handler.tokens


_TURNS = [
    SystemMessage("s"),
    HumanMessage("weather?", name="bob"),
    AIMessage("", tool_calls=[{"name": "weather", "args": {"place": "Rome"}, "id": "c1", "type": "tool_call"}]),
    ToolMessage("sunny", tool_call_id="c1"),
    AIMessage(
        "",
        invalid_tool_calls=[{"name": "weather", "args": "{x", "id": "c2", "error": "e", "type": "invalid_tool_call"}],
    ),
    ToolMessage("no", tool_call_id="c2"),
    HumanMessage(
        [
            {"type": "text", "text": "and"},
            {"type": "image", "base64": "R0lGODlh", "mime_type": "image/gif"},
            {"type": "audio", "base64": "AA==", "mime_type": "audio/wav"},
            {"type": "file", "base64": "AA==", "mime_type": "application/pdf", "filename": "a.pdf"},
        ]
    ),
]
_TOLD = {
    "temperature": 0.3, "seed": 3, "top_p": 0.5, "frequency_penalty": 0.1, "presence_penalty": 0.2, "n": 1,
    "logit_bias": {"1": 2}, "logprobs": True, "top_logprobs": 2, "stop": ["zz"], "reasoning_effort": "low",
    "model_kwargs": {"user": "u"}, "extra_body": {"xx": 1},
}  # fmt: skip
CASES = {
    "an answer": Case(lambda model: model.ainvoke("hi")),
    "all that a constructor states": Case(lambda model: model.ainvoke("hi"), fields=_TOLD),
    "turns of every kind": Case(lambda model: model.ainvoke(_TURNS)),
    "a stream": Case(
        lambda model: joined(model.astream("hi")), stream({"role": "assistant", "content": "h"}, {"content": "i"})
    ),
    "what callbacks hear": Case(heard, stream({"role": "assistant", "content": "h"}, {"content": "i"})),
    "two answers": Case(several, whole({"content": "one"}, {"content": "two"})),
    "a batch": Case(lambda model: model.abatch(["hi", "ho"])),
    "stop": Case(lambda model: model.ainvoke("hi", stop=["x"])),
    "calls": Case(lambda model: model.bind_tools([weather]).ainvoke("hi"), CALLS),
    "calls, streamed": Case(
        lambda model: joined(model.bind_tools([weather]).astream("hi")),
        stream({"role": "assistant", "tool_calls": [{"index": 0, **_CALL}, {"index": 1, **_CUT}]}),
    ),
    "a tool that must be called": Case(
        lambda model: model.bind_tools([weather], tool_choice="weather").ainvoke("hi"), CALLS
    ),
    "any tool": Case(lambda model: model.bind_tools([weather], tool_choice="any").ainvoke("hi"), CALLS),
    "one call, strictly": Case(
        lambda model: model.bind_tools([weather], parallel_tool_calls=False, strict=True).ainvoke("hi"), CALLS
    ),
    "tools and a shape": Case(lambda model: model.bind_tools([weather], response_format=Place).ainvoke("hi"), JSON),
    "a class": Case(lambda model: model.with_structured_output(Place).ainvoke("hi"), JSON),
    "a class, strictly": Case(lambda model: model.with_structured_output(Place, strict=True).ainvoke("hi"), JSON),
    "a TypedDict": Case(lambda model: model.with_structured_output(Typed).ainvoke("hi"), JSON),
    "a JSON schema": Case(
        lambda model: model.with_structured_output(Place.model_json_schema(), strict=True).ainvoke("hi"), JSON
    ),
    "a function of OpenAI's": Case(lambda model: model.with_structured_output(FUNCTION).ainvoke("hi"), JSON),
    "a shape of OpenAI's": Case(lambda model: model.with_structured_output(SHAPE).ainvoke("hi"), JSON),
    "a function": Case(
        lambda model: model.with_structured_output(Place, method="function_calling", strict=True).ainvoke("hi"),
        whole({"content": None, "tool_calls": [_FILLED]}, finish="tool_calls"),
    ),
    "any JSON": Case(lambda model: model.with_structured_output(None, method="json_mode").ainvoke("hi"), JSON),
    "any JSON, read as a class": Case(
        lambda model: model.with_structured_output(Place, method="json_mode").ainvoke("hi"), JSON
    ),
    "a class that is bound": Case(lambda model: model.bind(response_format=Place).ainvoke("hi"), JSON),
    "beside the body": Case(
        lambda model: model.ainvoke(
            "hi", extra_headers={"x-own": "1"}, extra_query={"q": "1"}, timeout=30, extra_body={"xx": 1}
        )
    ),
    "headers": Case(lambda model: _heads(model), fields={"include_response_headers": True}),
}


async def _heads(model: BaseChatOpenAI) -> Any:
    told = (await model.ainvoke("hi")).response_metadata["headers"]
    return told["x-pointsman-expert"], told["content-type"]


@pytest.mark.parametrize("name", CASES)
async def test_both_ask_and_answer_the_same(name: str) -> None:
    case = CASES[name]
    async with (
        upstream(chat__completions=case.says) as server,
        running({"pool": {"experts": [server.expert("outer", *ABLE)]}}) as gateway,
    ):
        said = []
        for kind in (ChatOpenAI, ChatPointsman):
            fields = {"stream_usage": True} if kind is ChatOpenAI else {}
            model = kind(base_url=f"{gateway.url}/v1", api_key="none", model="outer", **fields, **(case.fields or {}))
            server.asked.clear()
            said.append((_plain(await case.ask(model)), _bodies(server)))
    theirs, ours = said
    assert ours[1] == theirs[1]
    assert ours[0] == theirs[0]


async def test_a_stream_of_a_bound_class_ends_with_its_instance() -> None:
    pieces = stream({"role": "assistant", "content": '{"place"'}, {"content": ': "Rome"}'})
    async with (
        upstream(chat__completions=pieces) as server,
        running({"pool": {"experts": [server.expert("outer", *ABLE)]}}) as gateway,
    ):
        model = ChatPointsman(base_url=f"{gateway.url}/v1", model="outer")
        answer: AIMessageChunk = await joined(model.bind(response_format=Place).astream("hi"))
        assert answer.additional_kwargs["parsed"] == Place(place="Rome")
        assert answer.text == '{"place": "Rome"}'


def _plain(value: Any) -> Any:
    """What is said, without what each says in its own words, and without what is not there."""
    if isinstance(value, BaseMessage):
        fields = value.model_dump(exclude={"id", "response_metadata"})
        return _stated({**fields, "told": _shared(value.response_metadata)})
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return _stated(value)


def _shared(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in _OWN}


def _stated(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _stated(one) for name, one in value.items() if one is not None}
    return [_stated(one) for one in value] if isinstance(value, list | tuple) else value


def _bodies(server: Upstream) -> list[Any]:
    # Batches come in any order; a stream's usage is asked for by both.
    return sorted((asked.json for asked in server.asked), key=orjson.dumps)
