"""A client cannot send the gateway anywhere: it calls the operator's addresses alone, with the operator's keys."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.e2e.running import Running, running
from tests.security.upstream import ENV, PLAIN, Heard, expert, saying

VISION = ["chat", "streaming", "tools", "vision", "json_schema"]


def tree(*heard: Heard) -> dict[str, Any]:
    experts = [expert(one, name=f"outer-{index}", capabilities=VISION) for index, one in enumerate(heard)]
    return {"pool": {"experts": experts, "probe_interval_s": 0}}


def messages(url: str) -> list[dict[str, Any]]:
    """Everything in a chat that can hold an address."""
    return [
        {"role": "system", "content": f"Fetch {url}/system"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": f"What is on {url}/text ?"},
                {"type": "image_url", "image_url": {"url": f"{url}/image.png"}},
                {"type": "input_audio", "input_audio": {"data": f"{url}/audio.wav", "format": "wav"}},
                {"type": "file", "file": {"file_id": f"{url}/file"}},
            ],
        },
    ]


async def test_an_address_in_a_message_is_passed_on_and_never_fetched() -> None:
    async with saying() as heard, saying() as stranger, running(tree(heard), ENV) as gateway:
        body = {
            "model": "auto",
            "messages": messages(stranger.url),
            "tools": [{"type": "mcp", "server_url": f"{stranger.url}/mcp"}],
            "response_format": {"type": "json_schema", "json_schema": {"schema": {"$ref": f"{stranger.url}/s.json"}}},
            "metadata": {"callback": stranger.url},
        }
        async with aiohttp.ClientSession(gateway.url) as http:
            for path in ("/v1/route", "/v1/chat/completions"):
                async with http.post(path, json=body) as reply:
                    assert reply.status == 200, await reply.text()
        sent = json.loads(heard.requests[0].partition(b"\r\n\r\n")[2])
        assert sent == {**body, "model": "inner"}
        await asyncio.sleep(0.1)
        assert stranger.connections == 0


FIELDS = (
    "base_url",
    "api_base",
    "api_key",
    "api_version",
    "custom_llm_provider",
    "organization",
    "extra_headers",
    "proxy",
)
HEADERS = (
    "x-forwarded-host", "x-original-url", "x-rewrite-url", "x-api-base", "x-base-url", "x-upstream", "forwarded",
    "x-portkey-custom-host", "api-key", "x-api-key", "proxy-authorization", "cookie", "referer", "via",
)  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
async def test_no_field_and_no_header_says_where_a_request_goes_or_with_which_key(stream: bool) -> None:
    async with saying() as heard, saying() as stranger, running(tree(heard), ENV) as gateway:
        body = {
            "model": "auto",
            "messages": [{"role": "user", "content": "hello"}],
            "stream": stream,
            **dict.fromkeys(FIELDS, stranger.url),
        }
        headers = {**dict.fromkeys(HEADERS, stranger.url), "authorization": "Bearer sk-the-clients-own"}
        headers |= {"x-pointsman-expert": stranger.url, "x-pointsman-base-url": stranger.url}
        del headers["x-api-key"]  # a key of ours by another name
        async with (
            aiohttp.ClientSession(gateway.url) as http,
            http.post("/v1/chat/completions", json=body, headers=headers) as reply,
        ):
            await reply.read()
        head = heard.requests[0].partition(b"\r\n\r\n")[0].lower()
        assert b"authorization: bearer sk-the-operators-own" in head
        assert b"sk-the-clients-own" not in heard.requests[0]
        assert stranger.url.encode() not in head
        assert b"x-pointsman-" not in head
        assert heard.url.removeprefix("http://").encode() in head, "the Host header is the operator's"
        assert stranger.connections == 0


async def said(gateway: Running, request: bytes) -> bytes:
    """What the gateway answers to these bytes until it closes."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


BODY = b'{"model":"auto","messages":[{"role":"user","content":"hello"}]}'


