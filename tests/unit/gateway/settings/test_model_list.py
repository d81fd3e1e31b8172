"""litellm's model_list: what becomes of an entry, and what is refused rather than ignored."""

from pathlib import Path
from typing import Any

import pytest

from pointsman.experts.backend_spec import OptionProblems
from pointsman.experts.backends.litellm import LitellmOptions
from pointsman.experts.spec import TEXT_CAPABILITIES, Capability, Price
from pointsman.gateway.settings import ExpertSettings, Settings, SettingsError
from pointsman.gateway.settings.load import parse_settings, read_settings


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
    assert expert.capabilities == TEXT_CAPABILITIES | {Capability.TOOLS, Capability.JSON_SCHEMA, Capability.AUDIO}
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
        ("{model_name: a, litellm_params: {model: hosted_vllm/x}}", "litellm_params.api_base: is missing"),
        ("{model_name: a, litellm_params: {}}", "litellm_params.model: is missing"),
        ("{model_name: '', litellm_params: {model: x}}", "model_name: must be text"),
        ("{litellm_params: {model: x}}", "model_name: is missing"),
        ("{model_name: a}", "litellm_params: is missing"),
        ("{model_name: a, litellm_params: [x]}", "litellm_params: must be a mapping"),
        ("{model_name: a, litellm_params: {model: 4}}", "litellm_params.model: must be text"),
        ("{model_name: a, litellm_params: {model: x}, model_info: [1]}", "model_info: must be a mapping"),
        ("{model_name: auto, litellm_params: {model: x}}", "model_name: 'auto' is reserved"),
        (
            "{model_name: a, litellm_params: {model: x}, model_info: {params_total_b: -1}}",
            "model_info.params_total_b: ",
        ),
        (
            "{model_name: a, litellm_params: {model: x, input_cost_per_token: dear}}",
            "input_cost_per_token: must be a number",
        ),
        (
            "{model_name: a, litellm_params: {model: x, output_cost_per_token: -1}}",
            "output_cost_per_token: must be a number",
        ),
    ],
)
def test_an_unsupported_option_is_refused_with_its_path(entry: str, problem: str) -> None:
    found = refusal(entry)
    assert found.startswith("pool.model_list[0].")
    assert problem in found
    assert "sk-123" not in found


def test_model_list_stands_behind_experts_and_names_stay_unique() -> None:
    tree: dict[str, Any] = {
        "pool": {
            "experts": [{"name": "a", "backend": "fake"}],
            "model_list": [
                {"model_name": "b", "litellm_params": {"model": "x"}},
                {"model_name": "b", "litellm_params": {"model": "y"}},
            ],
        }
    }
    settings = Settings.model_validate(tree)
    assert [expert.name for expert in settings.pool.experts] == ["a", "b", "b-2"]
    assert settings.aliases["b"].experts == ("b", "b-2")
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
    with pytest.raises(SettingsError, match=r"model_list\[0\]\.model_name: 'a' is already the name of an expert"):
        parse_settings(
            "pool: {experts: [{name: a, backend: fake}], model_list: [{model_name: a, litellm_params: {model: x}}]}",
            source="f",
            folder=Path("/"),
        )
    with pytest.raises(SettingsError, match=r"experts\[1\]\.name: 'a' is already the name of experts\[0\]"):
        parse_settings(
            "pool: {experts: [{name: a, backend: fake}, {name: a, backend: fake}]}", source="f", folder=Path("/")
        )


