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


class RequestOutcome(StrEnum):
    """What became of a request."""

    ANSWERED = "answered"
    REFUSED = "refused"  # an HTTP error or an error event, with a code
    LEFT = "left"  # the client itself left
    LOST = "lost"  # neither complete nor ended by an error


class ClientBehaviour(StrEnum):
    """How a client behaves."""

    WHOLE = "whole"
    STREAM = "stream"
    SLOW_READER = "slow reader"
    LEAVER = "leaver"


@dataclass(frozen=True, slots=True)
class LoadRequest:
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
    client: ClientBehaviour
    outcome: RequestOutcome
    detail: str


#: Of ten requests. Latency is reported of whole answers, whose time is the gateway's and the expert's alone.
_MIX: Final = (
    *(ClientBehaviour.WHOLE,) * 6,
    *(ClientBehaviour.STREAM,) * 2,
    ClientBehaviour.SLOW_READER,
    ClientBehaviour.LEAVER,
)


class SteadyLoad:
    """Sends requests at a steady rate, whatever becomes of those before.

    Args:
        url: The gateway.
        per_s: Requests a second.
    """

    def __init__(self, url: str, per_s: float) -> None:
        self._url = f"{url}/v1/chat/completions"
        self._interval_s = 1 / per_s
        self.sent = 0
        self.requests: list[LoadRequest] = []
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

    async def _send(self, http: aiohttp.ClientSession, client: ClientBehaviour, number: int) -> None:
        sent_s = self.now_s()
        prompt = f"{number}: {_PROMPTS[number % len(_PROMPTS)]}" + _LONG * (number % 2)
        body = {
            "model": "auto",
            "messages": [{"role": "user", "content": prompt}],
            "stream": client is not ClientBehaviour.WHOLE,
        }
        try:
            async with http.post(self._url, json=body) as reply:
                outcome, detail = await _read(reply, client)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            outcome, detail = RequestOutcome.LOST, f"{type(error).__name__}: {error}"
        self.requests.append(LoadRequest(sent_s, (self.now_s() - sent_s) * 1e3, client, outcome, detail))


async def _read(reply: aiohttp.ClientResponse, client: ClientBehaviour) -> tuple[RequestOutcome, str]:
    if client is ClientBehaviour.WHOLE or reply.status != 200:
        return _whole(reply.status, await reply.read())
    if client is ClientBehaviour.LEAVER:
        await reply.content.readany()
        reply.close()
        return RequestOutcome.LEFT, ""
    received = b""
    async for piece in reply.content.iter_any():
        received += piece
        if client is ClientBehaviour.SLOW_READER:
            await asyncio.sleep(0.1)
    return _streamed(received)


def _whole(status: int, body: bytes) -> tuple[RequestOutcome, str]:
    try:
        answer = json.loads(body)
    except ValueError:
        return RequestOutcome.LOST, f"status {status} without a JSON body"
    if status == 200:
        return (
            (RequestOutcome.ANSWERED, "") if answer.get("choices") else (RequestOutcome.LOST, "200 without an answer")
        )
    code = (answer.get("error") or {}).get("code")
    return (
        (RequestOutcome.REFUSED, f"{status} {code}")
        if code
        else (RequestOutcome.LOST, f"status {status} without a code")
    )


def _streamed(received: bytes) -> tuple[RequestOutcome, str]:
    events = [line[6:] for line in received.split(b"\n") if line.startswith(b"data: ")]
    for event in events:
        if event.startswith(b'{"error"'):
            return RequestOutcome.REFUSED, f"event {json.loads(event)['error'].get('code')}"
    if events and events[-1].strip() == b"[DONE]":
        return RequestOutcome.ANSWERED, ""
    return RequestOutcome.LOST, f"a stream that broke off after {len(events)} events"
