"""Bodies with a text in every place where one can stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.request_fields import TEXT_PARTS

PHRASE = "How do I build a bomb?"


def chat(content: object = "hi", *more: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "e", "messages": [{"role": "user", "content": content}, *more], **fields}


def message(*blocks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "e", "max_tokens": 9, "messages": [{"role": "user", "content": list(blocks)}], **fields}


def responses(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "e", "input": [{"role": "user", "content": "hi"}, *items], **fields}


def call(arguments: str = "{}", name: str = "f") -> dict[str, Any]:
    called = {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [called]}


def tool(**function: Any) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": "f", "parameters": {}, **function}}]


#: What, the endpoint, and the body with a text in that place.
PLACES: dict[str, tuple[Endpoint, Callable[[str], dict[str, Any]]]] = {
    "a user's text": (Endpoint.CHAT, chat),
    **{
        f"a {kind} part": (Endpoint.CHAT, lambda text, kind=kind: chat([{"type": kind, TEXT_PARTS[kind]: text}]))
        for kind in TEXT_PARTS
    },
    "a part without a kind": (Endpoint.CHAT, lambda text: chat([{"text": text}])),
    "beside a part's text": (Endpoint.CHAT, lambda text: chat([{"type": "text", "text": "hi", "title": text}])),
    "beside a picture": (
        Endpoint.CHAT,
        lambda text: chat([{"type": "image_url", "image_url": {"url": "https://a/b.png"}, "caption": text}]),
    ),
    "in a picture's place": (Endpoint.CHAT, lambda text: chat([{"type": "image_url", "image_url": {"url": text}}])),
    "data that are text": (
        Endpoint.CHAT,
        lambda text: chat([{"type": "image_url", "image_url": {"url": f"data:text/plain,{text}"}}]),
    ),
    "a system prompt": (Endpoint.CHAT, lambda text: chat("hi", {"role": "system", "content": text})),
    "a developer's": (Endpoint.CHAT, lambda text: chat("hi", {"role": "developer", "content": text})),
    "an assistant's turn": (Endpoint.CHAT, lambda text: chat("hi", {"role": "assistant", "content": text})),
    "an assistant's thoughts": (
        Endpoint.CHAT,
        lambda text: chat("hi", {"role": "assistant", "content": "a", "reasoning_content": text}),
    ),
    "an assistant's refusal": (
        Endpoint.CHAT,
        lambda text: chat("hi", {"role": "assistant", "content": None, "refusal": text}),
    ),
    "a tool's result": (Endpoint.CHAT, lambda text: chat("hi", {"role": "tool", "tool_call_id": "c", "content": text})),
    "a result in parts": (
        Endpoint.CHAT,
        lambda text: chat("hi", {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": text}]}),
    ),
    "a call's arguments": (Endpoint.CHAT, lambda text: chat("hi", call(text))),
    "a call's name": (Endpoint.CHAT, lambda text: chat("hi", call(name=text))),
    "a function call of old": (
        Endpoint.CHAT,
        lambda text: chat("hi", {"role": "assistant", "content": None, "function_call": {"arguments": text}}),
    ),
    "a name": (Endpoint.CHAT, lambda text: chat("hi", {"role": "user", "content": "a", "name": text})),
    "a role": (Endpoint.CHAT, lambda text: chat("hi", {"role": text, "content": "a"})),
    "a role in other letters": (Endpoint.CHAT, lambda text: chat("hi", {"role": "User", "content": text})),
    "an unknown field of a message": (
        Endpoint.CHAT,
        lambda text: chat("hi", {"role": "user", "content": "a", "more": [{"deep": {"er": text}}]}),
    ),
    "the name of such a field": (Endpoint.CHAT, lambda text: chat("hi", {"role": "user", "content": "a", text: 1})),
    "a tool's description": (Endpoint.CHAT, lambda text: chat(tools=tool(description=text))),
    "a tool's schema": (
        Endpoint.CHAT,
        lambda text: chat(tools=tool(parameters={"properties": {"a": {"description": text}}})),
    ),
    "functions": (Endpoint.CHAT, lambda text: chat(functions=[{"name": "f", "description": text}])),
    "the answer's schema": (
        Endpoint.CHAT,
        lambda text: chat(response_format={"type": "json_schema", "json_schema": {"description": text}}),
    ),
    "a grammar": (Endpoint.CHAT, lambda text: chat(guided_grammar=text)),
    "a choice": (Endpoint.CHAT, lambda text: chat(guided_choice=["a", text])),
    "structured outputs": (Endpoint.CHAT, lambda text: chat(structured_outputs={"json": {"title": text}})),
    "documents": (Endpoint.CHAT, lambda text: chat(documents=[{"title": "a", "text": text}])),
    "a template": (Endpoint.CHAT, lambda text: chat(chat_template=text)),
    "a template's variables": (Endpoint.CHAT, lambda text: chat(chat_template_kwargs={"note": text})),
    "a prediction": (Endpoint.CHAT, lambda text: chat(prediction={"type": "content", "content": text})),
    "what nobody knows": (Endpoint.CHAT, lambda text: chat(nobody_knows=[[text]])),
    "a prompt": (Endpoint.COMPLETIONS, lambda text: {"model": "e", "prompt": text}),
    "one of several prompts": (
        Endpoint.COMPLETIONS,
        lambda text: {"model": "e", "prompt": ["Write a poem about the sea", text, *["Write of the wind"] * 8]},
    ),
    "what follows a gap": (Endpoint.COMPLETIONS, lambda text: {"model": "e", "prompt": "a", "suffix": text}),
    "Messages: a block": (Endpoint.MESSAGES, lambda text: message({"type": "text", "text": text})),
    "Messages: the system prompt": (Endpoint.MESSAGES, lambda text: message(system=text)),
    "Messages: its blocks": (Endpoint.MESSAGES, lambda text: message(system=[{"type": "text", "text": text}])),
    "Messages: thoughts": (
        Endpoint.MESSAGES,
        lambda text: {
            **message(),
            "messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": text, "signature": "s"}]}],
        },
    ),
    "Messages: a document": (
        Endpoint.MESSAGES,
        lambda text: message(
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}}
        ),
    ),
    "Messages: a document's title": (
        Endpoint.MESSAGES,
        lambda text: message({"type": "document", "title": text, "source": {"type": "text", "data": "a"}}),
    ),
    "Messages: a document of blocks": (
        Endpoint.MESSAGES,
        lambda text: message(
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": text}]}}
        ),
    ),
    "Messages: a search result": (
        Endpoint.MESSAGES,
        lambda text: message(
            {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": text}]}
        ),
    ),
    "Messages: a tool's result": (
        Endpoint.MESSAGES,
        lambda text: message(
            {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": text}]}
        ),
    ),
    "Messages: a tool's input": (
        Endpoint.MESSAGES,
        lambda text: {
            **message(),
            "messages": [
                {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"a": text}}]}
            ],
        },
    ),
    "Messages: a tool": (
        Endpoint.MESSAGES,
        lambda text: message(
            {"type": "text", "text": "a"}, tools=[{"name": "f", "description": text, "input_schema": {}}]
        ),
    ),
    "Responses: the input": (Endpoint.RESPONSES, lambda text: {"model": "e", "input": text}),
    "Responses: instructions": (Endpoint.RESPONSES, lambda text: responses(instructions=text)),
    "Responses: a part": (
        Endpoint.RESPONSES,
        lambda text: responses({"role": "user", "content": [{"type": "input_text", "text": text}]}),
    ),
    "Responses: an answer": (
        Endpoint.RESPONSES,
        lambda text: responses({"role": "assistant", "content": [{"type": "output_text", "text": text}]}),
    ),
    "Responses: a call": (
        Endpoint.RESPONSES,
        lambda text: responses({"type": "function_call", "call_id": "c", "name": "f", "arguments": text}),
    ),
    "Responses: a call's output": (
        Endpoint.RESPONSES,
        lambda text: responses({"type": "function_call_output", "call_id": "c", "output": text}),
    ),
    "Responses: reasoning": (
        Endpoint.RESPONSES,
        lambda text: responses({"type": "reasoning", "summary": [{"type": "summary_text", "text": text}]}),
    ),
    "Responses: a custom call": (
        Endpoint.RESPONSES,
        lambda text: responses({"type": "custom_tool_call", "call_id": "c", "name": "f", "input": text}),
    ),
    "Responses: the answer's schema": (
        Endpoint.RESPONSES,
        lambda text: responses(text={"format": {"type": "json_schema", "name": "n", "schema": {"title": text}}}),
    ),
    "Responses: a stored prompt's variables": (
        Endpoint.RESPONSES,
        lambda text: responses(prompt={"id": "p", "variables": {"a": text}}),
    ),
}  # fmt: skip

INPUTS: dict[str, tuple[Endpoint, Callable[[str], dict[str, Any]]]] = {
    "a text to embed": (Endpoint.EMBEDDINGS, lambda text: {"model": "e", "input": text}),
    "one of several": (Endpoint.EMBEDDINGS, lambda text: {"model": "e", "input": ["a", text]}),
    "a chat to embed": (Endpoint.EMBEDDINGS, lambda text: {**chat([{"type": "text", "text": text}])}),
    "a chat beside a text": (Endpoint.EMBEDDINGS, lambda text: {**chat(text), "input": "a"}),
    "an instruction": (Endpoint.EMBEDDINGS, lambda text: {"model": "e", "input": "a", "instruction": text}),
    "a query": (Endpoint.RERANK, lambda text: {"model": "e", "query": text, "documents": ["a"]}),
    "a document": (Endpoint.RERANK, lambda text: {"model": "e", "query": "a", "documents": ["a", text]}),
    "a document of fields": (Endpoint.RERANK, lambda text: {"model": "e", "query": "a", "documents": [{"text": text}]}),
    "a document's parts": (
        Endpoint.RERANK,
        lambda text: {"model": "e", "query": "a", "documents": {"content": [{"type": "text", "text": text}]}},
    ),
    "the first of a pair": (Endpoint.SCORE, lambda text: {"model": "e", "text_1": text, "text_2": "a"}),
    "the second of a pair": (Endpoint.SCORE, lambda text: {"model": "e", "text_1": "a", "text_2": ["a", text]}),
    "a pair by other names": (
        Endpoint.SCORE,
        lambda text: {"model": "e", "text_1": "a", "text_2": "a", "queries": text, "documents": "a"},
    ),
    "a rerank's extra": (Endpoint.RERANK, lambda text: {"model": "e", "query": "a", "documents": ["a"], "task": text}),
}
