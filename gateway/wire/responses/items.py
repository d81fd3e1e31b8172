"""The output items of a response: each whole item, and the events that build it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from io import SEEK_END, StringIO
from typing import Any

from pointsman.gateway.wire.responses.client_tools import CUSTOM, call_fields

_Event = tuple[str, dict[str, Any]]


class Item(ABC):
    """One item of the output.

    Args:
        item_id: Its id.
        text: What it says so far.

    Attributes:
        id: As given.
        index: Its place in the output, once it is there.
        ended: `completed`, or `incomplete` where the answer stopped within it; empty as long as it can grow.
    """

    def __init__(self, item_id: str, text: str = "") -> None:
        self.id = item_id
        self.index = 0
        self.ended = ""
        # Adding to a string of megabytes would copy it with every piece.
        self._buffer = StringIO(text)
        self._buffer.seek(0, SEEK_END)

    @property
    def text(self) -> str:
        """What it says so far; made anew with every look at it."""
        return self._buffer.getvalue()

    @abstractmethod
    def document(self, status: str) -> dict[str, Any]:
        """The item as it stands."""

    @abstractmethod
    def beginning(self) -> Iterator[_Event]:
        """The events that open it."""

    @abstractmethod
    def grown(self, text: str) -> _Event | None:
        """It says more: the event that tells so, None where nothing is told before the end."""

    @abstractmethod
    def ending(self, status: str) -> Iterator[_Event]:
        """The events that close it."""


class TextItem(Item):
    """What the model says, or its refusal to.

    Attributes:
        refusal: Whether it is that.
    """

    def __init__(self, item_id: str, text: str = "", *, refusal: bool = False) -> None:
        super().__init__(item_id, text)
        self.refusal = refusal
        self._kind = "refusal" if refusal else "output_text"
        self._place = {"item_id": item_id, "content_index": 0}

    def document(self, status: str) -> dict[str, Any]:
        """The message."""
        return {"type": "message", "id": self.id, "status": status, "role": "assistant", "content": [self._part()]}

    def beginning(self) -> Iterator[_Event]:
        """The message without content, and its one part without text."""
        yield "response.output_item.added", {"item": {**self.document("in_progress"), "content": []}}
        yield "response.content_part.added", {**self._place, "part": self._part()}

    def grown(self, text: str) -> _Event:
        """A piece of the text."""
        self._buffer.write(text)
        return f"response.{self._kind}.delta", {**self._place, "delta": text, **self._unscored()}

    def ending(self, status: str) -> Iterator[_Event]:
        """The text, its part and the message, whole."""
        yield f"response.{self._kind}.done", {**self._place, **self._said(), **self._unscored()}
        yield "response.content_part.done", {**self._place, "part": self._part()}
        yield "response.output_item.done", {"item": self.document(status)}

    def _unscored(self) -> dict[str, Any]:
        """Text has a list of log-probabilities, which is empty where none were asked for."""
        return {} if self.refusal else {"logprobs": []}

    def _said(self) -> dict[str, Any]:
        return {"refusal" if self.refusal else "text": self.text}

    def _part(self) -> dict[str, Any]:
        hedged_with: dict[str, Any] = {} if self.refusal else {"annotations": []}
        return {"type": self._kind, **self._said(), **hedged_with, **self._unscored()}


class ThoughtItem(Item):
    """What the model thinks before it answers, where clients look for it: in the summary."""

    def __init__(self, item_id: str, text: str = "") -> None:
        super().__init__(item_id, text)
        self._place = {"item_id": item_id, "summary_index": 0}

    def document(self, status: str) -> dict[str, Any]:
        """The reasoning."""
        summary = [self._part()] if self.text else []
        return {"type": "reasoning", "id": self.id, "status": status, "summary": summary}

    def beginning(self) -> Iterator[_Event]:
        """The reasoning without text, and its one part without text."""
        yield "response.output_item.added", {"item": self.document("in_progress")}
        yield "response.reasoning_summary_part.added", {**self._place, "part": self._part()}

    def grown(self, text: str) -> _Event:
        """A piece of it."""
        self._buffer.write(text)
        return "response.reasoning_summary_text.delta", {**self._place, "delta": text}

    def ending(self, status: str) -> Iterator[_Event]:
        """All of it."""
        yield "response.reasoning_summary_text.done", {**self._place, "text": self.text}
        yield "response.reasoning_summary_part.done", {**self._place, "part": self._part()}
        yield "response.output_item.done", {"item": self.document(status)}

    def _part(self) -> dict[str, Any]:
        return {"type": "summary_text", "text": self.text}


class CallItem(Item):
    """A function to be called; what it says is the arguments.

    Attributes:
        unwritten: Whether nothing was said of them.
    """

    def __init__(self, item_id: str, call_id: str, name: str, arguments: str = "") -> None:
        super().__init__(item_id, arguments)
        self.unwritten = not arguments
        self._call_id = call_id
        self._name = name

    def document(self, status: str) -> dict[str, Any]:
        """The call."""
        called = {"call_id": self._call_id, "name": self._name, "arguments": self.text}
        return {"type": "function_call", "id": self.id, "status": status, **called}

    def beginning(self) -> Iterator[_Event]:
        """The call without arguments."""
        yield "response.output_item.added", {"item": self.document("in_progress")}

    def grown(self, text: str) -> _Event:
        """A piece of the arguments."""
        self.unwritten = False
        self._buffer.write(text)
        return "response.function_call_arguments.delta", {"item_id": self.id, "delta": text}

    def ending(self, status: str) -> Iterator[_Event]:
        """All of them, and the call."""
        done = {"item_id": self.id, "name": self._name, "arguments": self.text}
        yield "response.function_call_arguments.done", done
        yield "response.output_item.done", {"item": self.document(status)}


class ClientCallItem(Item):
    """The model calls a tool of the client's that is no function: it was told of one, and its JSON is read at the end.

    Args:
        kind: Of the tool.
        item_id: Its id.
        call_id: Names the call in what follows.
        name: Of the tool.
        arguments: So far.
    """

    def __init__(self, kind: str, item_id: str, call_id: str, name: str, arguments: str = "") -> None:
        super().__init__(item_id, arguments)
        self._kind = kind
        self._call_id = call_id
        self._name = name

    def document(self, status: str) -> dict[str, Any]:
        """The call."""
        said = call_fields(self._kind, self._name, self.text)
        return {**said, "id": self.id, "call_id": self._call_id, "status": status}

    def beginning(self) -> Iterator[_Event]:
        """The call without what it says."""
        said = call_fields(self._kind, self._name, "")
        document = {**said, "id": self.id, "call_id": self._call_id, "status": "in_progress"}
        yield "response.output_item.added", {"item": document}

    def grown(self, text: str) -> None:
        """A piece of the arguments, which is no piece of what the client is to get."""
        self._buffer.write(text)

    def ending(self, status: str) -> Iterator[_Event]:
        """All that it says, and the call."""
        document = self.document(status)
        if self._kind == CUSTOM:
            yield "response.custom_tool_call_input.delta", {"item_id": self.id, "delta": document["input"]}
            yield "response.custom_tool_call_input.done", {"item_id": self.id, "input": document["input"]}
        yield "response.output_item.done", {"item": document}
