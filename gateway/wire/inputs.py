"""Requests to experts that generate no text: texts to embed, documents to rank, pairs to score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.fields import invalid, missing
from pointsman.gateway.wire.reading import PromptReader, utf8_bytes
from pointsman.gateway.wire.request_fields import PICTURES, PROMPTS

#: Endpoint -> the field whose text stands for the request, and the one beside it; either may have other names.
_FIELDS: Final[Mapping[Endpoint, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    Endpoint.EMBEDDINGS: (("input", "messages"), ()),
    Endpoint.RERANK: (("query",), ("documents",)),
    Endpoint.SCORE: (("text_1", "queries", "data_1"), ("text_2", "documents", "items", "data_2")),
}
#: A token id where a text could stand; about as many bytes as a token of text.
_BYTES_PER_ID: Final = 4


@dataclass(frozen=True, slots=True)
class InputSummary:
    """What there is to read of such a request.

    Attributes:
        text: Stands for the request.
        count: How many texts there are, at least 1.
        reading: All that was read.
        longest_bytes: Of the longest of several texts that are each read on their own; 0 where that is not known.
        repeated_bytes: What is read again with every document beyond the first, at the most.
    """

    text: str
    count: int
    reading: PromptReader
    longest_bytes: int
    repeated_bytes: int


def read_inputs(endpoint: Endpoint, payload: Mapping[str, Any]) -> InputSummary:
    """What there is to read of a request.

    Only what is needed for a size is read: what the fields may hold is the expert's to say.

    Raises:
        RequestRefused: A field is missing or empty.
    """
    first, second = _FIELDS[endpoint]
    reading = PromptReader()
    asked = _read(payload, first, reading)
    text, asked_bytes = reading.texts[0] if reading.texts else "", reading.size_bytes
    beside = _read(payload, second, reading) if second else None
    beside_bytes = reading.size_bytes - asked_bytes
    for name in sorted(PROMPTS[endpoint] & payload.keys()):
        # Of several names for one field the expert chooses.
        if payload[name] is not None and payload[name] is not asked and payload[name] is not beside:
            _gather(payload[name], reading)
    documents = len(beside) if isinstance(beside, list) else 1
    # A query is read with every document; pairs are as many as the longer of two lists.
    repeated = asked_bytes * (documents - 1) if second and not (isinstance(asked, list) and len(asked) > 1) else 0
    if isinstance(asked, list) and len(asked) > 1 and documents == 1:
        repeated = beside_bytes * (len(asked) - 1)
    longest = max(map(utf8_bytes, asked)) if not second and _several_texts(asked) else 0
    return InputSummary(text, max(1, len(reading.texts)), reading, longest, repeated)


def _read(payload: Mapping[str, Any], names: tuple[str, ...], reading: PromptReader) -> Any:
    name = next((name for name in names if payload.get(name) is not None), None)
    if name is None:
        raise missing(names[0])
    if payload[name] in ("", [], {}):
        raise invalid(name, "something, not nothing")
    _gather(payload[name], reading)
    return payload[name]


def _gather(value: object, reading: PromptReader) -> None:
    """Read a text, token ids, parts, messages, or lists of any of them."""
    if isinstance(value, list):
        for one in value:
            _gather(one, reading)
    elif isinstance(value, dict):
        if "role" in value or isinstance(value.get("content"), list):
            reading.message(value, "")
        elif isinstance(value.get("type"), str) or not PICTURES.isdisjoint(value):
            reading.content([value], "")
        else:
            reading.anything(value)
    elif isinstance(value, int):
        reading.size_bytes += _BYTES_PER_ID
    else:
        reading.anything(value)


def _several_texts(value: object) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(isinstance(one, str) for one in value)
