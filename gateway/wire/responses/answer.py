"""A chat completion as a response of OpenAI's Responses API, whole or as its events.

The gateway stores no responses: the response says `store: false`, and no later request can refer to its id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from pointsman.gateway.errors import RequestRefused
from pointsman.gateway.wire.chat_answer import (
    Tokens,
    calls_in,
    first_choice,
    index_of,
    object_in,
    part_of,
    reason_in,
    said_in,
    thought_in,
    tokens_of,
)
from pointsman.gateway.wire.chat_stream import MOST_BYTES, ChatStream
from pointsman.gateway.wire.responses.client_tools import kinds_of
from pointsman.gateway.wire.responses.items import CallItem, ClientCallItem, Item, TextItem, ThoughtItem

#: Of the request, what the response repeats, and what stands there where the request does not say.
_REPEATED: Final[Mapping[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
#: Of what is kept of an answer, an item counts so many bytes beside its text.
_ITEM_BYTES: Final = 1024
_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponsesAnswer(ChatStream):
    """Puts one answer of an expert that speaks chat completions into the client's shape.

    Args:
        answer_id: For the ids in it.
        model: Who answers.
        asked: The client's request.
        most_bytes: How much of a stream is translated: its text stands in events of its end again, and is kept.
    """

    def __init__(self, *, answer_id: str, model: str, asked: Mapping[str, Any], most_bytes: int = MOST_BYTES) -> None:
        super().__init__(most_bytes)
        self._id = answer_id
        self._model = model
        self._asked = asked
        self._kinds = kinds_of(asked.get("tools"))
        self._created_s: int | None = None
        self._items: list[Item] = []
        self._open: list[Item] = []
        self._calls: dict[int, CallItem | ClientCallItem] = {}
        self._sequence = -1
        self._reason: str | None = None
        self._tokens: Tokens | None = None

    def whole(self, body: bytes) -> bytes | None:
        """The response; None where the body is no chat completion."""
        document = object_in(body)
        choice = None if document is None else first_choice(document)
        if document is None or choice is None:
            return None
        self._note(document, choice)
        message = part_of(choice, "message")
        if thought := thought_in(message):
            self._items.append(ThoughtItem(self._item_id("rs"), thought))
        said, refusal = said_in(message), said_in(message, "refusal")
        if said or refusal:
            self._items.append(TextItem(self._item_id("msg"), said or refusal, refusal=not said))
        for call in calls_in(message):
            self._items.append(self._call(call))
        return orjson.dumps(self._response(self._status()))

    def broken(self, refusal: RequestRefused) -> bytes:
        """The event in place of a clean end."""
        out: list[bytes] = []
        fields = {"code": refusal.code.value, "message": refusal.message, "param": refusal.param}
        self._emit(out, "error", fields)
        return out[0]

    def _item_id(self, prefix: str) -> str:
        return f"{prefix}_{self._id}_{len(self._items)}"

    def _call(self, call: Mapping[str, Any]) -> CallItem | ClientCallItem:
        function = call["function"]
        name, arguments = said_in(function, "name"), said_in(function, "arguments")
        if kind := self._kinds.get(name):
            return ClientCallItem(kind, self._item_id("ctc"), said_in(call, "id"), name, arguments)
        return CallItem(self._item_id("fc"), said_in(call, "id"), name, arguments)

    def _note(self, document: Mapping[str, Any], choice: Mapping[str, Any] | None) -> None:
        """What every document of an answer says of the whole."""
        created_s = document.get("created")
        if self._created_s is None and isinstance(created_s, int):
            self._created_s = created_s
        self._tokens = tokens_of(document) or self._tokens
        self._reason = reason_in(choice) or self._reason

    def _status(self) -> str:
        return "incomplete" if self._reason in _INCOMPLETE else "completed"

    def _response(self, status: str) -> dict[str, Any]:
        stated = {name: self._asked.get(name) for name in _REPEATED}
        repeated = {name: _REPEATED[name] if value is None else value for name, value in stated.items()}
        reason = _INCOMPLETE.get(str(self._reason)) if status == "incomplete" else None
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": self._created_s,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None if reason is None else {"reason": reason},
            "model": self._model,
            "output": [item.document(_item_status(status)) for item in self._items],
            "previous_response_id": None,
            "store": False,
            **repeated,
            "usage": None if self._tokens is None or status == "in_progress" else _usage(self._tokens),
        }

    def _emit(self, out: list[bytes], kind: str, fields: Mapping[str, Any]) -> None:
        self._sequence += 1
        data = orjson.dumps({"type": kind, "sequence_number": self._sequence, **fields})
        out.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), data))

    def _failed(self, message: str, out: list[bytes]) -> None:
        self._emit(out, "error", {"code": "server_error", "message": message, "param": None})

    def _chunk(
        self, document: Mapping[str, Any], choice: Mapping[str, Any] | None, delta: Mapping[str, Any], out: list[bytes]
    ) -> None:
        self._note(document, choice)
        if self._sequence < 0:
            for kind in ("response.created", "response.in_progress"):
                self._emit(out, kind, {"response": self._response("in_progress")})
        if thought := thought_in(delta):
            item = self._current(ThoughtItem, out) or self._begin(ThoughtItem(self._item_id("rs")), out)
            self._grow(item, thought, out)
        said, refusal = said_in(delta), said_in(delta, "refusal")
        if said or refusal:
            text = self._current(TextItem, out)
            if text is None:
                text = self._begin(TextItem(self._item_id("msg"), refusal=not said), out)
            self._grow(text, said or refusal, out)
        for call in calls_in(delta):
            self._call_piece(call, out)

    def _call_piece(self, piece: Mapping[str, Any], out: list[bytes]) -> None:
        index = index_of(piece)
        call = self._calls.get(index)
        if call is None:
            self._close(out)
            call = self._calls[index] = self._call({**piece, "function": {**piece["function"], "arguments": ""}})
            self._begin(call, out)
        if arguments := said_in(piece["function"], "arguments"):
            self._grow(call, arguments, out)

    def _current(self, kind: type[Item], out: list[bytes]) -> Item | None:
        """The item that is open, if it is of that kind; any other is closed."""
        last = self._items[-1] if self._items else None
        if self._open and self._open[-1] is last and isinstance(last, kind):
            return last
        self._close(out)
        return None

    def _begin(self, item: Item, out: list[bytes]) -> Item:
        self._count(_ITEM_BYTES + len(item.id))
        item.index = len(self._items)
        self._items.append(item)
        self._open.append(item)
        for kind, fields in item.beginning():
            self._emit(out, kind, {"output_index": item.index, **fields})
        return item

    def _grow(self, item: Item, text: str, out: list[bytes]) -> None:
        if (event := item.grown(text)) is not None:
            self._emit(out, event[0], {"output_index": item.index, **event[1]})

    def _close(self, out: list[bytes], status: str = "completed") -> None:
        ending, self._open = self._open, []
        for item in ending:
            for kind, fields in item.ending(status):
                self._emit(out, kind, {"output_index": item.index, **fields})

    def _end(self, out: list[bytes]) -> None:
        if self.complete or self._reason is None:
            return
        self.complete = True
        status = self._status()
        self._close(out, _item_status(status))
        self._emit(out, f"response.{status}", {"response": self._response(status)})


def _item_status(status: str) -> str:
    return "incomplete" if status == "incomplete" else "completed"


def _usage(tokens: Tokens) -> dict[str, Any]:
    """What the expert does not say is null, never 0."""
    return {
        "input_tokens": tokens.prompt,
        "input_tokens_details": {"cached_tokens": tokens.cached},
        "output_tokens": tokens.completion,
        "output_tokens_details": {"reasoning_tokens": tokens.thinking},
        "total_tokens": tokens.prompt + tokens.completion,
    }
