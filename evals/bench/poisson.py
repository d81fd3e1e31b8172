"""Requests that arrive at random, whether or not earlier ones are answered: latency without saturation.

A load generator that waits for answers asks less of a server that stalls, and so hides the stall. Here latency counts
from the moment a request was due. Moments are met to some 50 µs (the kernel's timer slack): event loops, whose timers
end on whole milliseconds, would send bursts.
"""

from __future__ import annotations

import asyncio
import random
import select
import socket
import time
from collections import deque
from dataclasses import dataclass

import numpy as np

from pointsman.evals.bench import raw_http

_WARM_UP_S = 0.5


@dataclass(frozen=True, slots=True)
class Latency:
    """Of requests that arrived at random.

    Attributes:
        per_s: Answered requests per second.
        p50_ms: Median, from when a request was due to the end of its answer.
        p99_ms: 99th percentile.
    """

    per_s: float
    p50_ms: float
    p99_ms: float


async def arrivals(url: str, body: str, *, per_s: float, seconds: float, connections: int, seed: int) -> Latency:
    """Send one body at random moments over connections that are kept.

    Args:
        url: Server, without path.
        body: JSON.
        per_s: Mean number of requests per second.
        seconds: How long, after half a second that does not count.
        connections: How many at most; a request that finds none free waits, and its wait counts.
        seed: Of the moments.

    Raises:
        raw_http.UnexpectedAnswer: An answer is no 200, or none comes for ten seconds.
    """
    message = raw_http.request(url, body)
    return await asyncio.to_thread(_arrivals, url, message, per_s, seconds, connections, random.Random(seed))


def _arrivals(url: str, message: bytes, per_s: float, seconds: float, connections: int, rng: random.Random) -> Latency:
    poller = select.epoll()
    sockets: dict[int, socket.socket] = {}
    try:
        for _ in range(connections):
            one = raw_http.connect(url)
            sockets[one.fileno()] = one
            poller.register(one, select.EPOLLIN)
        latencies_s = _drive(poller, sockets, message, per_s, seconds, rng)
    finally:
        poller.close()
        for one in sockets.values():
            one.close()
    p50_s, p99_s = np.percentile(latencies_s, (50, 99))
    return Latency(len(latencies_s) / seconds, float(p50_s) * 1e3, float(p99_s) * 1e3)


def _drive(
    poller: select.epoll,
    sockets: dict[int, socket.socket],
    message: bytes,
    per_s: float,
    seconds: float,
    rng: random.Random,
) -> list[float]:
    """Latencies in seconds of what was due after the warm-up."""
    latencies_s: list[float] = []
    free, in_flight, received = list(sockets), dict[int, float](), dict.fromkeys(sockets, b"")
    waiting: deque[float] = deque()
    now_s = time.perf_counter()
    due_s, counts_from_s = now_s, now_s + _WARM_UP_S
    end_s = counts_from_s + seconds
    while due_s < end_s or waiting or in_flight:
        while due_s <= now_s and due_s < end_s:
            waiting.append(due_s)
            due_s += rng.expovariate(per_s)
        while waiting and free:
            number = free.pop()
            sockets[number].send(message)
            in_flight[number], received[number] = waiting.popleft(), b""
        pause_s = max(0.0, due_s - time.perf_counter()) if due_s < end_s else 10.0
        # epoll counts its own time-out in milliseconds, select in microseconds.
        ready, _, _ = select.select([poller], [], [], pause_s)
        if not ready and due_s >= end_s:
            raise raw_http.UnexpectedAnswer("no answer for ten seconds")
        now_s = time.perf_counter()
        for number, _ in poller.poll(0) if ready else ():
            part = sockets[number].recv(65536)
            if not part:
                raise raw_http.UnexpectedAnswer("the server closed a connection")
            received[number] += part
            raw_http.check(received[number])
            if raw_http.whole(received[number]):
                began_s = in_flight.pop(number)
                if began_s >= counts_from_s:
                    latencies_s.append(now_s - began_s)
                free.append(number)
    return latencies_s
