"""Reads a translated answer as it goes to the client, and has its turn kept once it is complete."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import orjson

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.translation import TranslatedRequest
from pointsman.gateway.wire.turns import turn_of_messages, turn_of_responses

#: Told the id of a complete answer, and the turn that it ends.
Keep = Callable[[str, bytes], None]

#: Kind of a delta -> the field that has its text.
_SAID_IN: Final = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
_LAST_OF_RESPONSES: Final = (b"event: response.completed\n", b"event: response.incomplete\n")


class TurnRecording:
    """One answer, whole or as its events.

    Args:
        asked: The request that it answers.
        keep: Told the turn before the client can have read the answer's end.
    """

    def __init__(self, asked: TranslatedRequest, keep: Keep) -> None:
        self._asked = asked
        self._keep = keep
        self._id = ""
        self._blocks: list[dict[str, Any]] = []
        self._said: list[str] = []

    def whole(self, body: bytes) -> None:
        """The answer in one piece."""
        answer = orjson.loads(body)
        if self._asked.endpoint is Endpoint.RESPONSES:
            self._keep_response(answer)
        else:
            self._keep_message(answer["id"], answer["content"])

    def events(self, events: bytes) -> bytes:
        """Whole events of the answer; they are given back as they are."""
        if self._asked.endpoint is not Endpoint.RESPONSES:
            for event in events.split(b"\n\n"):
                if b"data: {" in event:
                    self._of_message(_data_of(event))
        elif any(last in events for last in _LAST_OF_RESPONSES):
            for event in events.split(b"\n\n"):
                if event.startswith(_LAST_OF_RESPONSES):
                    self._keep_response(_data_of(event)["response"])
        return events

    def _keep_response(self, response: dict[str, Any]) -> None:
        self._keep_turn(response["id"], partial(turn_of_responses, self._asked.payload, response))

    def _keep_message(self, message_id: str, content: list[dict[str, Any]]) -> None:
        self._keep_turn(message_id, partial(turn_of_messages, self._asked.payload, content))

    def _keep_turn(self, answer_id: str, write: Callable[[], bytes]) -> None:
        try:
            turn = write()
        except orjson.JSONEncodeError:
            # Arguments may be nested more deeply than can be written; whoever goes on sends them again.
            return
        self._keep(answer_id, turn)

    def _of_message(self, event: dict[str, Any]) -> None:
        match event.get("type"):
            case "message_start":
                self._id = event["message"]["id"]
            case "content_block_start":
                self._blocks.append(event["content_block"])
                self._said = []
            case "content_block_delta":
                field = _SAID_IN.get(event["delta"]["type"])
                if field is not None:
                    self._said.append(event["delta"][field])
            case "content_block_stop":
                self._end_block("".join(self._said))
            case "message_stop":
                self._keep_message(self._id, self._blocks)

    def _end_block(self, said: str) -> None:
        block = self._blocks[-1]
        kind = block["type"]
        if kind != "tool_use":
            block[kind] = said
            return
        try:
            arguments = orjson.loads(said or "{}")
        except orjson.JSONDecodeError:
            arguments = None
        # Cut off, as the client sees as well.
        block["input"] = arguments if isinstance(arguments, dict) else {}


def _data_of(event: bytes) -> dict[str, Any]:
    data: dict[str, Any] = orjson.loads(event.partition(b"data: ")[2])
    return data
