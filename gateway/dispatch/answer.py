"""An expert's answer on its way to the client, whole or streamed. It is accounted for exactly once."""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from typing import Final

from pointsman.experts.errors import ExpertError, ExpertProtocolError, ExpertStreamBroken
from pointsman.experts.protocols import Endpoint, Headers
from pointsman.gateway.deciding.null_experts import Recording
from pointsman.gateway.deciding.routed import RoutedRequest
from pointsman.gateway.dispatch.whole_reply import ReplyHead
from pointsman.gateway.errors import CLIENT_LEFT, refusal_for
from pointsman.gateway.record.recorder import Attempt, Recorder
from pointsman.gateway.wire.events_of_document import events_of
from pointsman.gateway.wire.expert_errors import client_error
from pointsman.gateway.wire.first_event import error_within
from pointsman.gateway.wire.generated_text import tokens_said
from pointsman.gateway.wire.header_text import header_text
from pointsman.gateway.wire.messages.counting import COUNTED
from pointsman.gateway.wire.provider_ids import MOST_IDS, made_in
from pointsman.gateway.wire.refusal_shape import EVENTS_TYPE, JSON_TYPE, path_of, refusal_body, refusal_event
from pointsman.gateway.wire.reply import EventStream
from pointsman.gateway.wire.translation import AnswerTranslation
from pointsman.gateway.wire.turn_recording import TurnRecording
from pointsman.gateway.wire.whole_answer import WholeAnswer, brings_ids

_log = logging.getLogger(__name__)

_MOST_LOGGED: Final = 300