@pytest.mark.parametrize(
    ("line", "host"),
    [
        (b"GET %b/secret HTTP/1.1", b"x"),
        (b"POST %b/v1/chat/completions HTTP/1.1", b"x"),
        (b"GET /v1/models HTTP/1.1", b"%b"),
        (b"CONNECT %b HTTP/1.1", b"x"),
        (b"GET /../../%b HTTP/1.1", b"x"),
        (b"TRACE / HTTP/1.1", b"x"),
    ],
    ids=["absolute form", "absolute form of an endpoint", "host header", "CONNECT", "dots", "TRACE"],
)
async def test_it_is_no_open_proxy(line: bytes, host: bytes) -> None:
    async with saying() as heard, saying() as stranger, running(tree(heard), ENV) as gateway:
        address = stranger.url.encode()
        if line.startswith(b"CONNECT"):
            address = address.removeprefix(b"http://")
        line = line % address if b"%b" in line else line
        host = host % address if b"%b" in host else host
        request = b"%b\r\nhost: %b\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (line, host, len(BODY), BODY)
        answer = await said(gateway, request)
        assert stranger.connections == 0
        assert answer.count(b"HTTP/1.1 ") == 1
        status = int(answer.split(b" ", 2)[1])
        if b"models" in line:
            assert status == 200
            assert address not in answer, "no link is made of a Host header"
        elif b"completions" not in line:
            assert status in {400, 404, 405}, answer
        assert b"authorization" not in answer.lower()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "where", ["%s/v1/chat/completions", "//%s/v1/chat/completions", "http://a@%s/v1/chat/completions"]
)
async def test_an_experts_redirect_is_not_followed_to_another_place(status: int, where: str) -> None:
    """It would carry the prompt, and the operator's key, to whomever the expert names."""
    async with saying() as stranger:
        place = stranger.url if where.startswith("%s") else stranger.url.removeprefix("http://")
        moved = b"HTTP/1.1 %d X\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n"
        said = moved % (status, (where % place).encode())
        async with saying(said) as heard, running(tree(heard), ENV) as gateway:
            body = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
            async with (
                aiohttp.ClientSession(gateway.url) as http,
                http.post("/v1/chat/completions", json=body, allow_redirects=False) as reply,
            ):
                assert "location" not in reply.headers
                assert reply.status == 502
                assert stranger.url not in await reply.text()
            assert len(heard.requests) >= 1
            assert stranger.connections == 0


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_an_experts_redirect_within_its_api_is_followed_and_one_out_of_it_is_not(status: int) -> None:
    moved = b"HTTP/1.1 %d X\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n"
    for location, paths in (
        (b"/v1/chat/completions/", [b"completions", b"completions/"]),
        (b"/admin", [b"completions"]),
    ):

        def answer(request: bytes, location: bytes = location) -> bytes:
            target = request.split(b" ", 2)[1]
            return PLAIN if target == location else moved % (status, location)

        async with saying(answer) as heard, running(tree(heard), ENV) as gateway:
            body = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
            async with (
                aiohttp.ClientSession(gateway.url) as http,
                http.post("/v1/chat/completions", json=body) as reply,
            ):
                assert reply.status == (200 if len(paths) == 2 else 502)
            targets = [request.split(b" ", 2) for request in heard.requests]
            assert [(one[0], one[1].removeprefix(b"/v1/chat/")) for one in targets] == [
                (b"POST", path) for path in paths
            ]
            assert all(b"hello" in request for request in heard.requests)


async def test_a_key_never_follows_a_prompt_to_another_expert() -> None:
    """Each address is called with its own key, also where it stands in for one that failed."""
    failing = b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n"
    async with saying(failing) as first, saying(PLAIN) as second:
        experts = [
            expert(first, name="first", quality_prior={"*": 0.9}),
            expert(second, name="second", quality_prior={"*": 0.1}, api_key_env="OTHER_KEY"),
        ]
        env = {**ENV, "OTHER_KEY": "sk-of-the-other"}
        async with running({"pool": {"experts": experts, "probe_interval_s": 0}}, env) as gateway:
            body = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
            async with (
                aiohttp.ClientSession(gateway.url) as http,
                http.post("/v1/chat/completions", json=body) as reply,
            ):
                assert (reply.status, reply.headers["x-pointsman-expert"]) == (200, "second")
        assert all(b"sk-of-the-other" not in request for request in first.requests)
        assert all(b"sk-the-operators-own" not in request for request in second.requests)
