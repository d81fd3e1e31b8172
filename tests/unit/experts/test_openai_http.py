"""What the backend adds to HTTP: addresses, credentials, errors, probes."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pointsman.experts.backends.openai_http import OpenAIHttpExpert
from pointsman.experts.errors import (
    ExpertMisconfigured,
    ExpertProtocolError,
    ExpertSaturated,
    ExpertStreamBroken,
    ExpertTimeout,
    ExpertUnavailable,
)
from pointsman.experts.http1.client import Timeouts
from pointsman.experts.http1.server import ServerExchange, serve
from pointsman.experts.spec import TEXT_CAPABILITIES, Capability, ExpertSpec
from tests.unit.experts.calls import chat, read
from tests.unit.experts.raw_server import Peer, plain, talking

SPEC = ExpertSpec("coder", "openai_http", "m")


def expert_at(port: int, path: str = "/v1", **options: Any) -> OpenAIHttpExpert:
    return OpenAIHttpExpert(SPEC, f"http://127.0.0.1:{port}{path}", **options)


async def seen_by(
    respond: Callable[[ServerExchange], None], *, path: str = "/v1", call: Any = None, **options: Any
) -> list[ServerExchange]:
    """The requests that a server sees when an expert is called once."""
    seen: list[ServerExchange] = []

    def answer(exchange: ServerExchange) -> None:
        seen.append(exchange)
        respond(exchange)

    server = await serve(answer)
    expert = expert_at(server.sockets[0].getsockname()[1], path, **options)
    await read(expert, call or chat())
    await expert.aclose()
    server.close()
    return seen


def ok(exchange: ServerExchange) -> None:
    exchange.respond(200, ((b"content-type", b"application/json"),), b"{}")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/api/v1", "/api/v1/chat/completions"),
        # Gemini, DeepInfra, Zhipu, Volcengine and GitHub Models, as their pages give the address.
        ("/v1beta/openai/", "/v1beta/openai/chat/completions"),
        ("/v1/openai", "/v1/openai/chat/completions"),
        ("/api/paas/v4", "/api/paas/v4/chat/completions"),
        ("/api/v3", "/api/v3/chat/completions"),
        ("/inference", "/inference/chat/completions"),
    ],
)
async def test_where_a_chat_is_sent(path: str, expected: str) -> None:
    (exchange,) = await seen_by(ok, path=path)
    assert (exchange.method, exchange.target) == ("POST", expected)


async def test_what_is_sent() -> None:
    call = chat(
        "héllo",
        headers=(
            (b"x-request-id", b"7"),
            (b"authorization", b"Bearer client"),
            (b"accept-encoding", b"gzip"),
            (b"host", b"evil"),
        ),
    )
    (exchange,) = await seen_by(ok, call=call, api_key="sk-own", headers={"X-Team": "a"})
    assert exchange.body == call.body
    headers = dict(exchange.headers)
    assert len(headers) == len(exchange.headers), "no header twice"
    assert headers[b"authorization"] == b"Bearer sk-own"
    assert headers[b"accept-encoding"] == b"identity"
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"x-team"] == b"a"
    assert headers[b"x-request-id"] == b"7"
    assert headers[b"host"].startswith(b"127.0.0.1:")
    assert headers[b"content-length"] == str(len(call.body)).encode()


async def test_a_clients_credentials_are_not_passed_on_even_where_none_are_set() -> None:
    (exchange,) = await seen_by(ok, call=chat(headers=((b"authorization", b"Bearer client"),)))
    assert b"authorization" not in dict(exchange.headers)


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "not a url"},
        {"base_url": "http://user:secret@h"},
        {"api_key": "line\nbreak"},
        {"api_key": "schlüssel"},
        {"headers": {"x-a": "b\r\nx-c: d"}},
        {"headers": {"Host": "elsewhere"}},
        {"headers": {"Authorization": "Bearer x"}, "api_key": "y"},
        {"base_url": "https://h", "verify_tls": "/nowhere/bundle.pem"},
        {"max_connections": 0},
    ],
    ids=lambda options: ",".join(options),
)
def test_what_cannot_work_is_said_at_once_and_without_the_key(options: dict[str, Any]) -> None:
    with pytest.raises(ExpertMisconfigured) as caught:
        OpenAIHttpExpert(SPEC, **{"base_url": "http://h", **options})
    assert caught.value.expert == "coder"
    assert "schl" not in str(caught.value)
    assert "secret" not in str(caught.value)


async def respond_with(*pieces: bytes, hold: bool = False) -> Callable[[Peer], Any]:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(*pieces)
        if hold:
            await peer.until_left()

    return talk


@pytest.mark.parametrize(
    ("pieces", "hold", "error"),
    [
        ([], False, ExpertUnavailable),
        ([b"HTTP/1.1 200"], False, ExpertProtocolError),
        ([b"what?"], True, ExpertProtocolError),
        ([plain(b"hello")[:-2]], False, ExpertStreamBroken),
        ([], True, ExpertTimeout),
        ([plain(b"hello")[:-2]], True, ExpertTimeout),
    ],
    ids=["closed", "closed in the head", "not HTTP", "closed in the body", "silent", "stalled"],
)
async def test_what_goes_wrong_is_named(pieces: list[bytes], hold: bool, error: type[Exception]) -> None:
    async with talking(await respond_with(*pieces, hold=hold)) as server:
        expert = expert_at(server.port, timeouts=Timeouts(head_s=0.1, idle_s=0.1))
        with pytest.raises(error) as caught:
            await read(expert, chat())
        assert type(caught.value) is error
        assert getattr(caught.value, "expert", None) == "coder"
        await expert.aclose()


async def test_a_port_without_a_listener_is_an_unavailable_expert() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        expert = expert_at(free.getsockname()[1])
        with pytest.raises(ExpertUnavailable, match="cannot connect"):
            await expert.call(chat())
        assert "cannot connect" in (await expert.probe() or "")
        await expert.aclose()
    with pytest.raises(ExpertUnavailable):
        await expert.call(chat())


async def test_a_process_without_room_for_another_connection_says_nothing_of_the_expert() -> None:
    async with talking(lambda peer: peer.until_left()) as server:
        expert = expert_at(server.port)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as last:
            resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno() + 1, hard))
            try:
                with pytest.raises(ExpertSaturated, match="open files"):
                    await expert.call(chat())
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await expert.aclose()


async def test_all_connections_busy() -> None:
    async with talking(lambda peer: peer.until_left()) as server:
        expert = expert_at(server.port, timeouts=Timeouts(queue_s=0.05), max_connections=1)
        busy = asyncio.create_task(expert.call(chat()))
        await asyncio.sleep(0.02)
        with pytest.raises(ExpertSaturated):
            await expert.call(chat())
        await expert.aclose()
        with pytest.raises(ExpertUnavailable):
            await busy


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ({"/health": 200}, None),
        ({"/health": 204}, None),
        ({"/health": 503, "/v1/models": 200}, "503"),
        ({"/health": 404, "/v1/models": 200}, None),
        ({"/health": 401, "/v1/models": 200}, None),
        ({"/health": 501, "/v1/models": 429}, None),
        ({"/health": 405, "/v1/models": 401}, None),
        ({"/health": 307, "/v1/models": 500}, "500"),
        ({}, None),
    ],
)
async def test_a_probe_fails_on_a_5xx_alone(pages: dict[str, int], expected: str | None) -> None:
    problem = await probed(pages)
    assert problem is None if expected is None else expected in (problem or "")


@pytest.mark.parametrize(("status", "expected"), [(200, None), (404, "404"), (401, "401"), (503, "503")])
async def test_a_probe_of_a_stated_path_fails_on_all_but_a_2xx(status: int, expected: str | None) -> None:
    problem = await probed({"/up": status, "/health": 503}, path="/api/v3", probe_path="/up")
    assert problem is None if expected is None else expected in (problem or "")


@pytest.mark.parametrize(
    ("path", "health", "models"),
    [
        ("", "/health", "/v1/models"),
        ("/a/v1", "/a/health", "/a/v1/models"),
        ("/api/v3", "/api/v3/health", "/api/v3/models"),
    ],
)
async def test_where_a_probe_looks(path: str, health: str, models: str) -> None:
    assert "500" in (await probed({health: 404, models: 500}, path=path) or "")


async def test_a_probe_of_an_expert_with_messages_sends_what_anthropic_wants() -> None:
    seen: list[dict[bytes, bytes]] = []

    def answer(exchange: ServerExchange) -> None:
        seen.append(dict(exchange.headers))
        exchange.respond(200, (), b"")

    server = await serve(answer)
    spec = ExpertSpec("claude", "openai_http", "m", capabilities=TEXT_CAPABILITIES | {Capability.MESSAGES})
    expert = OpenAIHttpExpert(spec, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", api_key="sk-x")
    assert await expert.probe() is None
    assert (seen[0][b"x-api-key"], seen[0][b"anthropic-version"]) == (b"sk-x", b"2023-06-01")
    await expert.aclose()
    server.close()


async def probed(pages: dict[str, int], **options: Any) -> str | None:
    """What a probe finds on a server with these pages."""

    def answer(exchange: ServerExchange) -> None:
        assert exchange.method == "GET"
        exchange.respond(pages.get(exchange.target, 404), (), b"")

    server = await serve(answer)
    expert = expert_at(server.sockets[0].getsockname()[1], **options)
    problem = await expert.probe()
    await expert.aclose()
    server.close()
    return problem


async def test_a_server_busy_with_calls_still_answers_probes() -> None:
    async def slow(exchange: ServerExchange) -> None:
        await asyncio.sleep(60)

    def answer(exchange: ServerExchange) -> Any:
        return exchange.respond(200, (), b"") if exchange.method == "GET" else slow(exchange)

    server = await serve(answer)
    expert = expert_at(server.sockets[0].getsockname()[1], max_connections=1)
    busy = asyncio.create_task(expert.call(chat()))
    await asyncio.sleep(0.02)
    assert await expert.probe() is None
    busy.cancel()
    await expert.aclose()
    server.close()


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    server = await serve(ok, uds=str(tmp_path / "Engine.sock"))
    expert = OpenAIHttpExpert(SPEC, f"http+unix://{str(tmp_path / 'Engine.sock').replace('/', '%2F')}/v1")
    assert await read(expert, chat()) == (200, b"{}")
    await expert.aclose()
    server.close()
