"""What the environment may change, and how it stands to file and options."""

from pathlib import Path
from typing import Any

import pytest

from pointsman.gateway.settings import Settings, SettingsError
from pointsman.gateway.settings.load import parse_settings

POOL = "pool: {experts: [{name: a, backend: openai_http, base_url: 'http://${HOST:-localhost}:${PORT}/v1'}]}"


def parse(text: str, **more: Any) -> Settings:
    return parse_settings(text, source="test.yaml", folder=Path("/"), **more)


def test_options_beat_the_environment_and_the_environment_beats_the_file() -> None:
    text = "server: {port: 1, workers: 1, host: localhost}"
    env = {"POINTSMAN_PORT": "2", "POINTSMAN_WORKERS": "2", "POINTSMAN_HOST": "127.0.0.2"}
    server = parse(text, env=env, overrides={"server.port": 3}).server
    assert (server.host, server.port, server.workers) == ("127.0.0.2", 3, 2)
    assert parse(text).server.port == 1


@pytest.mark.parametrize("value", ["x", "1.5", "-1", "٣"])
def test_a_malformed_override_names_the_variable(value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse("", env={"POINTSMAN_PORT": value})
    assert caught.value.problems == [f"POINTSMAN_PORT: must be a whole number, got {value!r} (environment variable)"]


def test_an_override_that_is_out_of_range_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"server\.port: should be less than or equal to 65535"):
        parse("", env={"POINTSMAN_PORT": "70000"})


def test_an_empty_variable_is_no_variable() -> None:
    assert parse("server: {port: 9}", env={"POINTSMAN_PORT": " ", "REDIS_URL": ""}).server.port == 9


def test_redis_url_fills_a_gap_only() -> None:
    env = {"REDIS_URL": "redis://env:6379"}
    assert parse("", env=env).redis.url == "redis://env:6379"
    assert parse("redis: {key_prefix: mine}", env=env).redis.url == "redis://env:6379"
    assert parse("redis:", env=env).redis.url == "redis://env:6379"
    assert parse("redis: {url: 'redis://file:6379'}", env=env).redis.url == "redis://file:6379"
    assert parse("").redis.url is None


def test_addresses_are_filled_in_from_the_environment() -> None:
    assert parse(POOL, env={"PORT": "8000"}).pool.experts[0].base_url == "http://localhost:8000/v1"
    assert parse(POOL, env={"PORT": "8000", "HOST": "gpu"}).pool.experts[0].base_url == "http://gpu:8000/v1"


def test_a_missing_variable_is_named_with_its_path() -> None:
    with pytest.raises(SettingsError) as caught:
        parse(POOL, env={})
    assert "pool.experts[0].base_url: the environment variable PORT is not set (line 1)" in caught.value.problems


def test_litellms_own_way_to_name_variables_is_understood_in_addresses() -> None:
    text = """
pool:
  model_list:
    - model_name: a
      litellm_params: {model: hosted_vllm/m, api_base: os.environ/VLLM_BASE}
"""
    assert parse(text, env={"VLLM_BASE": "http://gpu:8000"}).pool.experts[0].base_url == "http://gpu:8000"
    with pytest.raises(SettingsError, match="VLLM_BASE is not set"):
        parse(text, env={})


def test_nothing_else_is_filled_in() -> None:
    text = "pool: {experts: [{name: a, backend: fake, card: 'costs ${PORT}', options: {reply: '${PORT}'}}]}"
    expert = parse(text, env={"PORT": "1"}).pool.experts[0]
    assert expert.card == "costs ${PORT}"
    assert expert.options == {"reply": "${PORT}"}