class RelayedAnswer:
    """What the client gets of an expert's reply, and the account of it.

    The source of the reply pushes its pieces: `feed` for each, then `end` or `broken`; `left` if the client left.

    Args:
        recorder: Told how it ended.
        routed: The request.
        attempt: The attempt that answers.
        reply: The expert's reply.
        whole: An answer that is not streamed; None when its pieces are to come.
        most_bytes: How much of it is put into another API's words.
        overhead_s: From the last byte of the request to its first dispatch.
        recordings: Keep the answer once it is complete.
        said_by: Who says it, where it is not the expert of the attempt.
        private: What an error must not tell of the expert.
    """

    __slots__ = (
        "_attempt",
        "_events",
        "_failed",
        "_kind",
        "_made",
        "_over",
        "_private",
        "_recorder",
        "_recordings",
        "_routed",
        "_translation",
        "_turn",
        "body",
        "expert",
        "head",
        "overhead_s",
        "status",
    )

    def __init__(
        self,
        recorder: Recorder,
        routed: RoutedRequest,
        attempt: Attempt,
        reply: ReplyHead,
        whole: WholeAnswer | None,
        most_bytes: int,
        overhead_s: float,
        recordings: Sequence[Recording] = (),
        said_by: str = "",
        private: Sequence[str] = (),
    ) -> None:
        self.expert = said_by or attempt.expert
        self._private = private
        self._failed = False
        self._recorder = recorder
        self._routed = routed
        self._attempt = attempt
        self._recordings = recordings
        self._over = False
        self.head = reply
        self.overhead_s = overhead_s
        self.body: bytes | None = None
        #: The media type of what is written anew, whatever came.
        self._kind: tuple[bytes, bytes] | None = None
        self.status = reply.status if whole is None else whole.status
        translated = routed.inbound.translated
        self._translation: AnswerTranslation | None = None
        self._turn: TurnRecording | None = None
        if translated is not None and not attempt.native:
            prompt_tokens = routed.inbound.prompt_tokens
            self._turn = recorder.turn_recording(routed)
            self._translation = translated.translation(
                routed.decision.id.removeprefix("dec_"), attempt.expert, prompt_tokens, most_bytes
            )
        own_words = self._translation is None and brings_ids(routed.inbound)
        self._made: set[str] | None = set() if own_words else None
        if whole is None:
            self._events = EventStream(attempt.expert, hides_usage=attempt.adds_usage)
        else:
            self._account_for(whole)

    @property
    def notes(self) -> Headers:
        """Response headers of our own beside those of every answer."""
        hedged_with = self._attempt.hedged_with
        notes: Headers = ((b"x-pointsman-hedged", header_text(hedged_with)),) if hedged_with else ()
        return (*notes, COUNTED) if self._routed.inbound.asked is Endpoint.COUNT_TOKENS else notes

    @property
    def headers(self) -> Headers:
        """The expert's response headers."""
        if self._kind is None:
            return self.head.headers
        return (*[pair for pair in self.head.headers if pair[0] != b"content-type"], self._kind)

    def feed(self, chunk: bytes) -> bytes:
        """A piece of the streamed body came: what goes to the client now, whole events byte for byte; may be empty.

        Raises:
            AnswerSizeError: There is more of it than is put into another API's words.
        """
        self._recorder.first_byte(self._attempt)
        data = self._recorded(self._events.feed(chunk))
        reservation = self._attempt.reservation
        if reservation is not None and reservation.counts_text:
            reservation.heard_tokens += tokens_said(data)
        odd = b"error" in data or b'"abort"' in data
        if odd and not self._failed and (failed := error_within(data)) is not None:
            # What was said goes on to the client, this too.
            self._failed = True
            self._fail(failed.message or "an error within the stream")
        if self._made is not None and len(self._made) < MOST_IDS:
            self._remember(made_in(data, MOST_IDS - len(self._made)))
        return data if self._translation is None else self._kept(self._translation.feed(data))

    def end(self) -> bytes:
        """The streamed body is complete: what is left of it.

        Raises:
            AnswerSizeError: As `feed`.
        """
        data = self._recorded(self._events.finish())
        if self._translation is not None:
            data = self._kept(self._translation.feed(data) + self._translation.end())
            if not self._translation.complete:
                return data + self.broken(ExpertStreamBroken(self.expert, "the stream ends without a reason to"))
        if not self._failed:
            for recording in self._recordings:
                recording.complete()
        self._finish(self.status)
        return data

    def broken(self, error: ExpertError) -> bytes:
        """The expert broke the stream off: the event that says so, in place of a clean end."""
        self._fail(error.message)
        self._finish(502)
        refusal = refusal_for(error, self._routed.decision.id)
        if self._translation is not None:
            return self._translation.broken(refusal)
        return refusal_event(refusal, self._routed.inbound.asked)

    def cancelled(self, status: int = CLIENT_LEFT) -> None:
        """It goes no further. Idempotent; nothing where the answer had ended before.

        Args:
            status: Why: the client left, or the gateway itself failed.
        """
        self._finish(status)

    def _fail(self, why: str) -> None:
        self._attempt.flight.fail(why)
        _log.warning("%s: stream broken: %s", self.expert, why[:_MOST_LOGGED])
        self._recorder.broken(self.expert)

    def _finish(self, status: int) -> None:
        if not self._over:
            self._over = True
            events = self._events
            self._recorder.finish(self._routed, self._attempt, status, events.usage, complete=events.usage_complete)

    def _remember(self, made: Set[str]) -> None:
        """What a later request may name: known before the client can have read of it."""
        if self._made is not None and not made <= self._made:
            self._recorder.remember_ids(self._routed, self.expert, made - self._made)
            self._made |= made

    def _recorded(self, data: bytes) -> bytes:
        if data:
            for recording in self._recordings:
                recording.feed(data)
        return data

    def _kept(self, events: bytes) -> bytes:
        """What goes to the client, as it is; its turn is kept where it ends there."""
        return events if self._turn is None or not events else self._turn.events(events)

    def _account_for(self, whole: WholeAnswer) -> None:
        self._over = True
        self.body = whole.body
        # What a translation writes is JSON, whatever came; so is an error.
        written = whole.rewritten or whole.error is not None or self._translation is not None
        self._kind = JSON_TYPE if written else None
        self._recorder.first_byte(self._attempt)
        if whole.error is not None:
            asked = self._routed.inbound.asked
            self.body = client_error(asked, self.status, whole.body, whole.error, self._private)
        else:
            for recording in self._recordings:
                recording.whole(whole.body)
            self._remember(whole.made)
            if self._translation is not None:
                self._translate(whole.body, self._translation)
            self._tell_as_events()
        self._recorder.finish(self._routed, self._attempt, self.status, whole.usage)

    def _tell_as_events(self) -> None:
        """An answer in one piece goes out as events where the client asked for a stream: it reads nothing else."""
        inbound = self._routed.inbound
        if not inbound.stream or self.status >= 400 or self.body is None:
            return
        options = inbound.payload.get("stream_options")
        with_usage = isinstance(options, dict) and options.get("include_usage") is True
        events = events_of(inbound.asked, self.body, with_usage=with_usage)
        if events is not None:
            self.body, self._kind = events, EVENTS_TYPE

    def _translate(self, body: bytes, translation: AnswerTranslation) -> None:
        """Put a whole answer into the client's shape; one that cannot be read is an error of the expert."""
        self.body = translation.whole(body)
        if self.body is None:
            error = ExpertProtocolError(self.expert, "the answer is no chat completion")
            self._attempt.flight.fail(error)
            _log.warning("%s: %s", self.expert, error.message)
            refusal = refusal_for(error, self._routed.decision.id)
            self.status = refusal.status
            self.body = refusal_body(refusal, path_of(self._routed.inbound.asked))
        elif self._turn is not None:
            self._turn.whole(self.body)
