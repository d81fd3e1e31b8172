"""The answer chosen among several: the calls that were made, and the accepted reply on its way to the client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from pointsman.experts.protocols import Endpoint, Headers
from pointsman.experts.spec import Usage
from pointsman.gateway.deciding.null_experts import Recording
from pointsman.gateway.deciding.routed import RoutedRequest
from pointsman.gateway.dispatch.whole_reply import ReplyHead
from pointsman.gateway.record.ledger import Entry
from pointsman.gateway.record.recorder import Recorder
from pointsman.gateway.wire.document_of_events import document_of
from pointsman.gateway.wire.header_text import header_text
from pointsman.gateway.wire.large_bodies import LARGE_BYTES, LargeBodies
from pointsman.gateway.wire.reply import EventStream, usage_in, with_model_of_whole
from pointsman.gateway.wire.server_events import are_events
from pointsman.gateway.wire.transcript import Transcript, text_of_whole
from pointsman.routers.outcomes import CallOutcome, Outcome, Verdict

#: Bytes by which events may grow when `model` names the expert.
_ROOM_FOR_NAMES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class CallResult:
    """One call that is over.

    Attributes:
        expert: Who was asked.
        status: HTTP status; None where no answer came.
        headers: Of the reply.
        data: The whole body, or all events of a stream.
        streamed: Whether the body is events.
        text: The answer's text; None where it is not one plain, complete text.
        usage: As the expert reported it.
        usage_implausible: As in `Outcome`.
        cost_usd, energy_j: By the expert's price and energy model; None where unknown.
        latency_ms: Since the call was sent.
        final: The reply is for the client whatever others say: its request is at fault.
    """

    expert: str
    status: int | None
    headers: Headers = ()
    data: bytes = b""
    streamed: bool = False
    text: str | None = None
    usage: Usage | None = None
    usage_implausible: bool = False
    cost_usd: float | None = None
    energy_j: float | None = None
    latency_ms: float = 0.0
    final: bool = False

    @property
    def answered(self) -> bool:
        """Whether there is an answer to compare."""
        return self.status is not None and self.status < 400

    def outcome(self, verdict: Verdict) -> CallOutcome:
        """For the record, with what came of comparing it."""
        return CallOutcome(
            expert=self.expert,
            status=self.status,
            verdict=verdict,
            prompt_tokens=None if self.usage is None else self.usage.prompt_tokens,
            completion_tokens=None if self.usage is None else self.usage.completion_tokens,
            cached_tokens=None if self.usage is None else self.usage.cached_tokens,
            cache_write_tokens=None if self.usage is None else self.usage.cache_write_tokens,
            reasoning_tokens=None if self.usage is None else self.usage.reasoning_tokens,
            cost_usd=self.cost_usd,
            energy_j=self.energy_j,
            latency_ms=self.latency_ms,
            usage_implausible=self.usage_implausible,
        )


async def read_reply(
    expert: str,
    reply: ReplyHead,
    data: bytes,
    *,
    streamed: bool,
    large_bodies: LargeBodies,
    hides_usage: bool = False,
) -> CallResult:
    """A complete reply, with `model` naming the expert, its text and its usage; a large one is read beside the loop.

    Args:
        expert: Who answered.
        reply: Its head.
        data: Its body.
        streamed: Whether that is events.
        large_bodies: Reads what is large.
        hides_usage: As of `EventStream`.
    """
    if len(data) <= LARGE_BYTES:
        return _read(expert, reply, data, streamed, hides_usage)
    return await large_bodies.read_answer(expert, partial(_read, expert, reply, data, streamed, hides_usage))


def _read(expert: str, reply: ReplyHead, data: bytes, streamed: bool, hides_usage: bool) -> CallResult:
    status, headers = reply.status, reply.headers
    if streamed:
        stream, transcript = EventStream(expert, hides_usage=hides_usage), Transcript(len(data) + _ROOM_FOR_NAMES)
        events = stream.feed(data) + stream.finish()
        transcript.feed(events)
        usage = stream.usage if stream.usage_complete else None
        return CallResult(expert, status, headers, events, True, transcript.text(), usage)
    if status >= 400:
        return CallResult(expert, status, headers, data)
    if are_events(data):
        data = document_of(Endpoint.CHAT, data)
    named = with_model_of_whole(data, expert, ordinary=True)
    return CallResult(expert, status, headers, named, False, text_of_whole(data), usage_in(data))


def usage_of(outcome: Outcome) -> Usage | None:
    """The tokens of a call's outcome; None where they are unknown."""
    if outcome.prompt_tokens is None or outcome.completion_tokens is None:
        return None
    return Usage(
        outcome.prompt_tokens,
        outcome.completion_tokens,
        outcome.cached_tokens or 0,
        outcome.cache_write_tokens or 0,
        outcome.reasoning_tokens or 0,
    )


