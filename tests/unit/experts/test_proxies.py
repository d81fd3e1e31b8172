"""Through a proxy and with certificates of one's own: tunnels, forwarded requests, refusals, and who goes which way."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pointsman.experts.backend_spec import BackendSetup
from pointsman.experts.backends.openai_http import BACKEND, OpenAIHttpExpert, OpenAIHttpOptions
from pointsman.experts.errors import ExpertUnavailable
from pointsman.experts.http1.client import HttpClient, Timeouts
from pointsman.experts.http1.failures import ConnectError, ConnectTimeout
from pointsman.experts.http1.origin import Origin
from pointsman.experts.http1.proxy import Proxy, proxy_of_environment
from pointsman.experts.protocols import Endpoint, ExpertCall
from pointsman.experts.spec import ExpertSpec
from tests.unit.experts.forward_proxy import Certificates, forward_proxy, make_certificates
from tests.unit.experts.raw_server import plain, talking
from tests.unit.experts.test_http1_connections import ask, echo

NAME = "models.example"
BASIC = "Basic dXNlcjpwYXNzOndvcmQ="  # user, and pass:word


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"), NAME, "gateway.example")


@asynccontextmanager
async def secured(certificates: Certificates, *, asks: bool = False) -> AsyncIterator[tuple[int, list[str]]]:
    """A server of TLS that says who it heard from, on whatever path; its port and its clients' names."""
    seen: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown = writer.get_extra_info("peercert") or {}
        seen.append(dict(pair for (pair,) in shown.get("subject", ())).get("commonName", ""))
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")) is not None:
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                writer.write(plain(head.split(b" ", 2)[1] + b" " + await reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.authority)
    context.load_cert_chain(*certificates.signed[NAME])
    context.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_NONE
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], seen
    finally:
        server.close()


def through(proxy: Proxy, url: str, tls: ssl.SSLContext | None = None, **timeouts: float) -> HttpClient:
    return HttpClient(Origin.parse(url), proxy=proxy, tls=tls, timeouts=Timeouts(**timeouts))


async def test_https_goes_through_a_tunnel_that_is_used_again(certificates: Certificates) -> None:
    tls = ssl.create_default_context(cafile=certificates.authority)
    async with secured(certificates) as (port, _), forward_proxy(credentials=BASIC, names={NAME: port}) as proxy:
        client = through(Proxy.parse(f"http://user:pass%3Aword@127.0.0.1:{proxy.port}"), f"https://{NAME}/v1", tls)
        for body in (b"a", b"b" * 300_000):
            assert await ask(client, body) == b"/v1/ " + body
        assert (proxy.asked, client.connections) == ([f"CONNECT {NAME}:443"], 1)
        await asyncio.gather(*(ask(client, b"c") for _ in range(5)))
        assert set(proxy.asked) == {f"CONNECT {NAME}:443"}
        await client.aclose()


async def test_the_servers_certificate_is_checked_behind_a_proxy_too(certificates: Certificates) -> None:
    tls = ssl.create_default_context(cafile=certificates.authority)
    async with secured(certificates) as (port, _), forward_proxy(names={"other.example": port, NAME: port}) as proxy:
        for url, context in ((f"https://{NAME}", None), ("https://other.example", tls)):
            client = through(Proxy.parse(proxy.url), url, context)
            with pytest.raises(ConnectError, match="certificate"):
                await ask(client)
            assert client.connections == 0


async def test_http_is_forwarded_with_its_whole_url() -> None:
    async with talking(echo) as server, forward_proxy(credentials=BASIC, names={NAME: server.port}) as proxy:
        client = through(Proxy.parse(f"user:pass%3Aword@127.0.0.1:{proxy.port}"), f"http://{NAME}:8000/v1")
        assert await ask(client, b"a") == b"a"
        assert await ask(client, b"b") == b"b"
        assert proxy.asked == [f"POST http://{NAME}:8000/v1/"]
        await client.aclose()


