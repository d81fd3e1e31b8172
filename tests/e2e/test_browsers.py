"""Pages of other origins: nothing by default, and what the operator allows otherwise; HEAD and methods on the way."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from pointsman.gateway.settings import Settings
from tests.e2e.running import Running, Transport, both, fake, running

PAGE = "https://app.example.org"
ASKS = {"origin": PAGE, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
CHAT = {"model": "only", "messages": [{"role": "user", "content": "hello"}]}
ENV = {"KEY": "sk-0123456789abcdef"}
KEY = {"authorization": "Bearer sk-0123456789abcdef"}


def tree(**cors: Any) -> dict[str, Any]:
    return {
        "pool": {"experts": [fake("only", generalist=True)]},
        "auth": {"keys": [{"name": "page", "key_env": "KEY"}]},
        "server": {"cors": cors},
    }


async def head_of(gateway: Running, method: str, path: str, headers: dict[str, str], **more: Any) -> tuple[int, Any]:
    async with aiohttp.ClientSession(gateway.url) as http, http.request(method, path, headers=headers, **more) as reply:
        await reply.read()
        return reply.status, reply.headers


@both
async def test_by_default_no_page_of_another_origin_may_call(transport: Transport) -> None:
    async with running(tree(), ENV, transport=transport) as gateway:
        for path in ("/v1/chat/completions", "/v1/models"):
            status, headers = await head_of(gateway, "OPTIONS", path, {**ASKS, **KEY})
            assert (status, "access-control-allow-origin" in headers) == (405, False)
            assert headers["allow"] in ("POST", "GET, HEAD")
        status, headers = await head_of(gateway, "POST", "/v1/chat/completions", {"origin": PAGE, **KEY}, json=CHAT)
        assert (status, "access-control-allow-origin" in headers) == (200, False)


@both
@pytest.mark.parametrize("stream", [False, True])
async def test_a_page_that_may_call_reads_answers_streams_and_errors(transport: Transport, stream: bool) -> None:
    async with running(tree(origins=[PAGE], max_age_s=60), ENV, transport=transport) as gateway:
        for path in ("/v1/chat/completions", "/v1/messages", "/v1/models", "/nowhere"):
            # A browser sends no key with its question.
            status, headers = await head_of(gateway, "OPTIONS", path, ASKS)
            assert (status, headers["access-control-allow-origin"]) == (204, PAGE)
            assert headers["access-control-allow-headers"] == "authorization"
            assert (headers["access-control-max-age"], headers["vary"]) == ("60", "origin")
        body = {**CHAT, "stream": stream}
        for path, key, expected in [
            ("/v1/chat/completions", KEY, 200),
            ("/v1/chat/completions", {}, 401),
            ("/v1/nowhere", KEY, 404),
        ]:
            status, headers = await head_of(gateway, "POST", path, {"origin": PAGE, **key}, json=body)
            assert (status, headers["access-control-allow-origin"]) == (expected, PAGE)
            assert "x-pointsman-decision" in headers["access-control-expose-headers"]
        for method, path in (("OPTIONS", "/v1/models"), ("POST", "/v1/chat/completions")):
            asked = {**ASKS, **KEY, "origin": "https://evil.example.org"}
            _, headers = await head_of(gateway, method, path, asked, json=body)
            assert "access-control-allow-origin" not in headers
            assert headers["vary"] == "origin", "no cache may give it to the other page"


@both
async def test_all_pages_may_call_and_send_what_is_allowed(transport: Transport) -> None:
    async with running(tree(origins=["*"], headers=["authorization"]), ENV, transport=transport) as gateway:
        status, headers = await head_of(gateway, "OPTIONS", "/v1/messages", {**ASKS, "origin": "null"})
        assert (status, headers["access-control-allow-origin"]) == (204, "*")
        assert headers["access-control-allow-headers"] == "authorization"
        assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize(
    "cors", [{"origins": ["*"], "credentials": True}, {"origins": ["app.example.org"]}, {"origins": ["https://a/b"]}]
)
def test_what_no_browser_would_take_is_no_setting(cors: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"origins|credentials"):
        Settings.model_validate(tree(**cors))


@both
async def test_head_is_get_without_the_body(transport: Transport) -> None:
    async with running(tree(), ENV, transport=transport) as gateway:
        for path in ("/health", "/ready", "/metrics", "/v1/models", "/v1/models/only"):
            got = await head_of(gateway, "GET", path, KEY)
            status, headers = await head_of(gateway, "HEAD", path, KEY)
            assert (status, headers["content-type"]) == (got[0], got[1]["content-type"])
        assert (await head_of(gateway, "HEAD", "/v1/models", {}))[0] == 401
        assert (await head_of(gateway, "HEAD", "/", KEY))[0] == 404
        status, headers = await head_of(gateway, "DELETE", "/health", KEY)
        assert (status, headers["allow"]) == (405, "GET, HEAD")
