"""A Python client of the gateway's HTTP API, with and without asyncio: it returns bodies and events, or raises."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import httpx

#: Seconds until a connection stands; an answer may take the whole timeout.
_CONNECT_S: Final = 5.0

#: Options of a call, as OpenAI's client names them and as httpx does.
_OPTIONS: Final[Mapping[str, str]] = {"extra_headers": "headers", "extra_query": "params", "timeout": "timeout"}

#: The JSON of an event of a stream; with the first one, the headers of the response.
Event: TypeAlias = tuple[dict[str, Any], httpx.Headers | None]


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
    """The server-sent events of a response, out of pieces of any size.

    Lines end at line feeds alone: an answer may hold any other character that Python takes for the end of a line.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._headers: httpx.Headers | None = response.headers
        self._rest = b""
        self._done = False

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The events that are complete now.

        Raises:
            GatewayError: One of them tells of an error.
        """
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            data = line.removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
            if data == b"[DONE]":
                self._done = True
            elif data:
                event = json.loads(data)
                if isinstance(error := event.get("error"), dict):
                    raise GatewayError(self._response.status_code, error, self._response.headers)
                yield event, self._headers
                self._headers = None

    def end(self) -> None:
        """Nothing more comes.

        Raises:
            GatewayError: The stream did not say that it was done.
        """
        if not self._done:
            raise GatewayError(self._response.status_code, {"message": "the stream broke off"}, self._response.headers)


class GatewayHttpClient:
    """Connections to one gateway.

    Args:
        base_url: Up to and with `/v1`.
        api_key: Sent as a bearer token.
        timeout_s: How long an answer, or the next piece of one, may take.
        connect_retries: How often a connection that could not be made is tried again. What has reached the gateway
            is never sent twice: it falls back to other experts by itself.
    """

    def __init__(self, base_url: str, api_key: str | None, timeout_s: float, connect_retries: int) -> None:
        self._settings: dict[str, Any] = {
            "base_url": base_url.rstrip("/") + "/",
            "headers": {} if api_key is None else {"authorization": f"Bearer {api_key}"},
            "timeout": httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S)),
        }
        self._retries = connect_retries
        self._client: httpx.Client | None = None
        # Connections belong to the event loop they were opened in.
        self._async_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()

    def post(self, path: str, body: Mapping[str, Any], **options: Any) -> tuple[dict[str, Any], httpx.Headers]:
        """The answer to a body, and its headers.

        Args:
            path: Below the base URL.
            body: To be sent as JSON.
            options: Of this call alone, as OpenAI's client names them: `extra_headers`, `extra_query`, and `timeout`
                in seconds or as httpx has it.

        Raises:
            GatewayError: It is an error.
        """
        return _read(self._open().post(path, json=body, **_options(options)))

    async def apost(self, path: str, body: Mapping[str, Any], **options: Any) -> tuple[dict[str, Any], httpx.Headers]:
        """As `post`."""
        return _read(await self._aopen().post(path, json=body, **_options(options)))

    def stream(self, path: str, body: Mapping[str, Any], **options: Any) -> Generator[Event, None, None]:
        """The events of a streamed answer as they come; `options` as of `post`.

        Raises:
            GatewayError: It is an error, becomes one, or ends before it said so.
        """
        with self._open().stream("POST", path, json=body, **_options(options)) as response:
            if not response.is_success:
                response.read()
                _read(response)
            events = Events(response)
            for piece in response.iter_bytes():
                yield from events.feed(piece)
            events.end()

    async def astream(self, path: str, body: Mapping[str, Any], **options: Any) -> AsyncGenerator[Event, None]:
        """As `stream`; closing it early ends the call at the expert."""
        async with self._aopen().stream("POST", path, json=body, **_options(options)) as response:
            if not response.is_success:
                await response.aread()
                _read(response)
            events = Events(response)
            async for piece in response.aiter_bytes():
                for event in events.feed(piece):
                    yield event
            events.end()

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
            self._client = httpx.Client(**self._settings, transport=httpx.HTTPTransport(retries=self._retries))
        return self._client

    def _aopen(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        client = self._async_clients.get(loop)
        if client is None:
            transport = httpx.AsyncHTTPTransport(retries=self._retries)
            client = self._async_clients[loop] = httpx.AsyncClient(**self._settings, transport=transport)
        return client


def _options(stated: Mapping[str, Any]) -> dict[str, Any]:
    """What httpx calls them."""
    return {_OPTIONS[name]: value for name, value in stated.items()}


def _read(response: httpx.Response) -> tuple[dict[str, Any], httpx.Headers]:
    try:
        body = response.json()
    except ValueError:
        body = None
    error = body.get("error") if isinstance(body, dict) else {"message": "the answer is not a JSON object"}
    if not (response.is_success and isinstance(body, dict)):
        raise GatewayError(response.status_code, error if isinstance(error, dict) else {}, response.headers)
    return body, response.headers
