"""Requests to experts that generate no text: texts to embed, documents to rank, pairs to score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.fields import invalid, missing

#: Endpoint -> the field whose text stands for the request, and the one beside it; either may have other names.
_FIELDS: Final[Mapping[Endpoint, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    Endpoint.EMBEDDINGS: (("input", "messages"), ()),
    Endpoint.RERANK: (("query",), ("documents",)),
    Endpoint.SCORE: (("text_1", "queries", "data_1"), ("text_2", "documents", "items", "data_2")),
}
#: A token id where a text could stand; about as many bytes as a token of text.
_BYTES_PER_ID: Final = 4


def read_inputs(endpoint: Endpoint, payload: Mapping[str, Any]) -> tuple[str, int, int]:
    """The text that stands for a request, the bytes of all text, and how many texts there are.

    Only what is needed for a size is read: what the fields may hold is the expert's to say.

    Raises:
        RequestRefused: A field is missing or empty.
    """
    first, hedged_with = _FIELDS[endpoint]
    texts: list[str] = []
    size = _read(payload, first, texts)
    said = texts[0] if texts else ""
    if hedged_with:
        size += _read(payload, hedged_with, texts)
    return said, size, max(1, len(texts))


def _read(payload: Mapping[str, Any], names: tuple[str, ...], texts: list[str]) -> int:
    name = next((name for name in names if payload.get(name) is not None), None)
    if name is None:
        raise missing(names[0])
    if payload[name] in ("", [], {}):
        raise invalid(name, "something, not nothing")
    return _gather(payload[name], texts)


def _gather(value: object, texts: list[str]) -> int:
    """Collect the texts in a value; answers their bytes."""
    if isinstance(value, str):
        texts.append(value)
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, list):
        return sum(_gather(one, texts) for one in value)
    if isinstance(value, dict):
        return sum(_gather(one, texts) for name, one in value.items() if name != "image_url")
    return _BYTES_PER_ID if isinstance(value, int) else 0
