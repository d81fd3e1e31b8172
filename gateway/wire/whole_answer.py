"""An answer that came in one piece: who it says has answered, what it took, and what only its expert can go on from."""

from __future__ import annotations

from dataclasses import dataclass

from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import Usage
from pointsman.gateway.wire.document_of_events import document_of
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
    """

    body: bytes
    usage: Usage | None = None
    made: frozenset[str] = frozenset()
    rewritten: bool = False


def read_answer(body: bytes, expert: str, status: int, inbound: Inbound, *, native: bool) -> WholeAnswer:
    """Read an answer.

    Args:
        body: Of the expert's reply.
        expert: The name that it goes by here.
        status: Of the reply; an error is left as it is.
        inbound: The request.
        native: Whether the expert answers as the client expects; if not, the answer is yet to be translated.
    """
    if status >= 400:
        return WholeAnswer(body)
    if rewritten := are_events(body):
        # It was asked for in one piece, or its media type says that it is no stream.
        body = document_of(inbound.asked if native else inbound.endpoint, body)
    usage = usage_in(body)
    if not native:
        return WholeAnswer(body, usage, rewritten=rewritten)
    made = frozenset(made_in(body)) if brings_ids(inbound) else frozenset()
    ordinary = inbound.translated is None and inbound.endpoint.writes
    return WholeAnswer(with_model_of_whole(body, expert, ordinary=ordinary), usage, made, rewritten)


def brings_ids(inbound: Inbound) -> bool:
    """Whether a later request may name what the answer brings, where its expert answers in the client's own API."""
    if inbound.translated is not None:
        return inbound.translated.endpoint is not Endpoint.COUNT_TOKENS
    # Spoken answers are named by their id in the next turn.
    return inbound.payload.get("modalities") is not None
