"""The fake as an HTTP server on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import orjson

from pointsman.experts.backends.fake.script import Script, plan_call
from pointsman.experts.backends.openai_wire import JSON_HEADERS, error_body
from pointsman.experts.backends.planned import PlannedFailure, ReplyPlan, Stats, play_body, wait_for_head
from pointsman.experts.http1.server import Handler, ServerExchange, head_bytes, serve
from pointsman.experts.protocols import TEXT_ENDPOINTS, Endpoint

_ENDPOINTS = {
    f"/v1/{endpoint}": endpoint for endpoint in (*TEXT_ENDPOINTS, Endpoint.EMBEDDINGS, Endpoint.RERANK, Endpoint.SCORE)
}


class FakeServer:
    """Answers OpenAI's endpoints by a script; `GET /stats` says what became of the calls.

    Args:
        script: What it does; may be replaced while it serves.
        model: Name in the answers of calls that name none.
        api_key: When given, calls without it as bearer token get a 401.
        time_s: Unix time, for the `created` of answers.
    """

    def __init__(
        self,
        script: Script | None = None,
        model: str = "fake",
        api_key: str | None = None,
        time_s: Callable[[], float] = time.time,
    ) -> None:
        self.script = script or Script()
        self.stats = Stats()
        self._model = model
        self._authorization = None if api_key is None else f"Bearer {api_key}".encode()
        self._time_s = time_s
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0, uds: str | None = None) -> None:
        """Listen."""
        handler: Handler = self.handle
        self._server = await serve(handler, host, port, uds)

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        assert self._server is not None  # noqa: S101  # asked before start
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def aclose(self) -> None:
        """Stop listening; connections that are open stay until their clients go."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def handle(self, exchange: ServerExchange) -> Coroutine[Any, Any, None] | None:
        """Answer one request."""
        path = exchange.target.partition("?")[0]
        endpoint = _ENDPOINTS.get(path)
        if exchange.method == "POST" and endpoint is not None:
            return self._call(exchange, endpoint)
        pages: dict[str, Callable[[], Any]] = {
            "/health": dict,
            "/v1/models": self._models,
            "/stats": self._counts,
        }
        page = pages.get(path) if exchange.method == "GET" else None
        if page is None:
            exchange.respond(404, JSON_HEADERS, error_body(f"no such page: {path}", "invalid_request_error"))
        else:
            exchange.respond(200, JSON_HEADERS, orjson.dumps(page()))
        return None

    def _call(self, exchange: ServerExchange, endpoint: Endpoint) -> Coroutine[Any, Any, None] | None:
        if self._authorization is not None and (b"authorization", self._authorization) not in exchange.headers:
            exchange.respond(401, JSON_HEADERS, error_body("wrong API key", "invalid_request_error", "invalid_api_key"))
            return None
        try:
            payload = orjson.loads(exchange.body)
        except orjson.JSONDecodeError:
            payload = None
        if not isinstance(payload, dict):
            exchange.respond(400, JSON_HEADERS, error_body("not a JSON object", "invalid_request_error"))
            return None
        number = self.stats.started
        self.stats.started += 1
        model = payload.get("model")
        model = model if isinstance(model, str) else self._model
        plan = plan_call(self.script, model, number, endpoint, payload, int(self._time_s()))
        if plan.immediate:
            self._at_once(exchange, plan)
            return None
        return self._in_time(exchange, plan)

    def _at_once(self, exchange: ServerExchange, plan: ReplyPlan) -> None:
        """Without a task: as an upstream of measurements it must cost less than what is measured."""
        if any(name == b"content-length" for name, _ in plan.headers):
            exchange.write(head_bytes(plan.status, plan.headers) + b"".join([piece for _, piece in plan.pieces]))
        else:
            chunks = b"".join([b"%x\r\n%b\r\n" % (len(piece), piece) for _, piece in plan.pieces])
            head = head_bytes(plan.status, (*plan.headers, (b"transfer-encoding", b"chunked")))
            exchange.write(head + chunks + b"0\r\n\r\n")
        self.stats.finished += 1
        self.stats.worked(plan, 0.0)

    async def _in_time(self, exchange: ServerExchange, plan: ReplyPlan) -> None:
        loop = asyncio.get_running_loop()
        arrived_s = loop.time()
        try:
            await wait_for_head(plan, arrived_s)
            exchange.begin(plan.status, plan.headers)
            async for piece in play_body(plan, arrived_s):
                await exchange.send(piece)
            exchange.end()
        except PlannedFailure:
            exchange.close()
        except asyncio.CancelledError:
            self.stats.cancelled += 1
            raise
        finally:
            self.stats.worked(plan, loop.time() - arrived_s)
        self.stats.finished += 1

    def _models(self) -> dict[str, Any]:
        model = {"id": self._model, "object": "model", "created": int(self._time_s()), "owned_by": "fake"}
        return {"object": "list", "data": [model]}

    def _counts(self) -> dict[str, int]:
        return {
            "started": self.stats.started,
            "finished": self.stats.finished,
            "cancelled": self.stats.cancelled,
            "in_flight": self.stats.in_flight,
        }
