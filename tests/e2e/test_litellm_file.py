"""A file in litellm's shape, served as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest

from pointsman.gateway.settings.load import read_settings
from tests.e2e.running import Running, running
from tests.e2e.upstream import Says, Upstream, upstream

HELLO: list[Any] = [{"role": "user", "content": "hello there"}]
CHAT = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "total_tokens": 110,
        "prompt_tokens_details": {"cached_tokens": 80},
    },
}
VECTORS = {
    "object": "list",
    "model": "e",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
    "usage": {"prompt_tokens": 1, "total_tokens": 1},
}
FILE = """
model_list:
  - model_name: q
    litellm_params:
      model: hosted_vllm/Q
      api_base: http://127.0.0.1:{one}/v1
      api_key: sk-of-one
      rpm: 10
      input_cost_per_token: 1e-6
      output_cost_per_token: 2e-6
      cache_read_input_token_cost: 1e-7
  - model_name: q
    litellm_params:
      model: openai/Q
      api_base: os.environ/TWO
      api_key: none
      rpm: 20
      input_cost_per_token: 1e-6
      output_cost_per_token: 2e-6
  - model_name: org/model:8b
    litellm_params: {{model: openai/inner, api_base: os.environ/TWO}}
  - model_name: "any/*"
    litellm_params: {{model: "openai/*", api_base: "http://127.0.0.1:{one}/v1"}}
  - model_name: broken
    litellm_params: {{model: openai/x, api_base: "http://127.0.0.1:9/v1"}}
  - model_name: emb
    litellm_params: {{model: openai/E, api_base: "http://127.0.0.1:{one}/v1"}}
    model_info: {{mode: embedding}}
router_settings:
  model_group_alias: {{gpt-4: q}}
  fallbacks: [{{broken: [q]}}]
general_settings: {{master_key: sk-master}}
pool: {{probe_interval_s: 0}}
redis: {{embedded: false}}
"""


@asynccontextmanager
async def gateway(tmp_path: Path) -> AsyncIterator[tuple[Running, Upstream, Upstream]]:
    answers = {"chat__completions": Says(orjson.dumps(CHAT)), "embeddings": Says(orjson.dumps(VECTORS))}
    async with upstream(**answers) as one, upstream(**answers) as two:
        file = tmp_path / "config.yaml"
        file.write_text(FILE.format(one=one.port))
        env = {"TWO": f"http://127.0.0.1:{two.port}/v1"}
        loaded = read_settings(file, env)
        async with running(loaded.settings.model_dump(), env) as served:
            yield served, one, two


def client_of(served: Running, key: str = "sk-master") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=key, max_retries=0)


async def test_deployments_of_one_name_take_turns_whatever_is_asked_of_them(tmp_path: Path) -> None:
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    asked: list[dict[str, Any]] = [
        {"messages": HELLO},
        {"messages": HELLO, "tools": [tool]},
        {"messages": HELLO, "response_format": {"type": "json_object"}},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, picture]}]},
        {"messages": HELLO, "stream": False, "logprobs": True},
        {"messages": HELLO, "model": "gpt-4"},
    ]
    async with gateway(tmp_path) as (served, one, two), client_of(served) as client:
        for fields in asked:
            answer = await client.chat.completions.create(**{"model": "q", **fields})
            assert answer.choices[0].message.content == "Hi"
        assert len(one.asked) + len(two.asked) == len(asked)
        assert len(one.asked) >= 2
        assert len(two.asked) >= 2
        assert {request.headers.get("authorization") for request in one.asked} == {"Bearer sk-of-one"}
        assert {request.headers.get("authorization") for request in two.asked} == {None}
        assert {request.json["model"] for request in (*one.asked, *two.asked)} == {"Q"}


async def test_the_master_key_is_asked_for(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (served, _, _), client_of(served, "sk-wrong") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()


async def test_names_of_all_kinds_are_answered(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (served, one, two), client_of(served) as client:
        ids = [model.id async for model in client.models.list()]
        assert ids == ["auto", "q", "q-2", "org/model:8b", "broken", "emb", "gpt-4"]
        await client.chat.completions.create(model="org/model:8b", messages=HELLO)
        assert two.asked[-1].json["model"] == "inner"
        await client.chat.completions.create(model="any/deep/model:1", messages=HELLO)
        assert one.asked[-1].json["model"] == "deep/model:1"
        assert (await client.chat.completions.create(model="broken", messages=HELLO)).model in ("q", "q-2")


async def test_an_embedding_model_embeds_and_never_chats(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (served, one, two), client_of(served) as client:
        found = await client.embeddings.create(model="emb", input="x", encoding_format="float")
        assert found.data[0].embedding == [0.5]
        found = await client.embeddings.create(model="auto", input="x", encoding_format="float")
        assert found.model == "emb"
        for text in ("hello", "write python code", "2+2?", "diabetes treatment?"):
            asked: list[Any] = [{"role": "user", "content": text}]
            await client.chat.completions.create(model="auto", messages=asked)
        chats = [one for one in (*one.asked, *two.asked) if one.target == "/v1/chat/completions"]
        assert "E" not in {chat.json["model"] for chat in chats}


async def test_cached_tokens_are_charged_and_told_at_their_price(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (served, _, _), client_of(served) as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="q", messages=HELLO, max_tokens=50, extra_body={"routing": {"experts": ["q"]}}
        )
        record: Any = await client.get(f"/decisions/{raw.headers['x-pointsman-decision']}", cast_to=object)
        outcome = record["outcome"]
        assert (outcome["prompt_tokens"], outcome["cached_tokens"]) == (100, 80)
        assert outcome["cost_usd"] == pytest.approx((20 + 8 + 20) / 1e6)
        served.app.runtime.telemetry.flush()
        metrics: Any = await client.with_options(base_url=served.url).get("/metrics", cast_to=str)
        assert 'pointsman_token_details_total{expert="q",kind="cached"} 80.0' in metrics
