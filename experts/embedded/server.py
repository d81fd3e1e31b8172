"""The engine's server: OpenAI's two endpoints over a private unix socket, one loop that advances all models in turn."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import orjson

from pointsman.experts.backends.openai_wire import DONE, JSON_HEADERS, SSE_HEADERS, AnswerWriter, error_body
from pointsman.experts.embedded.requests import Generation, GenerationRefused, read_generation
from pointsman.experts.embedded.runner import ModelRunner, Sequence
from pointsman.experts.embedded.weights import CheckpointError
from pointsman.experts.http1.server import ServerExchange, serve
from pointsman.experts.protocols import TEXT_ENDPOINTS, Endpoint
from pointsman.experts.spec import Usage

_log = logging.getLogger(__name__)

#: Names the checkpoint folder of a model of the operator's own; only the backend beside us can reach the socket.
MODEL_DIR_HEADER = b"x-pointsman-model-dir"
_ENDPOINTS = {f"/v1/{endpoint}": endpoint for endpoint in TEXT_ENDPOINTS}
_MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class EngineServer:
    """Loads models when they are first asked for and generates for all callers.

    Args:
        models: Folder with a checkpoint folder per model name.
    """

    def __init__(self, models: Path) -> None:
        self._models = models
        self._runners: dict[Path, ModelRunner] = {}
        self._loading: dict[Path, asyncio.Task[ModelRunner]] = {}
        self._work = asyncio.Event()
        self._answers = 0

    async def run(self, socket_path: Path) -> None:
        """Listen on a unix socket and generate until cancelled."""
        server = await serve(self.handle, uds=str(socket_path))
        try:
            await self._generate()
        finally:
            server.close()

    async def _generate(self) -> None:
        while True:
            busy = [runner for runner in self._runners.values() if runner.busy]
            if not busy:
                self._work.clear()
                await self._work.wait()
            for runner in busy:
                runner.step()
                # Between two steps the loop sends what was made, takes requests, and sees who has left.
                await asyncio.sleep(0)

    def handle(self, exchange: ServerExchange) -> Coroutine[Any, Any, None] | None:
        """Answer one request."""
        path = exchange.target.partition("?")[0]
        if exchange.method == "POST" and path in _ENDPOINTS:
            return self._complete(exchange, _ENDPOINTS[path])
        if exchange.method == "GET" and path == "/health":
            return self._health(exchange)
        if exchange.method == "GET" and path == "/v1/models":
            exchange.respond(200, JSON_HEADERS, orjson.dumps(self._list()))
        else:
            exchange.respond(404, JSON_HEADERS, error_body(f"no such page: {path}", "invalid_request_error"))
        return None

    async def _complete(self, exchange: ServerExchange, endpoint: Endpoint) -> None:
        try:
            payload = _parse(exchange.body)
            runner = await self._runner(self._folder(exchange, payload))
            generation = read_generation(endpoint, payload, runner.codec, runner.config)
            sequence = runner.submit(generation)
        except GenerationRefused as refusal:
            kind = "rate_limit_error" if refusal.status == 429 else "invalid_request_error"
            headers = (*JSON_HEADERS, (b"retry-after", b"1")) if refusal.status == 429 else JSON_HEADERS
            exchange.respond(refusal.status, headers, error_body(str(refusal), kind, refusal.code, refusal.param))
            return
        except CheckpointError as error:
            _log.error("%s", error)  # the message says it all
            exchange.respond(500, JSON_HEADERS, error_body(str(error), "server_error", "model_unusable"))
            return
        self._work.set()
        self._answers += 1
        answer = AnswerWriter(
            endpoint,
            f"{time.time_ns():x}-{self._answers}",
            int(time.time()),
            str(payload.get("model")),
            with_usage_field=generation.include_usage,
        )
        try:
            await (_stream if generation.stream else _whole)(exchange, answer, sequence, generation)
        finally:
            # Without effect on one that is over; the task is cancelled when the client leaves.
            sequence.cancelled = True

    def _folder(self, exchange: ServerExchange, payload: dict[str, Any]) -> Path:
        given = next((value for name, value in exchange.headers if name == MODEL_DIR_HEADER), None)
        if given is not None:
            return Path(given.decode())
        name = payload.get("model")
        if not isinstance(name, str):
            raise GenerationRefused("model must be a string", "model")
        if not _MODEL_NAME.fullmatch(name) or not (self._models / name / "config.json").is_file():
            raise GenerationRefused(f"the model {name!r} does not exist", "model", "model_not_found", status=404)
        return self._models / name

    async def _runner(self, folder: Path) -> ModelRunner:
        runner = self._runners.get(folder)
        if runner is not None:
            return runner
        loading = self._loading.get(folder)
        if loading is None:
            loading = self._loading[folder] = asyncio.create_task(asyncio.to_thread(ModelRunner, folder))
        try:
            # Shielded: others may wait for the same model when the first caller leaves.
            runner = self._runners[folder] = await asyncio.shield(loading)
        finally:
            if loading.done():
                self._loading.pop(folder, None)
        return runner

    async def _health(self, exchange: ServerExchange) -> None:
        given = next((value for name, value in exchange.headers if name == MODEL_DIR_HEADER), None)
        if given is not None and not (Path(given.decode()) / "config.json").is_file():
            message = f"no checkpoint at {given.decode()}"
            exchange.respond(503, JSON_HEADERS, error_body(message, "server_error", "model_unusable"))
            return
        exchange.respond(200, JSON_HEADERS, orjson.dumps(self._state()))

    def _state(self) -> dict[str, Any]:
        loaded = {folder.name: runner.sequences for folder, runner in self._runners.items()}
        return {"status": "ok", "sequences": loaded}

    def _list(self) -> dict[str, Any]:
        names = sorted(path.parent.name for path in self._models.glob("*/config.json"))
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "pointsman"} for name in names]
        return {"object": "list", "data": data}


def _parse(body: bytes) -> dict[str, Any]:
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise GenerationRefused(f"the body is not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise GenerationRefused("the body must be a JSON object")
    return payload


def _usage(sequence: Sequence) -> Usage:
    return Usage(len(sequence.generation.prompt), sequence.completion_tokens)


async def _whole(exchange: ServerExchange, answer: AnswerWriter, sequence: Sequence, _: Generation) -> None:
    texts = []
    while True:
        piece = await sequence.pieces.get()
        texts.append(piece.text)
        if piece.finish_reason is not None:
            break
    exchange.respond(200, JSON_HEADERS, answer.whole("".join(texts), piece.finish_reason, _usage(sequence)))


async def _stream(exchange: ServerExchange, answer: AnswerWriter, sequence: Sequence, generation: Generation) -> None:
    # The head leaves with the first token: until then the caller may still turn to another expert.
    piece = await sequence.pieces.get()
    exchange.begin(200, SSE_HEADERS)
    opening = answer.opening()
    while True:
        data = opening + (answer.piece(piece.text) if piece.text else b"")
        opening = b""
        if piece.finish_reason is not None:
            data += answer.closing(piece.finish_reason)
            if generation.include_usage:
                data += answer.usage(_usage(sequence))
            await exchange.send(data + DONE)
            exchange.end()
            return
        await exchange.send(data)
        piece = await sequence.pieces.get()
