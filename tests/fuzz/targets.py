"""What is fuzzed: one function a parser, from any bytes, with what must hold whatever they are.

A target raises where something does not hold. The same functions run under coverage guidance (`python -m tests.fuzz`)
and on what hypothesis makes (`test_targets.py`).
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

import orjson

from pointsman.experts.http1.connection import MAX_HEAD_BYTES, Connection
from pointsman.experts.http1.failures import HttpFailure
from pointsman.experts.http1.origin import Origin
from pointsman.experts.http1.redirects import with_target
from pointsman.experts.http1.response import Carrier, Headers
from pointsman.experts.http1.upstream_request import UpstreamRequest
from pointsman.experts.protocols import Endpoint
from pointsman.gateway.errors import RequestRefused
from pointsman.gateway.wire.budget import parse_budget, parse_session
from pointsman.gateway.wire.caching import parse_caching
from pointsman.gateway.wire.evidence import parse_evidence
from pointsman.gateway.wire.flags import take_flags
from pointsman.gateway.wire.reply import EventStream
from pointsman.gateway.wire.request import expert_body, parse_inbound, strip_routing
from pointsman.gateway.wire.server_events import events_in
from pointsman.gateway.wire.transcript import Transcript, text_of_whole
from pointsman.gateway.wire.translation import TranslatedRequest
from pointsman.gateway.wire.urgency import parse_urgency
from pointsman.routers.null_experts.calculator import calculate
from pointsman.routers.null_experts.guards import signature
from pointsman.routers.selection.flags import EITHER_END
from pointsman.routers.types import Budget
from tests.fuzz.connection import connection

_LAST: Final = ("message_stop", "response.completed", "response.incomplete", "error")
_TEXTS: Final = (Endpoint.COMPLETIONS, Endpoint.CHAT)
_OTHERS: Final = tuple(endpoint for endpoint in Endpoint if endpoint not in _TEXTS)
_HEADER_NAMES: Final = (
    b"cache-control", b"x-pointsman-session", b"x-pointsman-max-energy-j", b"x-pointsman-max-cost-usd",
    b"x-pointsman-weight-cost", b"x-pointsman-min-quality", b"x-pointsman-priority", b"x-pointsman-deadline-ms",
)  # fmt: skip


def request(data: bytes) -> None:
    """A client's body: refused with an error it can read, or passed on so that every reader finds the same model.

    The first byte chooses the endpoint, the second which header states the third; the rest is the body.
    """
    if len(data) < 3:
        return
    other = data[0] >> 5
    endpoint = _OTHERS[other - 1] if 0 < other <= len(_OTHERS) else _TEXTS[data[0] & 1]
    headers = {_HEADER_NAMES[data[1] % len(_HEADER_NAMES)]: data[2:].partition(b"{")[0][:20]} if data[0] & 2 else {}
    body = data[2:] if not headers else b"{" + data[2:].partition(b"{")[2]
    refusal = None
    try:
        inbound = parse_inbound(endpoint, body)
        routing = strip_routing(inbound)
        budget, _ = parse_budget(routing, headers, Budget())
        parse_session(routing, headers)
        parse_evidence(routing)
        parse_urgency(routing, headers)
        parse_caching(routing, headers)
        if data[0] & 4 and inbound.endpoint.writes:
            take_flags(inbound, budget, EITHER_END)
    except RequestRefused as refused:
        refusal = refused
    if refusal is not None:
        assert 400 <= refusal.status < 500, refusal
        assert orjson.loads(refusal.body())["error"]["message"]
        return
    assert inbound.prompt_tokens >= 0
    assert all(cap is None or math.isfinite(cap) for cap in (budget.max_energy_j, budget.max_cost_usd))
    calculate(inbound.text)
    signature(inbound.text)
    for model in ("an/expert-7b", inbound.model):
        _one_reading(expert_body(inbound, model), model)
        if inbound.translated is not None:
            _one_reading(inbound.translated.body_for(model), model)


def _one_reading(body: bytes, model: str) -> None:
    """Whether a reader takes the first or the last of two like fields: it reads this model, and nothing of ours."""
    pairs: list[tuple[str, Any]] = []

    def outermost(found: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs[:] = found  # objects end from the inside out
        return dict(found)

    json.loads(body, object_pairs_hook=outermost)
    assert [value for name, value in pairs if name == "model"] == [model], body
    assert all(name != "routing" for name, _ in pairs)


def events(data: bytes) -> None:
    """An expert's events: however they are split, the same bytes leave, and the end is seen the same.

    The first eight bytes say where the rest is split.
    """
    cuts, said = data[:8], data[8:]
    names = ("inner", "outer")
    for name in names:
        whole, split = EventStream(name), EventStream(name)
        at_once = whole.feed(said) + whole.finish()
        edges = [0, *sorted(cut * len(said) // 255 for cut in cuts), len(said)]
        pieces = [split.feed(said[start:end]) for start, end in pairwise(edges)]
        assert b"".join(pieces) + split.finish() == at_once
        assert (split.done, split.usage) == (whole.done, whole.usage)
        assert whole.usage is None or min(whole.usage.prompt_tokens, whole.usage.completion_tokens) >= 0
        if b'"model"' not in said:
            assert at_once == said
    transcript = Transcript(1_000_000)
    transcript.feed(said)
    transcript.text()
    text_of_whole(said)


def translated(data: bytes) -> None:
    """An expert's chat answer, whole and as events, in the words of the other APIs: events that can be read, one end.

    The first byte says what the client asked for.
    """
    asked = {"tools": [], "metadata": {"a": "b"}, "thinking": {"type": "enabled"}} if data[:1] < b"\x80" else {}
    for endpoint in (Endpoint.MESSAGES, Endpoint.RESPONSES):
        translated = TranslatedRequest(endpoint, b"", asked)
        translated.translation("1", "m", 1).whole(data[1:])
        translation, stream = translated.translation("1", "m", 1), EventStream("m")
        events = translation.feed(stream.feed(data[1:])) + translation.feed(stream.finish()) + translation.end()
        kinds = []
        for name, said in events_in(events):
            if said:
                kinds.append(orjson.loads(said)["type"])
                assert name == kinds[-1].encode()
        ends = [kind for kind in kinds if kind in _LAST]
        assert len(ends) == translation.complete
        assert not ends or kinds[-1] in _LAST


class _Transport(asyncio.Transport):
    """Takes what is written and says that it is open until it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = self.paused = False

    def write(self, data: Any) -> None:
        """Nobody reads it."""

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class _Owner:
    @staticmethod
    def translate(failure: HttpFailure) -> Exception:
        return failure

    def send_again(self, request: UpstreamRequest) -> None:
        raise AssertionError("the connection was new")

    def released(self, connection: Connection) -> None:
        """Nobody asks again."""

    def lost(self, connection: Connection) -> None:
        """Nor looks for it."""

    def redirected(self, request: UpstreamRequest, location: bytes) -> bool:
        """A redirect is one of the answers, whatever place it names."""
        message = with_target(b"POST / HTTP/1.1\r\nhost: a\r\n\r\n", Origin.parse("http://a"), location)
        assert message is None or message.count(b"\r\n") == 3, message
        return False

    def compressed(self) -> None:
        """It is read all the same."""


