"""Experts with names as people and tables have them, wherever a name goes: path, headers, metrics, records and keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import anthropic
import openai
import pytest

from pointsman.gateway.process.redis_server import EmbeddedRedis
from pointsman.gateway.settings import Settings, SettingsError
from pointsman.gateway.settings.load import parse_settings
from tests.e2e.running import both, fake, running

HELLO: list[Any] = [{"role": "user", "content": "hello there"}]
NAMES = [
    "Claude 3.5 Sonnet",
    "GPT-4 Turbo (128k)",
    "org/model:tag",
    "meta-llama/Llama-3.3-70B-Instruct-Turbo@v1",
    "groß",
    "模型-一号",
    "modèle #1, 50% off?",
    'say "hi" \\ it\'s {me} & you',
    ".hidden/../x",
    "models",
    "v1/models/x",
    "🚂",
    "a" * 200,
]


@both
@pytest.mark.parametrize("name", NAMES)
async def test_a_name_of_any_kind_is_served(name: str, transport: Any, tmp_path: Path) -> None:
    redis = EmbeddedRedis(tmp_path, scripts=True)
    assert redis.start()
    tree: dict[str, Any] = {
        "pool": {"experts": [fake(name, options={"reply": "fine"}), fake("other")]},
        "aliases": {"short": name},
        "redis": {"url": redis.url},
        "auth": {"keys": [{"name": "few", "key_env": "K", "experts": [name], "limits": {"usd_per_day": 1000}}]},
    }
    try:
        async with running(tree, {"K": "sk-few"}, transport=transport) as gateway:
            client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="sk-few", max_retries=0)
            for asked in (name, "short", "auto"):
                raw = await client.chat.completions.with_raw_response.create(model=asked, messages=HELLO)
                assert raw.parse().model == name
                assert unquote(raw.headers["x-pointsman-expert"]) == name
                assert raw.headers["x-pointsman-expert"].isascii()
            async for chunk in await client.chat.completions.create(model=name, messages=HELLO, stream=True):
                assert chunk.model == name
            assert [model.id async for model in client.models.list()] == ["auto", name, "short"]
            found: Any = await client.get(f"/models/{quote(name, safe='')}", cast_to=object)
            assert found["id"] == name
            record: Any = await client.get(f"/decisions/{raw.headers['x-pointsman-decision']}", cast_to=object)
            assert record["expert"] == record["outcome"]["expert"] == name
            told: Any = await client.post(
                "/route", cast_to=object, body={"model": name, "messages": HELLO, "routing": {"experts": [name]}}
            )
            assert told["expert"] == name
            with pytest.raises(openai.PermissionDeniedError):
                await client.chat.completions.create(model="other", messages=HELLO)
            gateway.app.runtime.telemetry.flush()
            async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="sk-few", max_retries=0) as messages:
                answer = await messages.messages.create(model=name, max_tokens=9, messages=HELLO)
                assert answer.model == name
            metrics: Any = await client.with_options(base_url=gateway.url).get("/metrics", cast_to=str)
            written = name.replace("\\", "\\\\").replace('"', '\\"')
            assert f'pointsman_in_flight{{expert="{written}"}} 0.0' in metrics
            await client.close()
    finally:
        redis.stop()


@pytest.mark.parametrize("name", ["", " ", " a", "a ", "a\nb", "a\tb", "a\x00b", "\x7f", "b" * 201, "auto"])
def test_a_name_that_could_not_be_asked_for_is_refused(name: str) -> None:
    tree = {"pool": {"experts": [{"name": name, "backend": "fake"}]}}
    with pytest.raises(ValueError, match="name"):
        Settings.model_validate(tree)


def test_an_error_about_a_name_says_where(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"pool\.experts\[0\]\.name: .* \(line 1\)"):
        parse_settings('pool: {experts: [{name: " x", backend: fake}]}', source="f", folder=tmp_path)
