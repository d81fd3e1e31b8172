"""An answer that came in one piece: who it says has answered, what it took, and what only its expert can go on from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import Usage
from pointsman.gateway.wire.document_of_events import document_of
from pointsman.gateway.wire.expert_errors import StatedError, error_in_answer, stated_error
from pointsman.gateway.wire.first_event import error_within
from pointsman.gateway.wire.provider_ids import made_in
from pointsman.gateway.wire.reply import usage_in, with_model_of_whole
from pointsman.gateway.wire.request import Inbound
from pointsman.gateway.wire.server_events import are_events


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """A whole answer, read.

    Attributes:
        body: A document, with `model` naming the expert where it says one.
        usage: As the expert reported it; None where it reports none.
        made: Ids that its expert alone can go on from.
        rewritten: Whether the expert sent it as events.
        error: What it says went wrong; None where it is an answer.
        status: HTTP status; of an error that came with one that promises none, what stands for it.
    """

    body: bytes
    usage: Usage | None = None
    made: frozenset[str] = frozenset()
    rewritten: bool = False
    error: StatedError | None = None
    status: int = 200


def read_answer(body: bytes, expert: str, status: int, inbound: Inbound, *, native: bool) -> WholeAnswer:
    """Read an answer.

    Args:
        body: Of the expert's reply.
        expert: The name that it goes by here.
        status: Of the reply.
        inbound: The request.
        native: Whether the expert answers as the client expects; if not, the answer is yet to be translated.
    """
    if rewritten := status < 300 and are_events(body) and error_within(body) is None:
        # It was asked for in one piece, or its media type says that it is no stream.
        body = document_of(inbound.asked if native else inbound.endpoint, body)
    failure = failure_in(status, body, streamed=False)
    if failure is not None:
        # Events that make no document broke off: that is the expert's, and no status of ours.
        return replace(failure, status=502) if rewritten else failure
    usage = usage_in(body)
    if not native:
        return WholeAnswer(body, usage, rewritten=rewritten, status=status)
    made = frozenset(made_in(body)) if brings_ids(inbound) else frozenset()
    ordinary = inbound.translated is None and inbound.endpoint.writes
    named = with_model_of_whole(body, expert, ordinary=ordinary)
    return WholeAnswer(named, usage, made, rewritten, status=status)


def failure_in(status: int, body: bytes, *, streamed: bool) -> WholeAnswer | None:
    """The error that an expert sent in place of an answer; None where it sent an answer.

    Args:
        status: Of the reply; one that promises an answer may bring an error all the same.
        body: Of the reply.
        streamed: Whether that is events.
    """
    if status >= 300:
        return WholeAnswer(body, error=stated_error(body, status), status=status)
    # Some servers stream whether it was asked for or not.
    error = error_within(body) if streamed or are_events(body) else error_in_answer(body)
    return None if error is None else WholeAnswer(body, error=error, status=error.status or 502)


def brings_ids(inbound: Inbound) -> bool:
    """Whether a later request may name what the answer brings, where its expert answers in the client's own API."""
    if inbound.translated is not None:
        return inbound.translated.endpoint is not Endpoint.COUNT_TOKENS
    # Spoken answers are named by their id in the next turn.
    return inbound.payload.get("modalities") is not None