@pytest.mark.parametrize(
    ("refuses", "why"),
    [
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", "HTTP 403"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "HTTP 407"),
        (b"HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\n\r\n<html>", "HTTP 502"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "does not speak HTTP"),
        (b"x" * 20_000, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "says more"),
        (b"HTTP/1.1 200", "closed the connection"),
    ],
)
async def test_a_proxy_that_makes_no_tunnel_is_no_connection(refuses: bytes, why: str) -> None:
    async with forward_proxy(refuses=refuses) as proxy:
        client = through(Proxy.parse(proxy.url), f"https://{NAME}", ssl.create_default_context())
        with pytest.raises(ConnectError, match=why):
            await ask(client)
        assert client.connections == 0


async def test_a_silent_proxy_and_a_missing_one_are_no_connections() -> None:
    async with talking(lambda peer: peer.until_left()) as server:
        proxy = Proxy("127.0.0.1", server.port)
        client = through(proxy, f"https://{NAME}", ssl.create_default_context(), connect_s=0.1)
        with pytest.raises(ConnectTimeout):
            await ask(client)
        await asyncio.wait_for(server.peers[0].left.wait(), 10)
    with pytest.raises(ConnectError, match="refused"):
        await ask(through(proxy, f"https://{NAME}", ssl.create_default_context()))


async def test_an_expert_is_asked_and_probed_through_its_proxy_with_certificates_of_its_own(
    certificates: Certificates, tmp_path: Path
) -> None:
    certificate, key = certificates.signed["gateway.example"]
    both = tmp_path / "both.pem"
    both.write_text(
        Path(certificate).read_text(encoding="ascii") + Path(key).read_text(encoding="ascii"), encoding="ascii"
    )
    async with secured(certificates, asks=True) as (port, seen), forward_proxy(names={NAME: port}) as proxy:
        for shown in ({"tls_cert_file": certificate, "tls_key_file": key}, {"tls_cert_file": both}):
            expert = built({"proxy": proxy.url, "tls_ca_file": certificates.authority, **shown})
            reply = await expert.call(ExpertCall("r", Endpoint.CHAT, b"{}", {}, False))
            assert await reply.read() == b"/v1/chat/completions {}"
            assert await expert.probe() is None
            await expert.aclose()
        assert set(seen) == {"gateway.example"}
        assert set(proxy.asked) == {f"CONNECT {NAME}:443"}
        unknown = built({"proxy": proxy.url, "tls_ca_file": certificates.authority})
        with pytest.raises(ExpertUnavailable):
            await unknown.call(ExpertCall("r", Endpoint.CHAT, b"{}", {}, False))
        await unknown.aclose()


async def test_an_expert_takes_the_environments_proxy_unless_told_otherwise() -> None:
    async with talking(echo) as server, forward_proxy(names={NAME: server.port}) as proxy:
        env = {"HTTP_PROXY": proxy.url}
        expert = built({}, f"http://{NAME}", env)
        reply = await expert.call(ExpertCall("r", Endpoint.CHAT, b"{}", {}, False))
        assert (await reply.read(), proxy.asked) == (b"{}", [f"POST http://{NAME}/v1/chat/completions"])
        await expert.aclose()
        direct = built({"proxy": "none"}, f"http://127.0.0.1:{server.port}", env)
        assert await (await direct.call(ExpertCall("r", Endpoint.CHAT, b"[]", {}, False))).read() == b"[]"
        assert len(proxy.asked) == 1
        await direct.aclose()


def built(
    options: dict[str, object], url: str = f"https://{NAME}", env: dict[str, str] | None = None
) -> OpenAIHttpExpert:
    setup = BackendSetup(
        ExpertSpec("a", "openai_http", "m"),
        OpenAIHttpOptions.model_validate(options),
        url,
        None,
        {},
        Timeouts(),
        8,
        env or {},
    )
    expert = BACKEND.build(setup)
    assert isinstance(expert, OpenAIHttpExpert)
    return expert


