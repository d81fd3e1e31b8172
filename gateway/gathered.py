"""An answer chosen among several: the calls that were made, and the accepted reply on its way to the client."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from experts.protocols import Headers
from experts.spec import Usage
from gateway.errors import CLIENT_LEFT
from gateway.ledger import Entry
from gateway.null_experts import Recording
from gateway.recorder import Recorder, Routed
from gateway.wire.reply import EventStream, usage_in, with_model
from gateway.wire.transcript import Transcript, text_of_whole
from routers.outcomes import CallOutcome, Verdict

#: Bytes by which events may grow when `model` names the expert.
_ROOM_FOR_NAMES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class Reached:
    """One call that is over.

    Attributes:
        expert: Who was asked.
        status: HTTP status; None where no answer came.
        headers: Of the reply.
        data: The whole body, or all events of a stream.
        streamed: Whether the body is events.
        text: The answer's text; None where it is not one plain, complete text.
        usage: As the expert reported it.
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
    cost_usd: float | None = None
    energy_j: float | None = None
    latency_ms: float = 0.0
    final: bool = False

    @property
    def answered(self) -> bool:
        """Whether there is an answer to compare."""
        return self.status is not None and self.status < 400


def read_reply(expert: str, status: int, headers: Headers, data: bytes, *, streamed: bool) -> Reached:
    """A complete reply, with `model` naming the expert, its text and its usage."""
    if streamed:
        stream, transcript = EventStream(expert), Transcript(len(data) + _ROOM_FOR_NAMES)
        events = stream.feed(data) + stream.finish()
        transcript.feed(events)
        return Reached(expert, status, headers, events, True, transcript.text(), stream.usage)
    if status >= 400:
        return Reached(expert, status, headers, data)
    return Reached(expert, status, headers, with_model(data, expert), False, text_of_whole(data), usage_in(data))


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """What gathering came to.

    Attributes:
        calls: All calls, in the order in which they ended up being made.
        accepted: The reply that goes to the client; None when no expert answered.
        belief: Probability that it is right; None where nothing could be compared.
        supporters: Experts whose answer it is.
    """

    calls: tuple[Reached, ...]
    accepted: Reached | None
    belief: float | None
    supporters: frozenset[str]

    def outcomes(self) -> tuple[CallOutcome, ...]:
        """For the record."""
        return tuple(
            CallOutcome(
                expert=call.expert,
                status=call.status,
                verdict=self._verdict(call),
                prompt_tokens=None if call.usage is None else call.usage.prompt_tokens,
                completion_tokens=None if call.usage is None else call.usage.completion_tokens,
                cost_usd=call.cost_usd,
                energy_j=call.energy_j,
                latency_ms=call.latency_ms,
            )
            for call in self.calls
        )

    def _verdict(self, call: Reached) -> Verdict:
        if call is self.accepted:
            return Verdict.ACCEPTED
        if not call.answered:
            return Verdict.FAILED
        return Verdict.AGREED if call.expert in self.supporters else Verdict.DIFFERED


class GatheredAnswer:
    """The accepted reply, accounted for with all calls. Close it in every case; looks as `gateway.answer.Answer`."""

    __slots__ = ("_entry", "_gathered", "_over", "_recorder", "_reply", "_routed", "body", "notes", "overhead_s")

    def __init__(
        self,
        recorder: Recorder,
        routed: Routed,
        entry: Entry,
        gathered: Gathered,
        overhead_s: float,
        recording: Recording | None,
    ) -> None:
        assert gathered.accepted is not None  # noqa: S101  # the caller has seen to it
        self._recorder = recorder
        self._routed = routed
        self._entry = entry
        self._gathered = gathered
        self._reply = gathered.accepted
        self._over = False
        self.overhead_s = overhead_s
        self.body = None if self._reply.streamed else self._reply.data
        self.notes = _notes(gathered)
        if recording is not None and self._reply.answered:
            _keep(self._reply, recording)
        if self.body is not None:
            self._finish(self.status)

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

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The accepted stream, at once."""
        status = CLIENT_LEFT
        try:
            yield self._reply.data
            status = self.status
        finally:
            self._finish(status)

    async def aclose(self) -> None:
        """Let go. Idempotent; all calls are over already."""
        self._finish(CLIENT_LEFT)

    def _finish(self, status: int) -> None:
        if not self._over:
            self._over = True
            self._recorder.gathered(self._routed, self._entry, self.expert, self._gathered.outcomes(), status)


def _keep(reply: Reached, recording: Recording) -> None:
    if reply.streamed:
        recording.feed(reply.data)
        recording.complete()
    else:
        recording.whole(reply.data)


def _notes(gathered: Gathered) -> Headers:
    """Response headers of our own: who was asked, what all of it cost, how sure the choice is."""
    notes = [(b"x-pointsman-asked", ",".join(call.expert for call in gathered.calls).encode())]
    costs = [call.cost_usd for call in gathered.calls]
    if None not in costs:
        notes.append((b"x-pointsman-total-cost-usd", b"%.8g" % sum(cost for cost in costs if cost is not None)))
    if gathered.belief is not None:
        notes.append((b"x-pointsman-belief", b"%.3f" % gathered.belief))
    return tuple(notes)
