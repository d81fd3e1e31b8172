"""Everything in a request that an expert may read as text, and what else goes into its prompt.

`request.py` reads an ordinary chat faster. This reads whatever is not ordinary: unknown fields, parts of every kind,
the blocks and items of other APIs. Nothing is passed over but what `request_fields.py` names as no text, so that what
nobody here knows counts by its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import Capability
from pointsman.gateway.wire.request_fields import (
    DATA,
    INSTRUCTING,
    INSTRUCTIONS,
    KNOWN_PARTS,
    MARKS,
    MEDIA,
    MOST_MARK_CHARS,
    MOST_SILENT_BYTES,
    NEEDS,
    NESTING_PARTS,
    PROMPTS,
    ROLES,
    SILENT,
    STRUCTURE,
    TEXT_PARTS,
    TOKENS_PER_MEDIUM,
    TOOLS,
    WORDLESS,
    WORDS_INSIDE,
)

#: What the API calls things: no phrase looks like it.
_MARK: Final = re.compile(r"[A-Za-z0-9_.:/+-]*", re.ASCII)
_ADDRESSES: Final = ("http://", "https://", "file:", "gs://", "s3://")
_DATA_OF_TEXT: Final = ("data:text", "data:,", "data:;", "data:application/json")
_NOT_IN_DATA: Final = ('"', "\n", "\t")
_LINES_OF_DATA: Final = re.compile(r"[A-Za-z0-9+/=_\r\n-]*", re.ASCII)
_SCALARS: Final = frozenset({int, float, bool, type(None)})
_SHORT_CHARS: Final = 64
_USUAL_OPTIONS: Final = {"include_usage": True}
#: Endpoint -> fields that are read on their own; `routing` is ours, and no expert gets it.
_READ_APART: Final[Mapping[Endpoint, frozenset[str]]] = MappingProxyType(
    {endpoint: frozenset({*names, *TOOLS, "routing"}) for endpoint, names in PROMPTS.items()}
)
_WORDS_OF_THE_API: Final = ROLES | TEXT_PARTS.keys() | MEDIA.keys() | NESTING_PARTS | KNOWN_PARTS | {"ephemeral"}


class PromptReader:
    """Reads all of a request that an expert may, and keeps what was read so far.

    Attributes:
        size_bytes: UTF-8 bytes of all texts, and of the names and numbers beside them.
        texts: The texts, in their order.
        unseen_tokens: Input tokens, at the most, of what is no text.
        unread: Where the first thing stands that may hold words nobody here can read; None where nothing does.
        needs: What an expert must be capable of to read what is no text.
    """

    __slots__ = ("_unseen", "needs", "size_bytes", "texts", "unread")

    def __init__(self) -> None:
        self.size_bytes = 0
        self.texts: list[str] = []
        self.unread: str | None = None
        self.needs: frozenset[Capability] = frozenset()
        self._unseen = 0.0

    @property
    def unseen_tokens(self) -> int:
        """Rounded up."""
        return int(-(-self._unseen // 1))

    def field(self, name: str, value: object, silent: Collection[str] = SILENT) -> None:
        """A field at the top of a body that no endpoint's own reader reads.

        Args:
            name: Of the field.
            value: What stands in it.
            silent: Fields that are passed over where they are small.
        """
        if name in silent and (type(value) in _SCALARS or _small(value)):
            return
        if name in WORDLESS:
            self._cannot_read(name)
        self._name(name)
        self.anything(value)

    def together(self, begin: int) -> None:
        """What was read of one message since then is one text as well: its parts may be parts of a sentence."""
        if len(self.texts) - begin > 1:
            self.texts.append(" ".join(self.texts[begin:]))

    def prompts(self, prompts: object) -> None:
        """One prompt or several, as texts or as token ids, which nobody here can read."""
        if not isinstance(prompts, str) and not (
            isinstance(prompts, list) and all(isinstance(one, str) for one in prompts)
        ):
            self._cannot_read("prompt")
        self.anything(prompts)

    def message(self, message: Mapping[str, Any], where: str) -> None:
        """A message, or an item that holds what a message does."""
        for name, value in message.items():
            if name in ("content", "output"):
                self.content(value, f"{where}.{name}")
            elif name == "role":
                if value not in ROLES:
                    self.anything(value, name)
            else:
                self._name(name)
                self.anything(value, name)

    def item(self, item: Mapping[str, Any], where: str) -> None:
        """An item of a Responses request."""
        kind = item.get("type")
        known = kind is None or (isinstance(kind, str) and (kind in NESTING_PARTS or kind in KNOWN_PARTS))
        if not known and kind != "reasoning":
            self._cannot_read(where)
        self.message(item, where)

    def content(self, content: object, where: str) -> None:
        """A text, or parts."""
        if not isinstance(content, list):
            self.anything(content)
            return
        for index, part in enumerate(content):
            if isinstance(part, dict):
                self._part(part, f"{where}[{index}]")
            else:
                self.anything(part)

    def anything(self, value: object, name: str = "") -> None:
        """A value of any shape; `name` is that of the field it stands in."""
        if isinstance(value, str):
            if name in MARKS and len(value) <= MOST_MARK_CHARS and _MARK.fullmatch(value):
                self.size_bytes += 0 if value in _WORDS_OF_THE_API else len(value)
            else:
                self._text(value)
        elif isinstance(value, dict):
            for inner, one in value.items():
                self._name(inner)
                self.anything(one, inner)
        elif isinstance(value, list):
            for one in value:
                self.anything(one, name)
        elif value is not None:
            self.size_bytes += len(str(value))

    def _part(self, part: Mapping[str, Any], where: str) -> None:
        kind = part.get("type")
        if kind is None:
            # Some servers tell a part by what is in it.
            kind = next((name for name in part if name in MEDIA), "text")
        if not isinstance(kind, str):
            self._cannot_read(where)
        elif kind in MEDIA:
            source = part.get("source")
            form = source.get("type") if kind == "document" and isinstance(source, dict) else None
            if form == "text":
                pass
            elif form == "content":
                for name, value in part.items():
                    if name == "source":
                        self.message(part["source"], f"{where}.source")
                    else:
                        self._name(name)
                        self.anything(value, name)
                return
            else:
                self._medium(part, kind, where)
                return
        elif kind in NESTING_PARTS:
            self.message(part, where)
            return
        elif kind not in TEXT_PARTS and kind not in KNOWN_PARTS:
            self._cannot_read(where)
        self.anything(part)

    def _medium(self, part: Mapping[str, Any], kind: str, where: str) -> None:
        if kind in WORDS_INSIDE:
            self._cannot_read(where)
        if kind in NEEDS:
            self.needs |= {NEEDS[kind]}
        self._unseen += TOKENS_PER_MEDIUM
        self._data(part, "", MEDIA[kind])

    def _data(self, value: object, name: str, tokens_per_byte: float) -> None:
        """A medium: its data, its address, and whatever else stands beside them."""
        if isinstance(value, dict):
            for inner, one in value.items():
                self._name(inner)
                self._data(one, inner, tokens_per_byte)
        elif isinstance(value, list):
            for one in value:
                self._data(one, name, tokens_per_byte)
        elif not isinstance(value, str) or name not in DATA or not _is_data(value):
            self.anything(value, name)
        elif not value.startswith(_ADDRESSES):
            self._unseen += len(value) * tokens_per_byte

    def _name(self, name: str) -> None:
        """The name of a field: a template may write it."""
        if name not in STRUCTURE:
            self.size_bytes += utf8_bytes(name)
            if not _MARK.fullmatch(name) or len(name) > MOST_MARK_CHARS:
                self.texts.append(name)

    def _text(self, text: str) -> None:
        self.size_bytes += utf8_bytes(text)
        self.texts.append(text)

    def _cannot_read(self, where: str) -> None:
        if self.unread is None:
            self.unread = where


def _is_data(value: str) -> bool:
    """Whether a string is an address or data rather than words."""
    if not value.isascii() or " " in value or value.startswith(_DATA_OF_TEXT):
        return False
    # Megabytes are looked through only where there is a reason.
    return not any(mark in value for mark in _NOT_IN_DATA) or _LINES_OF_DATA.fullmatch(value) is not None


def read_prompts(endpoint: Endpoint, payload: Mapping[str, Any], *, instructions: bool = True) -> PromptReader:
    """Read the prompt's own fields, whatever they hold: a chat's messages, a completion's prompts, and so on.

    Args:
        endpoint: What the client called.
        payload: Its body.
        instructions: Whether to read what the system says, too.
    """
    reading = PromptReader()
    for name in sorted(PROMPTS[endpoint] & payload.keys()):
        value = payload[name]
        if name in INSTRUCTIONS and not instructions:
            continue
        if name == "prompt":
            reading.prompts(value)
        elif name not in ("messages", "input") or not isinstance(value, list):
            reading.content(value, name)
        else:
            for index, one in enumerate(value):
                where, begin = f"{name}[{index}]", len(reading.texts)
                if not isinstance(one, dict):
                    reading.anything(one)
                elif instructions or one.get("role") not in INSTRUCTING:
                    (reading.item if name == "input" else reading.message)(one, where)
                reading.together(begin)
    return reading


def read_fields(endpoint: Endpoint, payload: Mapping[str, Any], reading: PromptReader) -> int | None:
    """Read the fields of a body that are not read on their own: neither the prompt's nor the tools.

    Returns:
        How many strings there are in it beside the prompt, names of fields included; None where that was not counted.
    """
    apart, prompts = _READ_APART[endpoint], PROMPTS[endpoint]
    strings: int | None = len(payload)
    for name, value in payload.items():
        if name in SILENT:
            kind = type(value)
            if kind in _SCALARS:
                continue
            if (kind is str and len(value) <= _SHORT_CHARS) or value == _USUAL_OPTIONS:
                strings = None if strings is None else strings + 1
                continue
        elif name in prompts:
            continue
        strings = None
        if name not in apart:
            begin = len(reading.texts)
            reading.field(name, value)
            reading.together(begin)
    return strings


def read_document(endpoint: Endpoint, payload: Mapping[str, Any], *, instructions: bool) -> PromptReader:
    """Read all of a body, what bears no text as well; `instructions` as for `read_prompts`."""
    reading = read_prompts(endpoint, payload, instructions=instructions)
    apart = PROMPTS[endpoint] | {"model", "routing"}
    for name, value in payload.items():
        if name not in apart and type(value) not in _SCALARS:
            begin = len(reading.texts)
            reading.field(name, value, silent=())
            reading.together(begin)
    return reading


def utf8_bytes(text: str) -> int:
    """How many bytes a text has in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _small(value: object) -> bool:
    """Whether a value that bears no text is as short as such values are."""
    reading = PromptReader()
    reading.anything(value)
    return reading.size_bytes <= MOST_SILENT_BYTES
