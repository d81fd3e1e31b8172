"""The number of tokens in a Messages request, for experts that have no endpoint to count them."""

from __future__ import annotations

from typing import Final

import orjson

from pointsman.gateway.wire.request import Inbound

#: Says that nobody counted: a tokenizer of the expert's own would.
ESTIMATE_HEADERS: Final = (
    (b"content-type", b"application/json"),
    (b"x-pointsman-token-count", b"estimated"),
)
#: On an answer of an expert that counted.
COUNTED: Final = (b"x-pointsman-token-count", b"counted")


def estimate_body(inbound: Inbound) -> bytes:
    """The estimate that routing works with, in Anthropic's shape."""
    return orjson.dumps({"input_tokens": inbound.prompt_tokens})
