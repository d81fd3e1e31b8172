"""Base addresses that are not quite ours, and clients of HTTP/1.0."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.paths import RequestTarget, target_of
from tests.e2e.running import Running, Transport, both, fake, running

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
TREE = {
    "pool": {"experts": [fake("only", generalist=True), fake("gpt-4o", options={"reply": "by its deployment"})]},
    "auth": {"keys": [{"name": "client", "key_env": "KEY"}]},
}
ENV = {"KEY": "sk-0123456789abcdef"}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/chat/completions", ("/v1/chat/completions", Endpoint.CHAT)),
        ("/v1/chat/completions/", ("/v1/chat/completions", Endpoint.CHAT)),
        ("/v1/v1/chat/completions", ("/v1/chat/completions", Endpoint.CHAT)),
        ("//v1//chat/completions", ("/v1/chat/completions", Endpoint.CHAT)),
        ("/openai/v1/responses", ("/v1/responses", Endpoint.RESPONSES)),
        ("/api/v1/chat/completions", ("/v1/chat/completions", Endpoint.CHAT)),
        ("/anthropic/v1/messages", ("/v1/messages", Endpoint.MESSAGES)),
        ("/messages/count_tokens", ("/v1/messages/count_tokens", Endpoint.COUNT_TOKENS)),
        ("/v1/v1/messages", ("/v1/messages", Endpoint.MESSAGES)),
        ("/models", ("/v1/models", None)),
        ("/v1/models/", ("/v1/models", None)),
        ("/openai/v1/models/gpt-4o", ("/v1/models/gpt-4o", None)),
        ("/rerank", ("/rerank", Endpoint.RERANK)),
        # Nothing else is taken for something.
        ("/admin/reload", ("/admin/reload", None)),
        ("/v1/chat", ("/v1/chat", None)),
        ("/metrics/", ("/metrics/", None)),
        ("/v1/metrics", ("/v1/metrics", None)),
        ("//health", ("//health", None)),
        ("/openai/deployments/", ("/openai/deployments/", None)),
        ("/openai/deployments/x/models", ("/openai/deployments/x/models", None)),
        ("/", ("/", None)),
        ("", ("", None)),
    ],
)
def test_a_path_is_read_as_it_was_meant(path: str, found: tuple[str, Endpoint | None]) -> None:
    assert target_of(path) == RequestTarget(*found)


def test_azures_paths_name_the_model() -> None:
    found = target_of("/openai/deployments/my%20model/chat/completions")
    assert found == RequestTarget("/v1/chat/completions", Endpoint.CHAT, "my model")


async def ask(gateway: Running, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=gateway.url) as http:
        return await http.post(path, json=body, headers={"authorization": f"Bearer {ENV['KEY']}", **headers})


@both
async def test_requests_by_such_paths_are_answered_as_by_ours(transport: Transport) -> None:
    async with running(TREE, ENV, transport=transport) as gateway:
        for path in ("/chat/completions", "/v1/v1/chat/completions/", "/openai/v1/chat/completions?api-version=1"):
            found = await ask(gateway, path, CHAT)
            assert (found.status_code, found.json()["object"]) == (200, "chat.completion")
            # Keys are asked for as by ours.
            assert (await ask(gateway, path, CHAT, authorization="Bearer wrong")).status_code == 401
        said = (await ask(gateway, "/openai/deployments/gpt-4o/chat/completions?api-version=1", CHAT)).json()
        assert said["choices"][0]["message"]["content"] == "by its deployment"
        without = {"messages": CHAT["messages"]}
        assert (await ask(gateway, "/openai/deployments/gpt-4o/chat/completions", without)).status_code == 200
        assert (await ask(gateway, "/openai/deployments/gpt-4o/chat/completions", [])).status_code == 400
        missing = await ask(gateway, "/v1/chat/completion", CHAT)
        assert missing.status_code == 404
        assert "Did you mean /v1/chat/completions?" in missing.json()["error"]["message"]


@both
async def test_azures_client_is_served(transport: Transport) -> None:
    async with running(TREE, ENV, transport=transport) as gateway:
        client = openai.AsyncAzureOpenAI(azure_endpoint=gateway.url, api_key=ENV["KEY"], api_version="2024-10-21")
        answer = await client.chat.completions.create(model="gpt-4o", messages=CHAT["messages"])
        assert answer.choices[0].message.content == "by its deployment"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions", "/v1/models"])
async def test_a_client_of_http_1_0_gets_no_chunks(stream: bool, path: str) -> None:
    import asyncio

    async with running(TREE, ENV) as gateway:
        port = int(gateway.url.rpartition(":")[2])
        body = json.dumps({**CHAT, "stream": stream}).encode()
        for keep in (b"", b"connection: keep-alive\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            method = b"GET" if path == "/v1/models" else b"POST"
            writer.write(
                b"%b %b HTTP/1.0\r\nauthorization: Bearer %b\r\n%bcontent-length: %d\r\n\r\n%b"
                % (method, path.encode(), ENV["KEY"].encode(), keep, len(body), body)
            )
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert b" 200 ok" in head.partition(b"\r\n")[0]
            assert b"transfer-encoding" not in head
            if b"content-length: " in head:
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                json.loads(await reader.readexactly(length))
                assert keep or not await reader.read(), "without a wish for more the connection ends"
            else:
                assert stream
                assert (await reader.read()).endswith(b"data: [DONE]\n\n"), "its end is that of the connection"
            writer.close()
