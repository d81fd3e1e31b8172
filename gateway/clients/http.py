"""The gateway's HTTP API from Python, with and without asyncio: bodies in, bodies and events out, errors raised."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import httpx

#: Seconds until a connection stands; an answer may take the whole timeout.
_CONNECT_S: Final = 5.0


class GatewayError(Exception):
    """The gateway, or the expert behind it, gave an error in place of an answer, or in its middle.

    Attributes:
        status: HTTP status; 200 where a stream had begun.
        code: Machine-readable, e.g. `budget_infeasible`; None where the answer was none of ours.
        param: The field at fault, e.g. `routing.max_energy_j`.
        reason: The enumerated rule behind it.
        decision_id: The decision that refused, where there was one.
        retry_after_s: When trying again may help.
    """

    def __init__(self, status: int, error: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        super().__init__(str(error.get("message") or f"HTTP status {status}"))
        self.status = status
        self.code: str | None = error.get("code")
        self.param: str | None = error.get("param")
        self.reason: str | None = error.get("reason") or headers.get("x-pointsman-reason")
        self.decision_id: str | None = headers.get("x-pointsman-decision")
        after = headers.get("retry-after", "")
        self.retry_after_s: float | None = float(after) if after.isdigit() else None


class Events:
    """Server-sent events out of pieces of any size.

    Lines end at line feeds alone: an answer may hold any other character that Python takes for the end of a line.
    """

    def __init__(self) -> None:
        self._rest = b""
        self.done = False

    def feed(self, piece: bytes) -> list[dict[str, Any]]:
        """The JSON events that are complete now; `done` is set once the stream has said that it is."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        events: list[dict[str, Any]] = []
        for line in lines:
            data = line.removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
            if data == b"[DONE]":
                self.done = True
            elif data:
                events.append(json.loads(data))
        return events


class GatewayHttp:
    """Connections to one gateway.

    Args:
        base_url: Up to and with `/v1`.
        api_key: Sent as a bearer token.
        timeout_s: How long an answer, or the next piece of one, may take.
        connect_retries: How often a connection that could not be made is tried again. What has reached the gateway
            is never sent twice: it falls back to other experts by itself.
    """

    def __init__(self, base_url: str, api_key: str | None, timeout_s: float, connect_retries: int) -> None:
        self._base_url = base_url.rstrip("/") + "/"
        self._headers = {} if api_key is None else {"authorization": f"Bearer {api_key}"}
        self._timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S))
        self._retries = connect_retries
        self._client: httpx.Client | None = None
        # Connections belong to the event loop they were opened in.
        self._async_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()

    def post(self, path: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], httpx.Headers]:
        """The answer to a body, and its headers.

        Raises:
            GatewayError: It is an error.
        """
        return _read(self._open().post(path, json=body))

    async def apost(self, path: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], httpx.Headers]:
        """As `post`."""
        return _read(await self._aopen().post(path, json=body))

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[tuple[httpx.Headers, Iterator[dict[str, Any]]]]:
        """The headers of a streamed answer, and its events as they come.

        Raises:
            GatewayError: It is an error, becomes one, or ends before it said so.
        """
        with self._open().stream("POST", path, json=body) as response:
            if response.is_error:
                response.read()
                _read(response)
            yield response.headers, _events(response)

    @asynccontextmanager
    async def astream(
        self, path: str, body: Mapping[str, Any]
    ) -> AsyncIterator[tuple[httpx.Headers, AsyncIterator[dict[str, Any]]]]:
        """As `stream`; leaving early ends the call at the expert."""
        async with self._aopen().stream("POST", path, json=body) as response:
            if response.is_error:
                await response.aread()
                _read(response)
            yield response.headers, _aevents(response)

    def close(self) -> None:
        """Close the connections made without asyncio."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def aclose(self) -> None:
        """Close the connections made in this event loop."""
        client = self._async_clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def _open(self) -> httpx.Client:
        if self._client is None:
            self._client = httpx.Client(
                base_url=self._base_url,
                headers=self._headers,
                timeout=self._timeout,
                transport=httpx.HTTPTransport(retries=self._retries),
            )
        return self._client

    def _aopen(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        client = self._async_clients.get(loop)
        if client is None:
            client = self._async_clients[loop] = httpx.AsyncClient(
                base_url=self._base_url,
                headers=self._headers,
                timeout=self._timeout,
                transport=httpx.AsyncHTTPTransport(retries=self._retries),
            )
        return client


def _read(response: httpx.Response) -> tuple[dict[str, Any], httpx.Headers]:
    try:
        body = response.json()
    except ValueError:
        body = None
    error = body.get("error") if isinstance(body, dict) else {"message": "the answer is not a JSON object"}
    if response.is_error or not isinstance(body, dict):
        raise GatewayError(response.status_code, error if isinstance(error, dict) else {}, response.headers)
    return body, response.headers


def _checked(event: dict[str, Any], response: httpx.Response) -> dict[str, Any]:
    error = event.get("error")
    if isinstance(error, dict):
        raise GatewayError(response.status_code, error, response.headers)
    return event


def _ended(events: Events, response: httpx.Response) -> None:
    if not events.done:
        raise GatewayError(response.status_code, {"message": "the stream broke off"}, response.headers)


def _events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    events = Events()
    for piece in response.iter_bytes():
        for event in events.feed(piece):
            yield _checked(event, response)
    _ended(events, response)


async def _aevents(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    events = Events()
    async for piece in response.aiter_bytes():
        for event in events.feed(piece):
            yield _checked(event, response)
    _ended(events, response)
