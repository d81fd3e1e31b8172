"""The content blocks of a streamed message: one after the other, though a chat may say several things at once.

Pieces of a block that is not at its turn wait. A text's turn is over when something else follows it, a call's when its
object is whole; at the end of the answer everything goes out that is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from pointsman.gateway.wire.chat_calls import ChatCall

#: The kind of an event, and what it says beside that.
BlockEvent = tuple[str, dict[str, Any]]


class _Block:
    """A block on its way.

    Attributes:
        kind: `thinking`, `text` or `tool_use`.
        call: Of the last kind.
        waiting: Pieces that have not gone out.
        open: Whether its beginning went out.
    """

    __slots__ = ("call", "kind", "open", "waiting")

    def __init__(self, kind: str, call: ChatCall | None = None) -> None:
        self.kind = kind
        self.call = call
        self.waiting: list[str] = []
        self.open = False

    @property
    def over(self) -> bool:
        """Whether nothing more can come where something else follows."""
        return self.call is None or self.call.arguments.complete

    @property
    def ready(self) -> bool:
        """Whether it can begin: a call with a name and an argument, a text with a letter."""
        if self.call is not None:
            return bool(self.call.name and self.waiting)
        return self.kind != "text" or any(not one.isspace() for one in self.waiting)

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it that anybody could use."""
        if self.call is None:
            return not self.ready
        return not (self.call.name or self.call.id or self.call.begun)


class BlockSequence:
    """Puts the blocks of one message in order.

    Args:
        settle: Gives a call that is about to go out its name and id.

    Attributes:
        last_call: The last call that went out.
    """

    def __init__(self, settle: Callable[[ChatCall], None]) -> None:
        self._settle = settle
        self._index = -1
        self._queue: deque[_Block] = deque()
        self._of_calls: dict[int, _Block | None] = {}
        self.last_call: ChatCall | None = None

    def say(self, kind: str, text: str) -> Iterator[BlockEvent]:
        """A piece of a text or of a thought."""
        if not self._queue or self._queue[-1].kind != kind:
            self._queue.append(_Block(kind))
        self._queue[-1].waiting.append(text)
        yield from self._advance()

    def call(self, call: ChatCall, text: str) -> Iterator[BlockEvent]:
        """A piece of a call, as the expert wrote it."""
        key = id(call)
        if key not in self._of_calls:
            self._of_calls[key] = _Block("tool_use", call)
            self._queue.append(self._of_calls[key])  # type: ignore[arg-type]  # it was put there
        block = self._of_calls[key]
        # What comes after the end of its block is no part of its object.
        if block is not None and (text := call.arguments.feed(text)):
            block.waiting.append(text)
        yield from self._advance()

    def finish(self, *, cut: bool) -> Iterator[BlockEvent]:
        """The answer is over.

        Args:
            cut: Whether the model had to stop before it was through.
        """
        yield from self._advance(ended=True, cut=cut)

    def _advance(self, *, ended: bool = False, cut: bool = False) -> Iterator[BlockEvent]:
        """What can go out of the blocks at the front."""
        while self._queue:
            block = self._queue[0]
            followed = ended or len(self._queue) > 1
            last = followed and (ended or block.over)
            if last and block.call is not None and (end := block.call.arguments.close(cut=cut)):
                block.waiting.append(end)
            if not block.open:
                if last and block.empty and (len(self._queue) > 1 or self._index >= 0 or not block.waiting):
                    self._drop()
                    continue
                if not (block.ready or last):
                    return
                yield self._start(block)
            if block.waiting:
                yield "content_block_delta", {"index": self._index, "delta": _delta(block.kind, "".join(block.waiting))}
                block.waiting.clear()
            if not last:
                return
            self._drop()
            yield "content_block_stop", {"index": self._index}

    def _drop(self) -> None:
        block = self._queue.popleft()
        if block.call is not None:
            self._of_calls[id(block.call)] = None

    def _start(self, block: _Block) -> BlockEvent:
        block.open = True
        self._index += 1
        start: dict[str, Any] = {"type": "text", "text": ""}
        if block.kind == "thinking":
            start = {"type": "thinking", "thinking": "", "signature": ""}
        elif block.call is not None:
            self._settle(block.call)
            self.last_call = block.call
            start = {"type": "tool_use", "id": block.call.id, "name": block.call.name, "input": {}}
        return "content_block_start", {"index": self._index, "content_block": start}


def _delta(kind: str, text: str) -> dict[str, Any]:
    if kind == "tool_use":
        return {"type": "input_json_delta", "partial_json": text}
    if kind == "thinking":
        return {"type": "thinking_delta", "thinking": text}
    return {"type": "text_delta", "text": text}