@pytest.mark.parametrize(
    ("entry", "where"),
    [
        ("{model_name: a, litellm_params: {model: x, rpm: 3}}", "litellm_params.rpm"),
        ("{model_name: a, litellm_params: {model: x, weight: 3}}", "litellm_params.weight"),
        ("{model_name: a, litellm_params: {model: x, max_retries: 3}}", "litellm_params.max_retries"),
        (
            "{model_name: a, litellm_params: {model: hosted_vllm/x, api_base: 'http://v', drop_params: true}}",
            "litellm_params.drop_params",
        ),
        ("{model_name: a, litellm_params: {model: x, input_cost_per_second: 0.1}}", "litellm_params.input_cost_per"),
        ("{model_name: a, litellm_params: {model: x}, model_info: {crad: hi}}", "model_info.crad"),
        ("{model_name: a, litellm_params: {model: x}, model_info: {access_groups: [b]}}", "model_info.access_groups"),
        ("{model_name: a, litellm_params: {model: x}, tpm: 1}", "tpm"),
        ("{model_name: a, litellm_params: {model: x, input_cost_per_token: 1.0e-6}}", ""),
    ],
)
def test_what_has_no_counterpart_is_left_out_with_a_warning(entry: str, where: str, tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text(f"pool:\n  model_list:\n    - {entry}\n")
    loaded = read_settings(file)
    assert [expert.name for expert in loaded.settings.pool.experts] == ["a"]
    (warning,) = loaded.warnings
    assert warning.startswith(f"pool.model_list[0].{where}" if where else "pool.model_list[0]")
    assert "(line 3)" in warning


@pytest.mark.parametrize(
    ("fields", "capabilities"),
    [
        ("model_info: {mode: embedding}", {"embeddings"}),
        ("model_info: {mode: rerank}", {"rerank"}),
        ("model_info: {mode: completion}", {"completions", "streaming"}),
        ("model_info: {mode: responses}", {"chat", "completions", "streaming", "tools", "json_schema"}),
        ("model_info: {supports_vision: true}", {"chat", "completions", "streaming", "tools", "json_schema", "vision"}),
        ("model_info: {supports_function_calling: false}", {"chat", "completions", "streaming", "json_schema"}),
        ("model_info: {mode: embedding, capabilities: [embeddings, score]}", {"embeddings", "score"}),
    ],
)
def test_a_model_serves_what_its_mode_says(fields: str, capabilities: set[str]) -> None:
    expert = convert(f"{{model_name: a, litellm_params: {{model: hosted_vllm/m, api_base: 'http://v'}}, {fields}}}")
    assert set(expert.capabilities) == capabilities


@pytest.mark.parametrize(
    ("model", "capabilities"),
    [
        ("openai/text-embedding-3-small", {"embeddings"}),
        ("hosted_vllm/BAAI/bge-m3", {"embeddings"}),
        ("hosted_vllm/Qwen/Qwen3-Reranker-8B", {"rerank"}),
        ("hosted_vllm/Qwen/Qwen3-Embedding-8B", {"embeddings"}),
    ],
)
def test_without_a_mode_the_name_says_what_does_not_chat(model: str, capabilities: set[str]) -> None:
    expert = convert(f"{{model_name: a, litellm_params: {{model: {model}, api_base: 'http://v'}}}}")
    assert set(expert.capabilities) == capabilities


@pytest.mark.parametrize(
    ("entry", "address", "variable"),
    [
        ("model: openai/text-embedding-3-large", "https://api.openai.com/v1", "OPENAI_API_KEY"),
        ("model: text-embedding-ada-002, api_key: os.environ/MINE", "https://api.openai.com/v1", "MINE"),
        ("model: mistral/mistral-embed", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    ],
)
def test_embedding_models_of_known_providers_are_reached_directly(entry: str, address: str, variable: str) -> None:
    expert = convert(f"{{model_name: e, litellm_params: {{{entry}}}}}")
    assert (expert.backend, expert.base_url, expert.api_key_env) == ("openai_http", address, variable)
    assert set(expert.capabilities) == {"embeddings"}
    assert "/" not in expert.model


def test_other_embedding_models_go_through_litellm() -> None:
    expert = convert(
        "{model_name: e, litellm_params: {model: azure/my-embedding, api_base: 'https://x.openai.azure.com', "
        "api_version: '2024-06-01'}}"
    )
    assert (expert.backend, expert.model) == ("litellm", "azure/my-embedding")
    assert set(expert.capabilities) == {"embeddings"}
    assert expert.options == {"params": {"api_version": "2024-06-01"}}


@pytest.mark.parametrize(
    "entry",
    [
        "{model_name: i, litellm_params: {model: dall-e-3}}",
        "{model_name: i, litellm_params: {model: openai/gpt-image-1}, model_info: {mode: image_generation}}",
        "{model_name: i, litellm_params: {model: whisper-1}}",
        "{model_name: i, litellm_params: {model: openai/tts-1-hd}}",
        "{model_name: i, litellm_params: {model: cohere/rerank-english-v3.0}}",
        "{model_name: i, litellm_params: {model: x}, model_info: {mode: audio_transcription}}",
        "{model_name: '*', litellm_params: {model: '*'}}",
        "{model_name: i, litellm_params: {model: 'openai/*'}}",
    ],
)
def test_what_cannot_be_served_is_left_out_with_a_warning(entry: str, tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text(f"pool:\n  experts: [{{name: z, backend: fake}}]\n  model_list:\n    - {entry}\n")
    loaded = read_settings(file)
    assert [expert.name for expert in loaded.settings.pool.experts] == ["z"]
    (warning,) = loaded.warnings
    assert "is left out" in warning


def test_parameters_that_only_litellm_adds_go_through_litellm() -> None:
    expert = convert(
        "{model_name: a, litellm_params: {model: hosted_vllm/m, api_base: 'http://v/v1', temperature: 0.2, "
        "max_tokens: 300, rpm: 5}}"
    )
    assert (expert.backend, expert.model, expert.base_url) == ("litellm", "hosted_vllm/m", "http://v/v1")
    assert expert.options == {"params": {"temperature": 0.2, "max_tokens": 300}}
    assert expert.default_max_tokens == 300


def test_prices_of_cached_and_of_reasoning_tokens_are_taken_over() -> None:
    expert = convert(
        "{model_name: a, litellm_params: {model: x, input_cost_per_token: 3e-6, output_cost_per_token: '1.5e-5', "
        "cache_read_input_token_cost: 3e-7, cache_creation_input_token_cost: 0.00000375}, "
        "model_info: {input_cost_per_token: 9, output_cost_per_reasoning_token: 2e-5}}"
    )
    assert expert.spec().price == Price(3, 15, 0.3, 3.75, 20)