@dataclass(frozen=True, slots=True, eq=False)
class GatheredAnswers:
    """What gathering came to.

    Attributes:
        calls: All calls, in the order in which they ended up being made.
        accepted: The reply that goes to the client; None when no expert answered.
        belief: Probability that it is right; None where nothing could be compared.
        supporters: Experts whose answer it is.
    """

    calls: tuple[CallResult, ...]
    accepted: CallResult | None
    belief: float | None
    supporters: frozenset[str]

    def outcomes(self) -> tuple[CallOutcome, ...]:
        """For the record."""
        return tuple(call.outcome(self._verdict(call)) for call in self.calls)

    def _verdict(self, call: CallResult) -> Verdict:
        if call is self.accepted:
            return Verdict.ACCEPTED
        if not call.answered:
            return Verdict.FAILED
        return Verdict.AGREED if call.expert in self.supporters else Verdict.DIFFERED


class AcceptedAnswer:
    """The accepted reply, accounted for with all calls, which are over. Looks as `answer.Answer`.

    Attributes:
        data: The whole body, or all events of a stream.
        streamed: Whether it is events.
    """

    __slots__ = ("_reply", "data", "notes", "overhead_s", "streamed")

    def __init__(
        self,
        recorder: Recorder,
        routed: RoutedRequest,
        entry: Entry,
        gathered: GatheredAnswers,
        overhead_s: float,
        recordings: Sequence[Recording] = (),
    ) -> None:
        assert gathered.accepted is not None  # noqa: S101  # the caller has seen to it
        self._reply = gathered.accepted
        self.overhead_s = overhead_s
        self.data = self._reply.data
        self.streamed = self._reply.streamed
        self.notes = _notes(gathered)
        if self._reply.answered:
            for recording in recordings:
                _keep(self._reply, recording)
        recorder.gathered(routed, entry, self.expert, gathered.outcomes(), self.status)

    @property
    def expert(self) -> str:
        """Whose answer was accepted."""
        return self._reply.expert

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._reply.status or 502

    @property
    def headers(self) -> Headers:
        """The accepted reply's headers."""
        return self._reply.headers


def _keep(reply: CallResult, recording: Recording) -> None:
    if reply.streamed:
        recording.feed(reply.data)
        recording.complete()
    else:
        recording.whole(reply.data)


def _notes(gathered: GatheredAnswers) -> Headers:
    """Response headers of our own: who was asked, what all of it cost, how sure the choice is."""
    notes = [(b"x-pointsman-asked", b",".join(header_text(call.expert) for call in gathered.calls))]
    costs = [call.cost_usd for call in gathered.calls]
    if None not in costs:
        notes.append((b"x-pointsman-total-cost-usd", b"%.8g" % sum(cost for cost in costs if cost is not None)))
    if gathered.belief is not None:
        notes.append((b"x-pointsman-belief", b"%.3f" % gathered.belief))
    return tuple(notes)
