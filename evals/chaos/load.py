"""An open-loop load of many kinds of clients over real connections; every request ends in exactly one outcome."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import aiohttp

#: A client waits so long; an answer that takes longer counts as lost.
_PATIENCE_S: Final = 20.0
_PROMPTS: Final = (
    "Write a Python function that merges two sorted lists.",
    "What is the derivative of x squared times sine of x?",
    "Tell me about the history of the lighthouse.",
)
#: So long that the gateway asks Redis before it assesses it.
_LONG: Final = " and consider this as well, in all its detail" * 250


class Outcome(StrEnum):
    """What became of a request."""

    ANSWERED = "answered"
    REFUSED = "refused"  # an HTTP error or an error event, with a code
    LEFT = "left"  # the client itself left
    LOST = "lost"  # neither complete nor ended by an error


class Client(StrEnum):
    """How a client behaves."""

    WHOLE = "whole"
    STREAM = "stream"
    SLOW_READER = "slow reader"
    LEAVER = "leaver"


@dataclass(frozen=True, slots=True)
class Request:
    """One request and its end.

    Attributes:
        sent_s: When, from the start of the run.
        latency_ms: Until the last byte, the error, or the client's leaving.
        client: Who sent it.
        outcome: What became of it.
        detail: The error code of a refusal; what was seen of a lost one.
    """

    sent_s: float
    latency_ms: float
    client: Client
    outcome: Outcome
    detail: str


#: Of ten requests. Latency is reported of whole answers, whose time is the gateway's and the expert's alone.
_MIX: Final = (
    *(Client.WHOLE,) * 6,
    *(Client.STREAM,) * 2,
    Client.SLOW_READER,
    Client.LEAVER,
)


class Load:
    """Sends requests at a steady rate, whatever becomes of those before.

    Args:
        url: The gateway.
        per_s: Requests a second.
    """

    def __init__(self, url: str, per_s: float) -> None:
        self._url = f"{url}/v1/chat/completions"
        self._interval_s = 1 / per_s
        self.sent = 0
        self.requests: list[Request] = []
        self.began_s = time.perf_counter()

    def now_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.began_s

    async def run(self, stop: asyncio.Event) -> None:
        """Send until told to stop, then wait for the last answers."""
        mix = itertools.cycle(_MIX)
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=_PATIENCE_S)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
            asyncio.TaskGroup() as group,
        ):
            due_s = self.now_s()
            while not stop.is_set():
                self.sent += 1
                group.create_task(self._send(http, next(mix), self.sent))
                due_s += self._interval_s
                await asyncio.sleep(max(0.0, due_s - self.now_s()))

    async def _send(self, http: aiohttp.ClientSession, client: Client, number: int) -> None:
        sent_s = self.now_s()
        prompt = f"{number}: {_PROMPTS[number % len(_PROMPTS)]}" + _LONG * (number % 2)
        body = {
            "model": "auto",
            "messages": [{"role": "user", "content": prompt}],
            "stream": client is not Client.WHOLE,
        }
        try:
            async with http.post(self._url, json=body) as reply:
                outcome, detail = await _read(reply, client)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            outcome, detail = Outcome.LOST, f"{type(error).__name__}: {error}"
        self.requests.append(Request(sent_s, (self.now_s() - sent_s) * 1e3, client, outcome, detail))


async def _read(reply: aiohttp.ClientResponse, client: Client) -> tuple[Outcome, str]:
    if client is Client.WHOLE or reply.status != 200:
        return _whole(reply.status, await reply.read())
    if client is Client.LEAVER:
        await reply.content.readany()
        reply.close()
        return Outcome.LEFT, ""
    received = b""
    async for piece in reply.content.iter_any():
        received += piece
        if client is Client.SLOW_READER:
            await asyncio.sleep(0.1)
    return _streamed(received)


def _whole(status: int, body: bytes) -> tuple[Outcome, str]:
    try:
        answer = json.loads(body)
    except ValueError:
        return Outcome.LOST, f"status {status} without a JSON body"
    if status == 200:
        return (Outcome.ANSWERED, "") if answer.get("choices") else (Outcome.LOST, "200 without an answer")
    code = (answer.get("error") or {}).get("code")
    return (Outcome.REFUSED, f"{status} {code}") if code else (Outcome.LOST, f"status {status} without a code")


def _streamed(received: bytes) -> tuple[Outcome, str]:
    events = [line[6:] for line in received.split(b"\n") if line.startswith(b"data: ")]
    for event in events:
        if event.startswith(b'{"error"'):
            return Outcome.REFUSED, f"event {json.loads(event)['error'].get('code')}"
    if events and events[-1].strip() == b"[DONE]":
        return Outcome.ANSWERED, ""
    return Outcome.LOST, f"a stream that broke off after {len(events)} events"