ONE, TWO = "http://one.example:3128", "http://two.example:3128"


@pytest.mark.parametrize(
    ("url", "env", "host"),
    [
        ("https://a.example", {"HTTPS_PROXY": ONE, "HTTP_PROXY": TWO}, "one.example"),
        ("http://a.example", {"HTTPS_PROXY": ONE, "HTTP_PROXY": TWO}, "two.example"),
        ("http://a.example", {"HTTPS_PROXY": ONE}, None),
        ("http://a.example", {"ALL_PROXY": ONE}, "one.example"),
        ("https://a.example", {"https_proxy": ONE, "HTTPS_PROXY": TWO}, "one.example"),
        ("https://a.example", {"https_proxy": " ", "HTTPS_PROXY": TWO}, "two.example"),
        ("https://a.example", {"HTTPS_PROXY": "one.example"}, "one.example"),
        ("https://a.example", {"HTTPS_PROXY": ONE, "NO_PROXY": "*"}, None),
        ("https://a.example", {"HTTPS_PROXY": ONE, "no_proxy": "b.example, example"}, None),
        ("https://a.example", {"HTTPS_PROXY": ONE, "NO_PROXY": "A.Example"}, None),
        ("https://a.example", {"HTTPS_PROXY": ONE, "NO_PROXY": ".a.example"}, None),
        ("https://b.a.example", {"HTTPS_PROXY": ONE, "NO_PROXY": "*.a.example"}, None),
        ("https://ba.example", {"HTTPS_PROXY": ONE, "NO_PROXY": "a.example"}, "one.example"),
        ("https://a.example:8443", {"HTTPS_PROXY": ONE, "NO_PROXY": "a.example:443"}, "one.example"),
        ("https://a.example", {"HTTPS_PROXY": ONE, "NO_PROXY": "a.example:443"}, None),
        ("http://10.1.2.3:8000", {"HTTP_PROXY": ONE, "NO_PROXY": "10.0.0.0/8"}, None),
        ("http://11.1.2.3:8000", {"HTTP_PROXY": ONE, "NO_PROXY": "10.0.0.0/8, 1.2.3"}, "one.example"),
        ("http://10.1.2.3:8000", {"HTTP_PROXY": ONE, "NO_PROXY": "10.1.2.3:8000"}, None),
        ("http://[fd00::1]:8000", {"HTTP_PROXY": ONE, "NO_PROXY": "fd00::/8"}, None),
        ("http://localhost:8000", {"HTTP_PROXY": ONE}, None),
        ("http://127.0.0.5:8000", {"HTTP_PROXY": ONE}, None),
        ("http://[::1]:8000", {"ALL_PROXY": ONE}, None),
        ("http+unix://%2Frun%2Fa.sock", {"HTTP_PROXY": ONE, "ALL_PROXY": ONE}, None),
        ("https://a.example", {}, None),
    ],
)
def test_the_environment_says_who_goes_through_which_proxy(url: str, env: dict[str, str], host: str | None) -> None:
    found = proxy_of_environment(Origin.parse(url), env)
    assert (None if found is None else found.host) == host


@pytest.mark.parametrize(
    "url",
    ["socks5://a:1080", "https://a:443", "http://", "http://a:0", "http://a:x", "http://a/b", "http://u:se3cret@"],
)
def test_what_is_no_proxy_is_named_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"^HTTPS_PROXY: ") as told:
        proxy_of_environment(Origin.parse("https://a.example"), {"HTTPS_PROXY": url})
    assert "se3cret" not in str(told.value)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"proxy": "socks5://a:1080"}, "reached by http://"),
        ({"proxy": "http://u:se3cret@a:3128"}, "must not hold a user or password"),
        ({"tls_key_file": "a.key"}, "tls_cert_file"),
    ],
)
def test_options_that_cannot_be_kept_are_refused(options: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        OpenAIHttpOptions.model_validate(options)
