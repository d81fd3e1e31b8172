"""A chat completion as a response of OpenAI's Responses API, whole or as its events.

The response says whether the gateway keeps it (`store`), so that a later request can refer to its id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import orjson

from pointsman.gateway.errors import RequestRefused
from pointsman.gateway.wire.chat_answer import Tokens, refused_in, said_in, thought_in
from pointsman.gateway.wire.chat_calls import CallChunk, ChatCall
from pointsman.gateway.wire.chat_stream import MOST_BYTES, ChatStream
from pointsman.gateway.wire.lenient_json import mended
from pointsman.gateway.wire.responses.client_tools import kinds_of
from pointsman.gateway.wire.responses.items import CallItem, ClientCallItem, Item, TextItem, ThoughtItem
from pointsman.gateway.wire.responses.repeated_fields import repeated

#: Of what is kept of an answer, an item counts so many bytes beside its text.
_ITEM_BYTES: Final = 1024
_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
#: What some servers write for no arguments.
_NOTHING: Final = "null"

_ItemT = TypeVar("_ItemT", bound=Item)


class ResponsesAnswer(ChatStream):
    """Puts one answer of an expert that speaks chat completions into the client's shape.

    Args:
        answer_id: For the ids in it.
        model: Who answers.
        prompt_tokens: Estimated; they stand where the expert does not count.
        asked: The client's request.
        now_s: Unix time; it stands where the expert does not say when it answered.
        most_bytes: How much of a stream is translated: its text stands in events of its end again, and is kept.
    """

    def __init__(
        self,
        *,
        answer_id: str,
        model: str,
        prompt_tokens: int,
        asked: Mapping[str, Any],
        now_s: int,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        super().__init__(f"call_{answer_id}", prompt_tokens, most_bytes)
        self._id = answer_id
        self._model = model
        self._asked = asked
        self._kinds = kinds_of(asked.get("tools"))
        self._repeated = repeated(asked)
        self._now_s = now_s
        self._items: list[Item] = []
        self._of_calls: dict[int, CallItem | ClientCallItem] = {}
        self._last_call: ChatCall | None = None
        self._sequence = -1

    def whole(self, body: bytes) -> bytes | None:
        """The response; None where the body is no chat completion."""
        found = self._whole_message(body)
        if found is None:
            return None
        _, message = found
        if thought := thought_in(message):
            self._items.append(ThoughtItem(self._item_id("rs"), mended(thought)))
        if said := said_in(message):
            self._items.append(TextItem(self._item_id("msg"), mended(said)))
        if refusal := refused_in(message):
            self._items.append(TextItem(self._item_id("msg"), mended(refusal), refusal=True))
        for piece in self._whole_calls(message):
            self._last_call = piece.call
            piece.call.arguments.feed(piece.text)
            arguments = "{}" if _nothing(piece.text) else piece.text
            self._items.append(self._item_of(piece.call, arguments))
        status = self._status()
        for item in self._items:
            item.ended = "completed"
        if self._items:
            self._items[-1].ended = status
        return orjson.dumps(self._response(status))

    def broken(self, refusal: RequestRefused) -> bytes:
        """The event in place of a clean end."""
        out: list[bytes] = []
        fields = {"code": refusal.code.value, "message": refusal.message, "param": refusal.param}
        self._emit(out, "error", fields)
        return out[0]

    def _item_id(self, prefix: str) -> str:
        return f"{prefix}_{self._id}_{len(self._items)}"

    def _item_of(self, call: ChatCall, arguments: str = "") -> CallItem | ClientCallItem:
        if kind := self._kinds.get(call.name):
            return ClientCallItem(kind, self._item_id("ctc"), call.id, call.name, arguments)
        return CallItem(self._item_id("fc"), call.id, call.name, arguments)

    def _status(self) -> str:
        return "incomplete" if self._why(self._last_call) in _INCOMPLETE else "completed"

    def _response(self, status: str) -> dict[str, Any]:
        over = status != "in_progress"
        reason = _INCOMPLETE[self._why(self._last_call)] if status == "incomplete" else None
        created_s = self._created_s or self._now_s
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": created_s,
            "completed_at": max(created_s, self._now_s) if status == "completed" else None,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None if reason is None else {"reason": reason},
            "model": self._model,
            "output": [item.document(item.ended) for item in self._items],
            "previous_response_id": self._asked.get("previous_response_id"),
            "store": self._asked.get("store") is True,
            **self._repeated,
            "usage": _usage(*self._account) if over else None,
        }

    def _emit(self, out: list[bytes], kind: str, fields: Mapping[str, Any]) -> None:
        self._sequence += 1
        data = orjson.dumps({"type": kind, "sequence_number": self._sequence, **fields})
        out.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), data))

    def _quiet(self, out: list[bytes]) -> None:
        out.append(b": keep-alive\n\n")

    def _failed(self, message: str, out: list[bytes]) -> None:
        self._emit(out, "error", {"code": "server_error", "message": message, "param": None})

    def _begin(self, out: list[bytes]) -> None:
        for kind in ("response.created", "response.in_progress"):
            self._emit(out, kind, {"response": self._response("in_progress")})

    def _say(self, kind: str, text: str, out: list[bytes]) -> None:
        if kind == "thought":
            item: Item = self._current(ThoughtItem) or self._open(ThoughtItem(self._item_id("rs")), out)
        else:
            refusal, current = kind == "refusal", self._current(TextItem)
            if current is None or current.refusal != refusal:
                current = TextItem(self._item_id("msg"), refusal=refusal)
                self._open(current, out)
            item = current
        self._grow(item, text, out)

    def _call(self, piece: CallChunk, out: list[bytes]) -> None:
        call = piece.call
        item = self._of_calls.get(id(call))
        if item is not None and item.ended:
            # What comes after the end of its object is no part of it.
            return
        call.arguments.feed(piece.text)
        if item is None:
            call.kept += piece.text
            if call.name and not _NOTHING.startswith(call.kept.strip()):
                # Calls stand in the order in which they began.
                for earlier in self._reader.calls[: self._reader.calls.index(call) + 1]:
                    self._open_call(earlier, out)
        elif piece.text:
            self._grow(item, piece.text, out)

    def _open_call(self, call: ChatCall, out: list[bytes]) -> None:
        if id(call) in self._of_calls or not (call.id or call.name or call.kept):
            return
        self._settle(call)
        self._last_call = call
        item = self._of_calls[id(call)] = self._item_of(call)
        self._open(item, out)
        kept, call.kept = call.kept, ""
        if not _nothing(kept):
            self._grow(item, kept, out)

    def _current(self, kind: type[_ItemT]) -> _ItemT | None:
        """The last item, if it is of that kind and can still grow."""
        last = self._items[-1] if self._items else None
        return last if isinstance(last, kind) and not last.ended else None

    def _open(self, item: _ItemT, out: list[bytes]) -> _ItemT:
        """Begin an item; those end that cannot grow any more."""
        going_on = {id(self._of_calls[id(call)]) for call in self._unfinished_calls()}
        self._close([one for one in self._items if id(one) not in going_on], out)
        self._count(_ITEM_BYTES + len(item.id))
        item.index = len(self._items)
        self._items.append(item)
        for kind, fields in item.beginning():
            self._emit(out, kind, {"output_index": item.index, **fields})
        return item

    def _unfinished_calls(self) -> list[ChatCall]:
        return [call for call in self._reader.calls if id(call) in self._of_calls and not call.arguments.complete]

    def _grow(self, item: Item, text: str, out: list[bytes]) -> None:
        if (event := item.grown(text)) is not None:
            self._emit(out, event[0], {"output_index": item.index, **event[1]})

    def _close(self, items: list[Item], out: list[bytes], status: str = "completed") -> None:
        for item in items:
            if item.ended:
                continue
            if isinstance(item, CallItem) and item.unwritten:
                self._grow(item, "{}", out)
            item.ended = status
            for kind, fields in item.ending(status):
                self._emit(out, kind, {"output_index": item.index, **fields})

    def _finish(self, out: list[bytes]) -> None:
        for call in self._reader.calls:
            self._open_call(call, out)
        status = self._status()
        self._close(self._items, out, status)
        self._emit(out, f"response.{status}", {"response": self._response(status)})


def _nothing(arguments: str) -> bool:
    """Whether a call has no arguments, however its server says so."""
    return arguments.strip() in ("", _NOTHING)


def _usage(prompt: int, completion: int, tokens: Tokens) -> dict[str, Any]:
    """OpenAI's own readers take nothing but whole numbers here: 0 where the expert does not say."""
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": tokens.cached or 0, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": tokens.thinking or 0},
        "total_tokens": prompt + completion,
    }