class _Sink:
    """Keeps a response."""

    def __init__(self) -> None:
        self.carrier: Carrier | None = None
        self.sent_twice = False
        self.status = 0
        self.headers: Headers = ()
        self.body = b""
        self.ends: list[str | None] = []

    def push(self, data: bytes) -> int:
        assert self.status, "no body before a head"
        self.body += data
        return 0

    def wake(self) -> None:
        assert not self.ends, "nothing comes after the end"

    def finish(self, failure: Exception | None) -> None:
        self.ends.append(None if failure is None else type(failure).__name__)


class _Loop(asyncio.AbstractEventLoop):
    """Time stands still, and timers never fire."""

    def time(self) -> float:
        return 0.0

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        return asyncio.TimerHandle(when, callback, args, self)

    def get_debug(self) -> bool:
        return False

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It would not have fired."""


_LOOP: Final = _Loop()


def _received(said: bytes, edges: list[int]) -> _Sink:
    connection, sink, transport = Connection(_Owner(), _LOOP), _Sink(), _Transport()
    connection.connection_made(transport)
    connection.send(UpstreamRequest(b"", sink, 30.0, 30.0))
    for start, end in pairwise(edges):
        if transport.closing:
            break
        connection.data_received(said[start:end])
    connection.connection_lost(None)
    return sink


def response(data: bytes) -> None:
    """Bytes of an expert's connection: one end, bounded, the same however they are split, and no header that is two.

    The first four bytes say where the rest is split.
    """
    cuts, said = data[:4], data[4:]
    split = _received(said, [0, *sorted(cut * len(said) // 255 for cut in cuts), len(said)])
    assert len(split.ends) == 1, split.ends
    assert split.status == 0 or 200 <= split.status < 600
    for name, value in split.headers:
        assert not {*name, *value} & {*b"\r\n\0"}, (name, value)
    assert sum(len(name) + len(value) for name, value in split.headers) <= 2 * MAX_HEAD_BYTES + len(said)
    whole = _received(said, [0, len(said)])
    assert (whole.status, whole.headers) == (split.status, split.headers)
    assert whole.ends == split.ends
    assert whole.body == split.body or whole.ends != [None]


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "request": request,
    "events": events,
    "translated": translated,
    "response": response,
    "connection": connection,
}
