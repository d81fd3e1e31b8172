"""What a stream says first, however it is written."""

from __future__ import annotations

import pytest

from pointsman.gateway.wire.expert_errors import StatedError
from pointsman.gateway.wire.first_event import StreamPhase, beginning, error_within

CHUNK = b'data: {"choices":[{"delta":{"content":"hi"}}]}'
ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}'
ERROR = b'data: {"error":{"message":"engine dead","code":500}}'


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(
    "lines",
    [
        (b"",),
        (b": OPENROUTER PROCESSING", b""),
        (b"event: ping", b'data: {"type": "ping"}', b""),
        (b"event: ping", b"data: {}", b""),
        (b"retry: 3000", b""),
        (b"id: 1", b"", b": still here", b""),
        (CHUNK,),
        (ERROR,),
        (b"data:", b'data: {"error": {"mess'),
    ],
)
def test_nothing_is_said_yet(lines: tuple[bytes, ...], end: bytes) -> None:
    assert beginning(end.join((*lines, b"")) if lines[-1] == b"" else end.join(lines)) is StreamPhase.NOTHING


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(
    "lines",
    [
        (CHUNK, b""),
        (ROLE, b""),
        (b": comment", b"", CHUNK, b""),
        (b"event: message_start", b'data: {"type":"message_start","message":{}}', b""),
        (b'data: {"choices":[{"delta":{"content":"an error: \\"error\\": {"}}]}', b""),
        (b'data: {"choices":[{"delta":{"content":"x"}}],"error":null}', b""),
        (b'data: {"choices":[', b'data: {"delta":{"content":"over lines"}}]}', b""),
        (b"data: not JSON at all", b""),
        (CHUNK, b"", ERROR, b""),
    ],
)
def test_an_answer_begins(lines: tuple[bytes, ...], end: bytes) -> None:
    assert beginning(end.join((*lines, b""))) is StreamPhase.ANSWER


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(
    ("lines", "status", "words"),
    [
        ((ERROR, b"", b"data: [DONE]", b""), 500, "engine dead"),
        ((b": wait", b"", ERROR, b""), 500, "engine dead"),
        ((b'data:{"error":"plain"}', b""), 502, "plain"),
        ((b"event: error", b"data: boom", b""), 502, "boom"),
        ((b"event: error", b'data: {"code":"rate_limit_exceeded","message":"slow"}', b""), 429, "slow"),
        ((b"event: error", b'data: {"type":"error","error":{"type":"overloaded_error","message":"o"}}', b""), 529, "o"),
        ((b'data: {"type":"error","code":"server_error","message":"m","param":null}', b""), 500, "m"),
        ((ROLE, b"", ERROR, b""), 500, "engine dead"),
        (
            (
                b'data: {"type":"response.created","response":{"error":null}}',
                b"",
                b'data: {"type":"response.failed","response":{"error":{"code":"server_error","message":"m"}}}',
                b"",
            ),
            500,
            "m",
        ),
        ((b'data: {"error":', b'data: {"message":"over lines","code":503}}', b""), 503, "over lines"),
    ],
)
def test_an_error_before_anything_is_said(lines: tuple[bytes, ...], end: bytes, status: int, words: str) -> None:
    found = beginning(end.join((*lines, b"")))
    assert isinstance(found, StatedError)
    assert (found.status, found.message) == (status, words)


def test_a_stream_that_only_ends() -> None:
    assert beginning(b"data: [DONE]\n\n") is StreamPhase.ENDED
    assert beginning(b": hm\n\ndata: [DONE]\n\n") is StreamPhase.ENDED


def test_an_error_later_on_is_seen_and_no_text_is_one() -> None:
    found = error_within(CHUNK + b"\n\n" + ERROR + b"\n\n")
    assert found is not None
    assert found.message == "engine dead"
    assert error_within(b'data: {"choices":[{"delta":{"content":"\\"error\\": {\\"message\\": 1}"}}]}\n\n') is None
    assert error_within(CHUNK + b"\n\n") is None
