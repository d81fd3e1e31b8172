"""Server-sent events in every form that their specification allows."""

from __future__ import annotations

import pytest

from pointsman.gateway.wire.reply import EventStream
from pointsman.gateway.wire.server_events import are_events, events_in


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_end_as_they_like(end: bytes) -> None:
    lines = [b"event: a", b"data: 1", b"data:2", b"", b": comment", b"", b"id: 7", b"retry: 5", b"data:  3", b"", b""]
    assert list(events_in(end.join(lines))) == [(b"a", b"1\n2"), (b"", b""), (b"", b" 3")]


def test_a_mark_at_the_beginning_and_no_end_at_the_end() -> None:
    assert list(events_in(b"\xef\xbb\xbfdata: 1\n\ndata: 2")) == [(b"", b"1"), (b"", b"2")]


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"data: 1", True),
        (b"\xef\xbb\xbf\n: x", True),
        (b"event: a\n", True),
        (b'{"data:":1}', False),
        (b"[1]", False),
        (b"", False),
        (b"<html>", False),
    ],
)
def test_events_are_known_from_documents(body: bytes, events: bool) -> None:
    assert are_events(body) is events


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n"])
def test_whole_events_pass_as_they_come(end: bytes) -> None:
    said = [b'data: {"model":"theirs"}', b"data: [DONE]"]
    stream = EventStream("ours")
    out = [stream.feed(bytes([byte])) for byte in end.join([*said, b""])]
    assert b"".join(out).startswith(b'data: {"model":"ours"}' + end[:2])
    assert b"".join(out) + stream.finish() == end.join([said[0].replace(b"theirs", b"ours"), said[1], b""])
    assert stream.done
    # The first went out before the second was there.
    assert sum(bool(one) for one in out) >= 2
