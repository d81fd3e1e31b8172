"""litellm's model_list: what becomes of an entry, and what is refused rather than ignored."""

from pathlib import Path
from typing import Any

import pytest

from pointsman.experts.backend_spec import OptionProblems
from pointsman.experts.backends.litellm import LitellmOptions
from pointsman.experts.spec import TEXT_CAPABILITIES, Capability, Price
from pointsman.gateway.settings import ExpertSettings, PoolSettings, SettingsError
from pointsman.gateway.settings.load import parse_settings


def convert(entry: str) -> ExpertSettings:
    return parse_settings(f"pool: {{model_list: [{entry}]}}", source="f", folder=Path("/"), env={}).pool.experts[0]


def refusal(entry: str) -> str:
    with pytest.raises(SettingsError) as caught:
        convert(entry)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


@pytest.mark.parametrize(
    ("params", "backend", "model"),
    [
        ("model: hosted_vllm/Qwen/Qwen3-8B, api_base: 'http://v/v1'", "openai_http", "Qwen/Qwen3-8B"),
        ("model: openai/my-model, api_base: 'http://v/v1'", "openai_http", "my-model"),
        ("model: openai/my-model, base_url: 'http://v/v1'", "openai_http", "my-model"),
        ("model: openai/gpt-4o", "litellm", "openai/gpt-4o"),
        ("model: gpt-4o", "litellm", "gpt-4o"),
        ("model: azure/gpt-4o, api_base: 'https://x.openai.azure.com'", "litellm", "azure/gpt-4o"),
        ("model: bedrock/anthropic.claude-3", "litellm", "bedrock/anthropic.claude-3"),
    ],
)
def test_servers_that_speak_the_protocol_are_reached_directly(params: str, backend: str, model: str) -> None:
    expert = convert(f"{{model_name: a, litellm_params: {{{params}}}}}")
    assert (expert.backend, expert.model) == (backend, model)


def test_prices_capabilities_limits_and_our_own_fields_are_taken_over() -> None:
    expert = convert(
        """{model_name: a, litellm_params: {model: hosted_vllm/m, api_base: 'http://v', timeout: 30, stream_timeout: 5,
        max_parallel_requests: 8, extra_headers: {x-team: search}, api_key: os.environ/V_KEY},
        model_info: {id: ab12, mode: chat, max_input_tokens: 32768, input_cost_per_token: 1.5e-7,
        output_cost_per_token: 6.0e-7, supports_function_calling: true, supports_vision: false,
        supports_audio_input: true, generalist: true, params_total_b: 8, quality_prior: {"*": 0.6}}}"""
    )
    assert expert.price is not None
    assert expert.spec().price == Price(0.15, 0.6)
    assert expert.capabilities == TEXT_CAPABILITIES | {Capability.TOOLS, Capability.AUDIO}
    assert (expert.context_window_tokens, expert.max_concurrency) == (32768, 8)
    assert (expert.head_timeout_s, expert.idle_timeout_s) == (30, 5)
    assert expert.headers == {"x-team": "search"}
    assert expert.api_key_env == "V_KEY"
    assert expert.generalist
    assert expert.quality_prior == {"*": 0.6}


def test_what_litellm_alone_understands_is_handed_to_it() -> None:
    expert = convert(
        "{model_name: a, litellm_params: {model: azure/x, api_version: '2024-06-01', temperature: 0, "
        "max_tokens: 500, aws_secret_access_key: os.environ/AWS_SECRET}}"
    )
    params = {"api_version": "2024-06-01", "temperature": 0, "max_tokens": 500}
    assert expert.options == {"params": {**params, "aws_secret_access_key": "os.environ/AWS_SECRET"}}
    options = LitellmOptions.model_validate(expert.options)
    assert options.arguments({"AWS_SECRET": "s3"}) == {**params, "aws_secret_access_key": "s3"}
    with pytest.raises(OptionProblems, match="AWS_SECRET is not set"):
        options.arguments({})


@pytest.mark.parametrize("key", ["none", "EMPTY", "dummy", ""])
def test_a_placeholder_is_no_key(key: str) -> None:
    expert = convert(
        f"{{model_name: a, litellm_params: {{model: hosted_vllm/m, api_base: 'http://v', api_key: '{key}'}}}}"
    )
    assert expert.api_key_env is None


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{model_name: a, litellm_params: {model: x, api_key: sk-123}}", "litellm_params.api_key: secrets never stand"),
        (
            "{model_name: a, litellm_params: {model: x, aws_secret_access_key: abc}}",
            "aws_secret_access_key: secrets never",
        ),
        ("{model_name: a, litellm_params: {model: x, rpm: 3}}", "litellm_params.rpm: is not held by this gateway"),
        (
            "{model_name: a, litellm_params: {model: hosted_vllm/x, api_base: 'http://v', temperature: 0}}",
            "litellm_params.temperature: cannot be honoured: hosted_vllm/x is reached directly",
        ),
        ("{model_name: a, litellm_params: {model: hosted_vllm/x}}", "litellm_params.api_base: is missing"),
        ("{model_name: a, litellm_params: {}}", "litellm_params.model: is missing"),
        ("{model_name: '*', litellm_params: {model: '*'}}", "model_name: wildcards are not supported"),
        ("{model_name: auto, litellm_params: {model: x}}", "model_name: 'auto' is reserved"),
        ("{model_name: a, litellm_params: {model: x}, model_info: {crad: hi}}", "model_info.crad: unknown key"),
        (
            "{model_name: a, litellm_params: {model: x}, model_info: {params_total_b: -1}}",
            "model_info.params_total_b: ",
        ),
        ("{model_name: a, litellm_params: {model: x, input_cost_per_token: 1.0e-6}}", "must both be numbers"),
        ("{model_name: a, litellm_params: {model: x}, tpm: 1}", "pool.model_list[0].tpm: unknown key"),
    ],
)
def test_an_unsupported_option_is_refused_with_its_path(entry: str, problem: str) -> None:
    found = refusal(entry)
    assert found.startswith("pool.model_list[0].")
    assert problem in found
    assert "sk-123" not in found


def test_model_list_stands_behind_experts_and_names_stay_unique() -> None:
    tree: dict[str, Any] = {
        "experts": [{"name": "a", "backend": "fake"}],
        "model_list": [{"model_name": "b", "litellm_params": {"model": "x"}}],
    }
    pool = PoolSettings.model_validate(tree)
    assert [expert.name for expert in pool.experts] == ["a", "b"]
    assert PoolSettings.model_validate_json(pool.model_dump_json()) == pool
    with pytest.raises(SettingsError, match=r"model_list\[0\]\.model_name: 'a' is already the name of experts\[0\]"):
        parse_settings(
            "pool: {experts: [{name: a, backend: fake}], model_list: [{model_name: a, litellm_params: {model: x}}]}",
            source="f",
            folder=Path("/"),
        )
