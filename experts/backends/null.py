"""An expert that calls no model: it returns the answer that the decision prepared."""

from __future__ import annotations

import time

from pointsman.experts.backends.openai_wire import DONE, JSON_HEADERS, SSE_HEADERS, AnswerWriter, wants_usage_chunk
from pointsman.experts.backends.planned import PlannedReply, ReplyPlan, Stats, play
from pointsman.experts.errors import ExpertUnavailable
from pointsman.experts.protocols import ExpertCall, PreparedAnswer
from pointsman.experts.spec import ExpertSpec, Usage

#: No model ran, so no token was read or written.
_NO_TOKENS = Usage(0, 0)


class NullExpert:
    """Gives prepared answers, whole or as events, in the shape that was asked for.

    Args:
        spec: What it is.
    """

    def __init__(self, spec: ExpertSpec) -> None:
        self._spec = spec
        self.stats = Stats()

    @property
    def spec(self) -> ExpertSpec:
        """What it is."""
        return self._spec

    async def start(self) -> None:
        """Nothing to prepare."""

    async def call(self, call: ExpertCall) -> PlannedReply:
        """Give the prepared answer.

        Raises:
            ExpertUnavailable: There is none.
        """
        if call.prepared is None:
            raise ExpertUnavailable(self._spec.name, "has no answer to this request")
        self.stats.started += 1
        return await play(self._spec.name, self._plan(call, call.prepared), call, self.stats)

    async def probe(self) -> str | None:
        """Always well: there is nothing to ask."""
        return None

    async def aclose(self) -> None:
        """Nothing to let go of."""

    def _plan(self, call: ExpertCall, prepared: PreparedAnswer) -> ReplyPlan:
        with_usage = wants_usage_chunk(call.payload)
        answer = AnswerWriter(
            call.endpoint, call.request_id, int(time.time()), self._spec.model, with_usage_field=with_usage
        )
        if not call.stream:
            body = answer.whole(prepared.text, prepared.finish_reason, _NO_TOKENS)
            return ReplyPlan(200, JSON_HEADERS, pieces=((0.0, body),))
        events = [answer.opening(), answer.piece(prepared.text), answer.closing(prepared.finish_reason)]
        if with_usage:
            events.append(answer.usage(_NO_TOKENS))
        return ReplyPlan(200, SSE_HEADERS, pieces=((0.0, b"".join([*events, DONE])),))
