"""The client's headers that are forwarded to an expert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pointsman.experts.protocols import Endpoint, Headers

#: Part of Anthropic's API: without them a request means something else.
_ANTHROPICS: Final = (b"anthropic-version", b"anthropic-beta")
_MESSAGES: Final = frozenset({Endpoint.MESSAGES, Endpoint.COUNT_TOKENS})


def forwarded(endpoint: Endpoint, names: Sequence[bytes], headers: Mapping[bytes, bytes]) -> Headers:
    """The headers that may travel on.

    Args:
        endpoint: What the client called.
        names: The operator's allow-list.
        headers: Of the request, lower-case names.
    """
    if endpoint in _MESSAGES:
        names = (*names, *_ANTHROPICS)
    return tuple([(name, headers[name]) for name in names if name in headers])


def without_anthropics(headers: Headers) -> Headers:
    """For an expert that speaks another API: providers reject what they do not know."""
    return tuple([pair for pair in headers if pair[0] not in _ANTHROPICS])
