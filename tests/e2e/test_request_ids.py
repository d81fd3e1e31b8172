"""Every response has an id by the names that SDKs read."""

from __future__ import annotations

import anthropic
import httpx
import openai
import pytest

from tests.e2e.running import Transport, both, fake, running

ASKED = [{"role": "user", "content": "hello"}]


@both
async def test_sdks_know_the_id_of_answers_and_of_errors(transport: Transport) -> None:
    async with running({"pool": {"experts": [fake("only", generalist=True)]}}, transport=transport) as gateway:
        client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)
        answer = await client.chat.completions.create(model="auto", messages=ASKED)
        assert answer._request_id.startswith("dec_")
        with pytest.raises(openai.NotFoundError) as refused:
            await client.chat.completions.create(model="nobody", messages=ASKED)
        assert refused.value.request_id
        claude = anthropic.AsyncAnthropic(base_url=gateway.url, api_key="none", max_retries=0)
        message = await claude.messages.create(model="auto", messages=ASKED, max_tokens=9)
        assert message._request_id.startswith("dec_")
        with pytest.raises(anthropic.NotFoundError) as refused:
            await claude.messages.create(model="nobody", messages=ASKED, max_tokens=9)
        assert refused.value.request_id
        async with client.chat.completions.with_streaming_response.create(
            model="auto", messages=ASKED, stream=True
        ) as stream:
            assert stream.headers["request-id"] == stream.headers["x-request-id"]


@both
async def test_a_clients_own_id_comes_back_where_it_can_be_written(transport: Transport) -> None:
    async with (
        running({"pool": {"experts": [fake("only", generalist=True)]}}, transport=transport) as gateway,
        httpx.AsyncClient(base_url=gateway.url) as http,
    ):
        for method, path in (("GET", "/health"), ("POST", "/v1/chat/completions"), ("GET", "/nowhere")):
            found = await http.request(method, path, headers={"x-request-id": "trace-7"}, content=b"{}")
            assert (found.headers["x-request-id"], found.headers["request-id"]) == ("trace-7", "trace-7")
            long = await http.request(method, path, headers={"x-request-id": "x" * 900}, content=b"{}")
            assert len(long.headers["x-request-id"]) < 100
