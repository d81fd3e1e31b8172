"""What one piece of a stream costs: many streams that are all open, and the server's processor time meanwhile.

Nothing begins or ends inside the window of measurement, so connections and heads are not in it.
"""

from __future__ import annotations

import asyncio
import json
import select
import socket
import time
from dataclasses import dataclass
from typing import Final

from pointsman.evals.bench import raw_http
from pointsman.evals.bench.wrk import cpu_ns

STREAMS: Final = 200
PIECES_PER_S: Final = 50.0
_RAMP_S, _SETTLE_S = 0.5, 0.5
_EVENT: Final = b"data:"


@dataclass(frozen=True, slots=True)
class StreamMeasurement:
    """One server under many streams.

    Attributes:
        name: The server.
        cpu_us: Its processor time for a piece, in microseconds.
        per_s: Pieces that arrived per second.
        per_read: Pieces in one read of the client: 1 where each is passed on as it comes.
        load_busy: Share of a core that client and upstream took together.
    """

    name: str
    cpu_us: float
    per_s: float
    per_read: float
    load_busy: float


def tokens(window_s: float) -> int:
    """How long the upstream's streams must be for a window of so many seconds."""
    return round(PIECES_PER_S * (_RAMP_S + 2 * _SETTLE_S + window_s))


async def cost_of_a_piece(name: str, url: str, pid: int, *, window_s: float, upstream_pid: int) -> StreamMeasurement:
    """Open the streams, wait until all run, measure, and read each to its end.

    Args:
        name: For the result.
        url: Server, without path.
        pid: Its process, whose processor time is counted, with that of its children.
        window_s: How long to measure.
        upstream_pid: The process that streams, to see whether the load's core keeps up.

    Raises:
        raw_http.UnexpectedAnswer: A stream did not come to its end, or nothing came.
    """
    return await asyncio.to_thread(_watch, name, url, pid, window_s, upstream_pid)


def _watch(name: str, url: str, pid: int, window_s: float, upstream_pid: int) -> StreamMeasurement:
    body = json.dumps({"model": "fake", "messages": [{"role": "user", "content": "hello"}], "stream": True})
    reader = _Reader(raw_http.request(url, body))
    try:
        began_s = time.perf_counter()
        for index in range(STREAMS):
            reader.read_until(began_s + _RAMP_S * index / STREAMS)
            reader.open(url)
        reader.read_until(began_s + _RAMP_S + _SETTLE_S)
        before_ns, busy_s, from_s = cpu_ns(pid), _busy_s(upstream_pid), time.perf_counter()
        pieces, reads = reader.pieces, reader.reads
        reader.read_until(from_s + window_s)
        spent_ns, seconds = cpu_ns(pid) - before_ns, time.perf_counter() - from_s
        pieces, reads = reader.pieces - pieces, reader.reads - reads
        busy = (_busy_s(upstream_pid) - busy_s) / seconds
        if not pieces:
            raise raw_http.UnexpectedAnswer(f"{name}: no piece came in {seconds:.1f} s")
        reader.read_to_the_end(limit_s=30.0)
    finally:
        reader.close()
    return StreamMeasurement(name, spent_ns / 1e3 / pieces, pieces / seconds, pieces / reads, busy)


class _Reader:
    """Streams on plain sockets: counts events and reads."""

    def __init__(self, message: bytes) -> None:
        self.pieces = 0
        self.reads = 0
        self._message = message
        self._poller = select.epoll()
        self._open: dict[int, socket.socket] = {}
        self._done: list[socket.socket] = []

    def open(self, url: str) -> None:
        """One more stream."""
        one = raw_http.connect(url)
        one.send(self._message)
        self._open[one.fileno()] = one
        self._poller.register(one, select.EPOLLIN)

    def read_until(self, end_s: float) -> None:
        """Read what comes until a moment of `time.perf_counter`."""
        while (left_s := end_s - time.perf_counter()) > 0:
            ready, _, _ = select.select([self._poller], [], [], left_s)
            for number, _ in self._poller.poll(0) if ready else ():
                self._read(number)

    def read_to_the_end(self, limit_s: float) -> None:
        """Read until every stream has ended."""
        end_s = time.perf_counter() + limit_s
        while self._open:
            if time.perf_counter() > end_s:
                raise raw_http.UnexpectedAnswer(f"{len(self._open)} streams did not end")
            self.read_until(time.perf_counter() + 0.05)

    def close(self) -> None:
        """Close everything."""
        self._poller.close()
        for one in (*self._open.values(), *self._done):
            one.close()

    def _read(self, number: int) -> None:
        part = self._open[number].recv(65536)
        if part.startswith(b"HTTP/"):
            raw_http.check(part)
        if not part:
            raise raw_http.UnexpectedAnswer("a stream broke off")
        self.reads += 1
        self.pieces += part.count(_EVENT)
        if b"[DONE]" in part:
            self._poller.unregister(number)
            self._done.append(self._open.pop(number))


def _busy_s(upstream_pid: int) -> float:
    """Processor time so far of what makes the load: this process and the upstream."""
    return time.process_time() + cpu_ns(upstream_pid) / 1e9
