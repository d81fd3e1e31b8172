"""Redirects: which are followed, and that nothing leaves the origin."""

from __future__ import annotations

import pytest

from pointsman.experts.http1.origin import Origin
from pointsman.experts.http1.redirects import MOST_REDIRECTS, with_target
from tests.unit.experts.raw_server import Peer, client_of, plain, talking

ORIGIN = Origin.parse("http://vllm:8000/v1")
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: vllm:8000\r\nauthorization: Bearer k\r\ncontent-length: 2\r\n\r\n{}"
)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        (b"/v1/chat/completions/", b"/v1/chat/completions/"),
        (b"http://vllm:8000/v1/chat/completions/", b"/v1/chat/completions/"),
        (b"http://VLLM:8000/api/v1/chat/completions", b"/api/v1/chat/completions"),
        (b"//vllm:8000/v2/chat/completions", b"/v2/chat/completions"),
        (b"completions/?tenant=a", b"/v1/chat/completions/?tenant=a"),
        (b"/v1/moved#fragment", b"/v1/moved"),
    ],
)
def test_another_path_of_the_same_server_gets_the_same_request(location: bytes, target: bytes) -> None:
    message = with_target(REQUEST, ORIGIN, location)
    assert message == REQUEST.replace(b"/v1/chat/completions", target, 1)


@pytest.mark.parametrize(
    "location",
    [
        b"http://stranger:8000/v1/chat/completions",
        b"http://vllm:8001/v1/chat/completions",
        b"http://vllm/v1/chat/completions",
        b"https://vllm:8000/v1/chat/completions",
        b"//stranger/v1/chat/completions",
        b"http://vllm:8000@stranger/v1/chat/completions",
        b"http://user@vllm:8000/v1/chat/completions",
        b"http://vllm:8000.stranger/v1/chat/completions",
        b"\\\\stranger\\v1/chat/completions",
        b"/\\stranger/v1/chat/completions",
        b"ftp://vllm:8000/v1/chat/completions",
        b"/secret",
        b"/v1/../secret",
        b"http://vllm:8000/v1/../secret",
        b"http://vllm:8000/v1/%2e%2E/secret",
        b"/v1/a b",
        b"/v1/\xff",
        b"http://vllm:99999/v1/chat/completions",
        b"http://[::1/v1/chat/completions",
        b"/v1/" + b"a" * 3000,
        b"",
    ],
)
def test_no_other_place_gets_it(location: bytes) -> None:
    if location == b"":
        # The request itself once more: it is the number of redirects that ends it.
        assert with_target(REQUEST, ORIGIN, location) == REQUEST
    else:
        assert with_target(REQUEST, ORIGIN, location) is None


def test_the_default_port_is_the_same_as_none() -> None:
    origin = Origin.parse("https://api.example.com/v1")
    request = REQUEST.replace(b"vllm:8000", b"api.example.com")
    assert with_target(request, origin, b"https://api.example.com:443/v1/chat/completions/") is not None
    assert with_target(request, origin, b"http://api.example.com/v1/chat/completions/") is None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("body", [b"", b"gone there"])
async def test_a_post_is_sent_again_as_a_post(status: int, body: bytes) -> None:
    heard: list[bytes] = []

    async def talk(peer: Peer) -> None:
        heard.append(await peer.request())
        if b"POST /a " in heard[-1]:
            head = b"HTTP/1.1 %d Moved\r\nlocation: /b/a\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
            await peer.say(head + body)
            await peer.until_left()
        else:
            await peer.say(plain(b"there"))

    async with talking(talk) as server, client_of(server) as client:
        response = await client.request(client.prepare("POST", "/a"), (), b"the body")
        assert (response.status, await response.read()) == (200, b"there")
    assert heard[1] == heard[0].replace(b"POST /a ", b"POST /b/a ")


@pytest.mark.parametrize("location", [b"location: http://127.0.0.1:1/a\r\n", b"", b"location: /elsewhere\r\n"])
async def test_what_is_not_followed_is_the_answer(location: bytes) -> None:
    heard = 0

    async def talk(peer: Peer) -> None:
        nonlocal heard
        await peer.request()
        heard += 1
        await peer.say(b"HTTP/1.1 307 Moved\r\n%bcontent-length: 0\r\n\r\n" % location)

    async with talking(talk) as server, client_of(server) as client:
        response = await client.request(client.prepare("POST", "/a"), (), b"the body")
        assert (response.status, heard) == (307, 1)


async def test_a_circle_ends() -> None:
    heard = 0

    async def talk(peer: Peer) -> None:
        nonlocal heard
        await peer.request()
        heard += 1
        await peer.say(b"HTTP/1.1 308 Moved\r\nlocation: /a\r\ncontent-length: 0\r\n\r\n")

    async with talking(talk) as server, client_of(server) as client:
        response = await client.request(client.prepare("POST", "/a"), (), b"the body")
        assert (response.status, heard) == (308, 1 + MOST_REDIRECTS)
