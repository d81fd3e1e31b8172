"""Puts the pieces of streamed calls together: which piece belongs to which call.

OpenAI numbers calls and names each once. Other servers number them all 0, or not at all, repeat the name or the id with
every piece, or put whole calls into one piece. A piece that brings an id nobody has had begins a call, unless it goes
on in the middle of an object; one without an id goes to the call of its number, or to the last one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pointsman.gateway.wire.chat_answer import calls_in, index_of, text_of
from pointsman.gateway.wire.lenient_json import joined, json_text, mended
from pointsman.gateway.wire.object_text import ObjectText

#: What a function goes by whose name nobody said; the client will say that it has none such.
NAMELESS: Final = "unnamed"


class ChatCall:
    """One call, as far as it has come.

    Attributes:
        id: Empty as long as none was said.
        name: Of the function, likewise.
        index: Its number, None where it has none.
        arguments: The text of its arguments as that of an object.
        begun: Whether any of its arguments are here.
        kept: What came of them before it could go out.
    """

    __slots__ = ("_half", "arguments", "begun", "id", "index", "kept", "name")

    def __init__(self, call_id: str = "", name: str = "", index: int | None = None) -> None:
        self.id = call_id
        self.name = name
        self.index = index
        self.arguments = ObjectText()
        self.begun = False
        self.kept = ""
        self._half = ""

    def take(self, text: str) -> str:
        """A piece of the arguments: as it can be written."""
        self.begun |= bool(text)
        text, self._half = joined(self._half, text)
        return text

    def rest(self) -> str:
        """What was held back of the last piece."""
        half, self._half = self._half, ""
        return mended(half)

    def named(self, name: str) -> None:
        """A piece says a name: the whole, a longer part of it, the next part, or the same once more."""
        if not name or self.begun or name == self.name:
            return
        self.name = name if name.startswith(self.name) else self.name + name


@dataclass(frozen=True, slots=True)
class CallChunk:
    """A piece of a call.

    Attributes:
        call: Whose; its id and its name are those known by now.
        text: Of its arguments, as the expert wrote them.
    """

    call: ChatCall
    text: str


class CallReader:
    """Reads the calls of one streamed answer.

    Attributes:
        calls: All so far.
    """

    __slots__ = ("_ids", "_numbered", "calls")

    def __init__(self) -> None:
        self.calls: list[ChatCall] = []
        self._numbered: dict[int, ChatCall] = {}
        self._ids: dict[str, ChatCall] = {}

    def read(self, delta: Mapping[str, Any]) -> Iterator[CallChunk]:
        """The pieces in a delta."""
        for piece in calls_in(delta):
            function = piece["function"]
            name, text = mended(text_of(function.get("name"))), arguments_of(function)
            call = self._call(piece, name, text)
            call.named(name)
            yield CallChunk(call, call.take(text))

    def _call(self, piece: Mapping[str, Any], name: str, text: str) -> ChatCall:
        call_id, index = mended(text_of(piece.get("id"))), index_of(piece)
        last = self.calls[-1] if self.calls else None
        numbered = last if index is None else self._numbered.get(index)
        if call_id:
            found = self._by_id(call_id, index, numbered, name, text)
        elif numbered is None:
            # Without a name it belongs to some call, and nothing tells to which.
            found = None if name else last
        else:
            found = None if _begins_anew(numbered, name, text) else numbered
        if found is None:
            found = ChatCall(call_id, name, index)
            self.calls.append(found)
        if call_id:
            found.id = found.id or call_id
            self._ids.setdefault(call_id, found)
        if index is not None:
            self._numbered[index] = found
            found.index = index if found.index is None else found.index
        return found

    def _by_id(
        self, call_id: str, index: int | None, numbered: ChatCall | None, name: str, text: str
    ) -> ChatCall | None:
        """The call of a piece that brings an id; None where it begins one."""
        known = self._ids.get(call_id)
        if known is not None:
            # Some servers give several calls one id: a number of its own and a name tell them apart.
            other = index is not None and known.index is not None and index != known.index and bool(name)
            if other:
                return numbered if numbered is not None and numbered.id == call_id else None
            return None if known is numbered and _begins_anew(known, name, text) else known
        if numbered is None or numbered.arguments.complete:
            return None
        if not numbered.id and not _begins_anew(numbered, name, text):
            return numbered
        # An id of its own for every piece: what goes on in the middle of an object is no call.
        goes_on = numbered.begun and name in ("", numbered.name) and not text.lstrip().startswith("{")
        return numbered if goes_on and text else None


def _begins_anew(call: ChatCall, name: str, text: str) -> bool:
    """Whether a piece without an id of its own begins another call than the one it would belong to."""
    if not name:
        return False
    if call.arguments.complete:
        return bool(text.strip()) or name != call.name
    # Of one that has no name yet, it may be the name.
    return bool(call.name) and name != call.name and (call.begun or bool(text.strip()))


def arguments_of(function: Mapping[str, Any]) -> str:
    """The arguments of a call as text, be they one or not; empty where there are none."""
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        return arguments
    try:
        return "" if arguments is None else json_text(arguments)
    except ValueError:
        return ""


def unlike_others(call_id: str, made: str, taken: set[str]) -> str:
    """The id of a call in an answer: its own where no other call of the answer has it, else one that was made.

    Args:
        call_id: Empty where it has none.
        made: An id that no other call has.
        taken: Those of the calls before it; this one's is added.
    """
    chosen = made if not call_id or call_id in taken else call_id
    taken.add(chosen)
    return chosen
