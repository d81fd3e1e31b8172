"""Whatever fails within the gateway, at whatever stage: no place, reservation, task or connection is left behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import pytest

from pointsman.experts.flight import Flight
from pointsman.experts.pool import ExpertPool
from pointsman.gateway.access.auth import Keyring
from pointsman.gateway.access.limits import Account
from pointsman.gateway.deciding.decider import Decider
from pointsman.gateway.dispatch import answer, dispatch, relay
from pointsman.gateway.dispatch.answer import RelayedAnswer
from pointsman.gateway.dispatch.attempts import Attempts
from pointsman.gateway.dispatch.dispatch import Dispatch
from pointsman.gateway.dispatch.relay import Relay
from pointsman.gateway.http import asgi, exchange, protocol
from pointsman.gateway.http.body import Body
from pointsman.gateway.record import recorder
from pointsman.gateway.record.ledger import Ledger
from pointsman.gateway.record.recorder import Recorder
from pointsman.gateway.shared.sessions import Sessions
from pointsman.gateway.telemetry import Telemetry
from pointsman.gateway.wire.chat_stream import ChatStream
from pointsman.gateway.wire.reply import EventStream
from tests.e2e.running import Running, Transport, both, eventually, running
from tests.security.upstream import ENV, expert, saying

KEY = "sk-aaaaaaaaaaaaaaaa"
WHOLE = (
    b'{"id":"1","model":"inner","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":'
    b'"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
)
STREAM = (
    b'data: {"id":"1","model":"inner","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)

#: What a request goes through, from its first byte to its last.
STAGES: tuple[tuple[Any, str], ...] = (
    (Keyring, "caller"),
    (Account, "check"),
    (Body, "__init__"),
    (Body, "feed"),
    (Body, "whole"),
    (exchange, "parse_inbound"),
    (Decider, "read"),
    (Decider, "now"),
    (Decider, "later"),
    (Account, "reserve"),
    (exchange, "forwarded"),
    (Telemetry, "decided"),
    (Ledger, "record"),
    (Telemetry, "overhead_of"),
    (Attempts, "begin"),
    (ExpertPool, "begin"),
    (Attempts, "send"),
    (Attempts, "call_of"),
    (Relay, "push"),
    (Relay, "wake"),
    (relay, "is_stream"),
    (relay, "beginning"),
    (relay, "may_be_answer"),
    (relay, "read_answer"),
    (Dispatch, "accept"),
    (Attempts, "accepts"),
    (Flight, "head"),
    (Flight, "first_byte"),
    (Sessions, "put"),
    (Dispatch, "_recordings"),
    (RelayedAnswer, "__init__"),
    (dispatch, "answer_headers"),
    (Recorder, "first_byte"),
    (RelayedAnswer, "feed"),
    (EventStream, "feed"),
    (answer, "tokens_said"),
    (ChatStream, "feed"),
    (ChatStream, "_count"),
    (RelayedAnswer, "end"),
    (EventStream, "finish"),
    (Recorder, "finish"),
    (Recorder, "call_ended"),
    (Flight, "finish"),
    (recorder, "settle"),
    (Ledger, "finish"),
    (Telemetry, "finished"),
    (protocol._Response, "begin"),
    (protocol._Response, "write"),
    (protocol._Response, "end"),
    (protocol._Response, "send_whole"),
    (protocol.GatewayProtocol, "response_over"),
    (asgi._Transport, "begin"),
    (asgi._Transport, "write"),
    (asgi._Transport, "end"),
    (asgi._Transport, "send_whole"),
    (asgi._Transport, "_put"),
    (Dispatch, "finished"),
)


def _fail(*_: Any, **__: Any) -> Any:
    raise RecursionError("a bug in here")


@contextmanager
def _failing(where: Any, name: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, _fail)
        yield


async def _post(gateway: Running, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
    """Status and body, as far as they came; 0 where the connection was cut before."""
    status, said = 0, b""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as http:
        try:
            async with http.post(gateway.url + path, json=body, headers={"authorization": f"Bearer {KEY}"}) as reply:
                status = reply.status
                said = await reply.read()
        except aiohttp.ClientError:
            pass
    return status, said


def _nothing_left(gateway: Running) -> bool:
    app = gateway.app
    held = [meter.held for account in _accounts(app) for meter in account.meters]
    tasks = [task.get_name() for task in asyncio.all_tasks()]
    return (
        app.plane.idle
        and app.runtime.pool.in_flight()["outer"] == 0
        and not any(held)
        and not any(name == "exchange" or name.startswith("call ") for name in tasks)
    )


def _accounts(app: Any) -> list[Account]:
    caller = app.plane.keyring.caller("/v1/chat/completions", {b"authorization": b"Bearer " + KEY.encode()})
    return [] if caller.account is None else [caller.account]


ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}]}),
    "messages": ("/v1/messages", {"max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}),
    "responses": ("/v1/responses", {"input": "hello"}),
}


def _answering(request: bytes) -> bytes:
    stream = json.loads(request.partition(b"\r\n\r\n")[2]).get("stream") is True
    kind, said = (b"text/event-stream", STREAM) if stream else (b"application/json", WHOLE)
    return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (kind, len(said), said)


@both
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("asked", ASKED)
async def test_a_failure_at_any_stage_leaves_nothing_behind(transport: Transport, stream: bool, asked: str) -> None:
    path, fields = ASKED[asked]
    tree = {
        "pool": {"experts": [expert_of := {}], "probe_interval_s": 0},
        "auth": {"keys": [{"name": "a", "key_env": "KEY_A", "limits": {"tokens_per_minute": 1_000_000}}]},
        "admission": {"queue": 0},
    }
    async with saying(_answering) as heard:
        expert_of.update(expert(heard, max_concurrency=2))
        async with running(tree, {**ENV, "KEY_A": KEY}, transport=transport) as gateway:
            body = {"model": "auto", "stream": stream, "routing": {"session": "s"}, **fields}
            for where, name in STAGES:
                with _failing(where, name):
                    status, said = await _post(gateway, path, body)
                    assert status in (0, 200, 500, 502), (name, status)
                    assert status != 200 or b"[DONE]" not in said or said.count(b'"hi"') == 1, (name, said)
                await eventually(lambda: _nothing_left(gateway), 10)
                status, said = await _post(gateway, path, body)
                assert status == 200, (name, said)
                assert b"hi" in said, name
                assert b"internal_error" not in said, name
                await eventually(lambda: _nothing_left(gateway), 10)
