"""What went wrong in other gateways, tried upon ours (`docs/peers.md`)."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys

import aiohttp
import aiohttp.web
import pytest
from yarl import URL

from tests.e2e.running import fake, running

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hello there"}]}
KEY = "sk-aaaaaaaaaaaaaaaaaaaaaaaaaaaa"
AUTH = {"keys": [{"name": "a", "key_env": "KEY_A"}]}


@pytest.mark.parametrize("host", ["x/health?", "x/health#", "x\\health", "/health", "x/ready/..", "x@/health?"])
async def test_a_crafted_host_header_opens_nothing(host: str) -> None:
    tree = {"pool": {"experts": [fake("only", generalist=True)]}, "auth": AUTH}
    async with running(tree, {"KEY_A": KEY}) as gateway:
        address = URL(gateway.url)
        for path in ("/v1/models", "/docs"):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
            reply = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            assert reply.split(b" ", 2)[1] in {b"400", b"401", b"404"}, path


@pytest.mark.parametrize(
    "given",
    [
        KEY[:20],
        KEY[:-1] + "b",
        KEY + "x",
        hashlib.sha256(KEY.encode()).hexdigest(),
        hashlib.blake2b(KEY.encode(), digest_size=32).hexdigest(),
        "' OR '1'='1",
    ],
)
async def test_only_the_whole_key_itself_is_a_key(given: str) -> None:
    tree = {"pool": {"experts": [fake("only", generalist=True)]}, "auth": AUTH}
    async with running(tree, {"KEY_A": KEY}) as gateway, aiohttp.ClientSession() as http:
        # The true key first: what is remembered of it must not let a likeness in.
        for key, status in ((KEY, 200), (given, 401)):
            headers = {"authorization": f"Bearer {key}"}
            async with http.post(f"{gateway.url}/v1/chat/completions", json=CHAT, headers=headers) as reply:
                assert reply.status == status


@pytest.mark.parametrize("stream", [False, True])
async def test_an_experts_headers_do_not_reach_the_client(stream: bool) -> None:
    async def expert(request: aiohttp.web.Request) -> aiohttp.web.Response:
        headers = {
            "x-goog-api-key": "leaked",
            "authorization": "Bearer leaked",
            "set-cookie": "session=leaked",
            "x-pointsman-expert": "leaked",
        }
        if stream:
            event = b'data: {"id":"1","model":"inner","choices":[]}\n\ndata: [DONE]\n\n'
            return aiohttp.web.Response(body=event, content_type="text/event-stream", headers=headers)
        return aiohttp.web.json_response({"id": "1", "model": "inner", "choices": []}, headers=headers)

    app = aiohttp.web.Application()
    app.router.add_post("/v1/chat/completions", expert)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    upstream = {
        "name": "outer",
        "backend": "openai_http",
        "model": "inner",
        "base_url": f"http://127.0.0.1:{runner.addresses[0][1]}",
        "generalist": True,
    }
    tree = {"pool": {"experts": [upstream], "probe_interval_s": 0}}
    try:
        async with running(tree) as gateway, aiohttp.ClientSession() as http:
            async with http.post(f"{gateway.url}/v1/chat/completions", json={**CHAT, "stream": stream}) as reply:
                assert reply.status == 200
                assert await reply.read()
            assert "leaked" not in str(reply.raw_headers)
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("level", ["info", "debug"])
async def test_no_key_reaches_the_log(level: str, caplog: pytest.LogCaptureFixture) -> None:
    """S10: not in good requests, nor in refused ones, nor where an expert fails."""
    caplog.set_level(level.upper())
    tree = {
        "pool": {"experts": [fake("only", generalist=True), fake("dead", options={"fault": "refuse"})]},
        "auth": {"keys": [{"name": "a", "key_env": "KEY_A"}]},
    }
    async with running(tree, {"KEY_A": "sk-the-true-key"}) as gateway, aiohttp.ClientSession(gateway.url) as http:
        for model, key in (("auto", "sk-the-true-key"), ("dead", "sk-the-true-key"), ("auto", "sk-a-guessed-key")):
            asked = {"model": model, "messages": [{"role": "user", "content": "my secret question"}]}
            async with http.post("/v1/chat/completions", json=asked, headers={"authorization": f"Bearer {key}"}):
                pass
    ours = [record for record in caplog.records if record.name.startswith("pointsman.")]
    logged = "\n".join(record.getMessage() for record in ours)
    assert "dead" in logged, "something was logged"
    for secret in ("sk-the-true-key", "sk-a-guessed-key", "secret question"):
        assert secret not in logged


_STARTS_A_PROCESS = frozenset({"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"})
_audited: dict[str, list[str]] = {}


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event in _STARTS_A_PROCESS:
        for seen in _audited.values():
            seen.append(f"{event} {arguments[:1]}")


async def test_no_request_starts_a_process() -> None:
    """S3: whatever a request names (commands, servers of tools, files, addresses), the gateway runs nothing of it."""
    # A hook cannot be taken out again: while nobody looks, it notes nothing.
    sys.addaudithook(_audit)
    poison = {
        "command": "touch",
        "args": ["owned"],
        "mcp_servers": [{"name": "x", "command": "sh", "args": ["-c", "id"], "url": "stdio:sh"}],
        "tools": [{"type": "mcp", "server_label": "x", "command": "sh", "server_url": "stdio://sh"}],
        "model_path": "/bin/sh",
        "litellm_params": {"command": "sh"},
        "metadata": {"__class__": "subprocess.Popen"},
    }
    asked = [
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/responses"),
        ("POST", "/v1/messages"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/route"),
        ("POST", "/v1/feedback"),
        ("GET", "/v1/models/sh;id"),
        ("GET", "/v1/decisions/$(id)"),
        ("GET", "/ready"),
        ("GET", "/metrics"),
    ]
    tree = {"pool": {"experts": [fake("only", generalist=True, capabilities=["chat", "completions", "tools"])]}}
    async with running(tree) as gateway, aiohttp.ClientSession(gateway.url) as http:
        seen = _audited["here"] = []
        try:
            for method, path in asked:
                body = {**CHAT, "prompt": "hello", "input": "hello", "max_tokens": 5, **poison}
                async with http.request(method, path, json=body if method == "POST" else None) as reply:
                    assert reply.status < 500, path
            assert gateway.fake("only").stats.started > 0, "some were answered"
            assert seen == []
            subprocess.run(["true"], check=True)  # the proof that the hook sees
            assert seen
        finally:
            del _audited["here"]


async def test_nothing_over_http_changes_settings() -> None:
    """S6: what other gateways change by `/config/update`, `/model/new` or `/key/generate` is not there, for any key."""
    tree = {
        "pool": {"experts": [fake("only", generalist=True)]},
        "auth": {"keys": [*AUTH["keys"], {"name": "o", "key_env": "KEY_O", "role": "operator"}]},
    }
    env = {"KEY_A": KEY, "KEY_O": "sk-operator"}
    async with running(tree, env) as gateway, aiohttp.ClientSession(gateway.url) as http:
        before = gateway.app.runtime.settings.model_dump_json()
        async with http.get("/openapi.json", headers={"authorization": f"Bearer {KEY}"}) as reply:
            paths = set((await reply.json())["paths"])
        assert not {path for path in paths if path.startswith(("/admin", "/config", "/key", "/model/"))}
        for path in ("/config/update", "/model/new", "/key/generate", "/user/new", "/admin/reload", "/admin/rollback"):
            for key in (KEY, "sk-operator"):
                for method in ("POST", "PUT", "PATCH", "DELETE"):
                    body = {"pool": {"experts": []}, "model_name": "x"}
                    async with http.request(
                        method, path, json=body, headers={"authorization": f"Bearer {key}"}
                    ) as reply:
                        assert reply.status in {404, 405}
        assert gateway.app.runtime.settings.model_dump_json() == before
        assert gateway.app.runtime.configuration.version == 1
