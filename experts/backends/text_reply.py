"""A reply from a source that yields text in pieces, with the format and timeouts that a call asks for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

from pointsman.experts.backends.openai_wire import DONE, JSON_HEADERS, SSE_HEADERS, AnswerWriter, wants_usage_chunk
from pointsman.experts.errors import ExpertTimeout
from pointsman.experts.http1.client import Timeouts
from pointsman.experts.protocols import ExpertCall, Headers
from pointsman.experts.spec import ExpertSpec, Usage

#: Pieces of the answer's text; a `Usage` among them says what it took. Closing it ends the work behind it.
Texts = AsyncGenerator[str | Usage, None]


class TextReply:
    """See `pointsman.experts.protocols.ExpertReply`; `reply_with` makes one."""

    status = 200

    def __init__(self, spec: ExpertSpec, call: ExpertCall, texts: Texts, first: str | Usage, idle_s: float) -> None:
        self.headers: Headers = SSE_HEADERS if call.stream else JSON_HEADERS
        self._name = spec.name
        self._texts = texts
        self._first = first
        self._idle_s = idle_s
        self._with_usage = call.stream and wants_usage_chunk(call.payload)
        self._answer = AnswerWriter(
            call.endpoint, call.request_id, int(time.time()), spec.model, with_usage_field=self._with_usage
        )
        self._usage: Usage | None = None
        self._body = self._stream() if call.stream else self._whole()

    def __aiter__(self) -> AsyncGenerator[bytes, None]:
        return self._body

    async def aclose(self) -> None:
        """Stop, and end the work behind it. Idempotent."""
        await self._body.aclose()
        await self._texts.aclose()

    async def _whole(self) -> AsyncGenerator[bytes, None]:
        text = "".join([piece async for piece in self._pieces()])
        yield self._answer.whole(text, "stop", self._usage)

    async def _stream(self) -> AsyncGenerator[bytes, None]:
        if opening := self._answer.opening():
            yield opening
        async for piece in self._pieces():
            yield self._answer.piece(piece)
        yield self._answer.closing("stop")
        # A usage that nobody knows is left out, never 0.
        if self._with_usage and self._usage is not None:
            yield self._answer.usage(self._usage)
        yield DONE

    async def _pieces(self) -> AsyncGenerator[str, None]:
        piece: str | Usage | None = self._first
        while piece is not None:
            if isinstance(piece, Usage):
                self._usage = piece
            elif piece:
                yield piece
            try:
                async with asyncio.timeout(self._idle_s):
                    piece = await anext(self._texts, None)
            except TimeoutError:
                raise ExpertTimeout(self._name, f"no text for {self._idle_s:g} s") from None


async def reply_with(spec: ExpertSpec, call: ExpertCall, texts: Texts, timeouts: Timeouts) -> TextReply:
    """The answer to a call, once the first of its text is here.

    Args:
        spec: Whose answer it is.
        call: The call.
        texts: Where the text comes from. It may raise `ExpertError`, and is closed where the call is left.
        timeouts: Of a call that states none.

    Raises:
        ExpertError: No text came in time, or what `texts` raises before the first.
    """
    head_s = call.head_timeout_s or timeouts.head_s
    try:
        async with asyncio.timeout(head_s):
            first = await anext(texts, "")
    except TimeoutError:
        raise ExpertTimeout(spec.name, f"no answer within {head_s:g} s") from None
    return TextReply(spec, call, texts, first, call.idle_timeout_s or timeouts.idle_s)
