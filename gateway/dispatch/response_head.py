"""The head of a response: the expert's headers that reach the client, and our headers about the decision."""

from __future__ import annotations

import math
from typing import Final, Protocol

from pointsman.experts.protocols import Headers
from pointsman.gateway.access.caller import Role
from pointsman.gateway.deciding.routed import RoutedRequest
from pointsman.gateway.wire.header_text import header_text

#: Response headers of an expert that reach the client: what clients act upon, and nothing that tells of the inside.
_PASSED_ON: Final = frozenset(
    {
        b"content-type",
        b"retry-after",
        b"retry-after-ms",
        b"x-should-retry",
        b"x-request-id",
        b"request-id",
        b"openai-processing-ms",
        b"openai-version",
    }
)
_PASSED_ON_PREFIXES: Final = (b"x-ratelimit-", b"anthropic-ratelimit-")


class AnswerHead(Protocol):
    """What the head tells of an answer."""

    @property
    def expert(self) -> str:
        """Who answers."""

    @property
    def headers(self) -> Headers:
        """The expert's response headers."""

    @property
    def notes(self) -> Headers:
        """Response headers of our own beside those of every answer."""

    @property
    def overhead_s(self) -> float:
        """From the last byte of the request to its first dispatch."""


def answer_headers(routed: RoutedRequest, answer: AnswerHead) -> list[tuple[bytes, bytes]]:
    """The response headers of an answer, without those that frame it."""
    account = routed.caller.account
    # A caller with limits here is told of these, and not of the expert's.
    prefixes = _PASSED_ON_PREFIXES if account is None else ()
    headers = [(name, value) for name, value in answer.headers if name in _PASSED_ON or name.startswith(prefixes)]
    if account is not None:
        headers += account.headers()
    decision = routed.decision
    kind = decision.classification
    headers += [
        (b"x-pointsman-decision", decision.id.encode()),
        (b"x-pointsman-expert", header_text(answer.expert)),
        (b"x-pointsman-reason", str.encode(decision.reason)),
        (b"x-pointsman-cache", str.encode(routed.hit)),
        (b"x-pointsman-overhead-ms", _overhead_ms(routed, answer)),
        *answer.notes,
    ]
    if kind is not None:
        headers.append((b"x-pointsman-category", kind.category.encode("ascii", "replace")))
    return headers


def _overhead_ms(routed: RoutedRequest, answer: AnswerHead) -> bytes:
    """To the microsecond for operators, and for others in whole milliseconds, begun ones counted.

    What is remembered of one tenant's words makes the next request with them quicker, whoever sends it.
    """
    overhead_ms = answer.overhead_s * 1e3
    return b"%.3f" % overhead_ms if routed.caller.role is Role.OPERATOR else b"%d" % math.ceil(overhead_ms)
