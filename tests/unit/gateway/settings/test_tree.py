"""The settings tree: what is accepted, what is refused, and how the refusal reads."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pointsman.experts.spec import Capability, Price, Source
from pointsman.gateway.settings import ExpertSettings, Settings, SettingsError, load_settings
from pointsman.gateway.settings.load import parse_settings

ROOT = Path(__file__).parents[4]
NO_BACKEND = (
    "no backend 'openai_htp' is installed (did you mean openai_http?); "
    "installed are embedded, fake, litellm, openai_http, replay"
)


def parse(text: str, folder: Path = Path("/etc/pointsman"), **more: Any) -> Settings:
    return parse_settings(text, source="test.yaml", folder=folder, **more)


def problems(text: str, **more: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse(text, **more)
    return caught.value.problems


def test_an_empty_file_is_all_defaults() -> None:
    settings = parse("")
    assert settings == Settings()
    assert (settings.server.host, settings.server.port, settings.server.workers) == ("127.0.0.1", 8080, 1)
    assert settings.budgets.budget().max_cost_usd is None


def test_the_default_pool_has_five_experts_with_one_generalist_and_estimates_that_say_so() -> None:
    experts = load_settings().pool.experts
    assert [expert.name for expert in experts] == [
        f"nano-{name}" for name in ("code", "math", "clinical", "prose", "general")
    ]
    assert [expert.name for expert in experts if expert.generalist] == ["nano-general"]
    for expert in experts:
        spec = expert.spec()
        assert spec.backend == "embedded"
        assert spec.local
        assert spec.latency is not None
        assert spec.energy is not None
        assert {spec.latency.source, spec.energy.source} == {Source.ESTIMATED}
        assert spec.price == Price(0, 0)


def test_the_default_energy_follows_the_formula_in_its_comment() -> None:
    for expert in load_settings().pool.experts:
        assert expert.energy is not None
        assert expert.latency is not None
        assert expert.energy.j_per_completion_token == pytest.approx(15 * expert.latency.tpot_ms / 1e3, rel=0.02)
        assert expert.energy.j_per_prompt_token == pytest.approx(
            15 * expert.latency.prefill_ms_per_token / 1e3, rel=0.03
        )


@pytest.mark.parametrize("file", sorted((ROOT / "deploy" / "examples").glob("*.yaml")), ids=lambda file: file.name)
def test_every_example_loads_without_any_environment(file: Path) -> None:
    settings = load_settings(file, env={})
    assert settings.pool.experts
    assert any(expert.generalist for expert in settings.pool.experts)


def test_an_expert_becomes_a_spec() -> None:
    settings = parse(
        """
pool:
  experts:
    - name: coder
      backend: openai_http
      base_url: https://gpu-1:8000/v1
      model: Qwen/Qwen3-8B
      capabilities: [chat, tools]
      params_total_b: 30.5
      params_active_b: 3.3
      released: 2025-07-29
      known_as: qwen3
      quality_prior: {"*": 0.5, code: 0.75}
      price: {input_usd_per_mtok: 0.1, output_usd_per_mtok: 0.4}
      latency: {base_ms: 10, prefill_ms_per_token: 0.1, tpot_ms: 8}
"""
    )
    spec = settings.pool.experts[0].spec()
    assert (spec.name, spec.backend, spec.model) == ("coder", "openai_http", "Qwen/Qwen3-8B")
    assert spec.capabilities == {Capability.CHAT, Capability.TOOLS}
    assert (spec.params_total_b, spec.params_active_b) == (30.5, 3.3)
    assert spec.released == "2025-07-29"
    assert spec.artifact_name == "qwen3"
    assert spec.quality_prior == {"*": 0.5, "code": 0.75}
    assert spec.price == Price(0.1, 0.4)
    assert spec.latency is not None
    assert spec.latency.latency_ms(100, 10) == 10 + 10 + 80
    assert spec.latency.source is Source.STATED
    assert spec.energy is None


def test_the_model_is_the_name_and_all_parameters_are_active_unless_stated() -> None:
    spec = ExpertSettings(name="a", backend="fake", params_total_b=7).spec()
    assert spec.model == "a"
    assert spec.params_active_b == 7


def test_budgets_become_the_decisions_own() -> None:
    budget = parse(
        "budgets: {max_energy_j: 2, min_quality: 0.4, local_only: true, weights: {energy: 0.3}}"
    ).budgets.budget()
    assert (budget.max_energy_j, budget.min_quality, budget.local_only) == (2, 0.4, True)
    assert (budget.weights.quality, budget.weights.energy) == (1.0, 0.3)


def test_all_problems_are_reported_together_with_path_and_line() -> None:
    found = problems(
        """pool:
  experts:
    - name: a
      backend: openai_http
      base_ulr: http://x
    - name: b
      backend: openai_htp
      price: {input_usd_per_mtok: -1, output_usd_per_mtok: 1}
serverr: {}
server:
  workers: 0
"""
    )
    assert found == [
        "pool.experts[0].base_ulr: unknown key (did you mean base_url?) (line 5)",
        f"pool.experts[1].backend: {NO_BACKEND} (line 7)",
        "pool.experts[1].price.input_usd_per_mtok: should be greater than or equal to 0, got -1 (line 8)",
        "serverr: unknown key (did you mean server?) (line 9)",
        "server.workers: should be greater than or equal to 1, got 0 (line 11)",
    ]


def test_an_unknown_key_that_resembles_nothing_lists_what_there_is() -> None:
    assert problems("cache: {zzz: 1}") == ["cache.zzz: unknown key; known are decisions (line 1)"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("pool: {experts: [{name: auto, backend: fake}]}", "pool.experts[0].name: 'auto' is reserved for the router"),
        (
            "pool: {experts: [{name: a, backend: openai_http}]}",
            "pool.experts[0].base_url: is missing; backend openai_http",
        ),
        (
            "pool: {experts: [{name: a, backend: fake}, {name: a, backend: fake}]}",
            "pool.experts[1].name: 'a' is already the name of experts[0]",
        ),
        ("pool: {experts: [{backend: fake}]}", "pool.experts[0].name: is missing"),
        ("pool: {experts: [{name: 'a ', backend: fake}]}", "pool.experts[0].name: "),
        (
            "pool: {experts: [{name: a, backend: fake, params_total_b: 1, params_active_b: 2}]}",
            "params_active_b: cannot be",
        ),
        (
            "pool: {experts: [{name: a, backend: litellm, api_key_env: K, api_key_file: f}]}",
            "pool.experts[0].api_key_file: state api_key_env or api_key_file, not both",
        ),
        (
            "pool: {experts: [{name: a, backend: fake, base_url: 'http://x'}]}",
            "base_url: means nothing to backend fake",
        ),
        (
            "pool: {experts: [{name: a, backend: replay, api_key_env: K, options: {source: f}}]}",
            "api_key_env: means nothing",
        ),
        ("pool: {experts: [{name: a, backend: fake, api_key: sk-1}]}", "pool.experts[0].api_key: unknown key"),
        (
            "pool: {experts: [{name: a, backend: litellm, headers: {Authorization: x}}]}",
            "headers.Authorization: may not",
        ),
        (
            'pool: {experts: [{name: a, backend: litellm, headers: {x-a: "1\\r\\nb: 2"}}]}',
            "headers.x-a: must be printable",
        ),
        (
            "pool: {experts: [{name: a, backend: fake, quality_prior: {math: 1.5}}]}",
            "quality_prior.math: should be less",
        ),
        ("pool: {experts: [{name: a, backend: fake, local: yes}]}", "local: should be a valid boolean, got 'yes'"),
        ("budgets: {max_energy_j: .inf}", "budgets.max_energy_j: should be a finite number"),
        ("budgets: {max_energy_j: 0}", "budgets.max_energy_j: should be greater than 0, got 0"),
        ("budgets: {min_quality: 1.2}", "budgets.min_quality: should be less than or equal to 1, got 1.2"),
        ('server: {port: "80"}', "server.port: should be a valid integer, got '80'"),
        ("server: {port: 65536}", "server.port: should be less than or equal to 65535"),
        ("server: {forward_headers: [Authorization]}", "server.forward_headers[0]: must be lower case"),
        ("server: {forward_headers: [cookie]}", "server.forward_headers[0]: carries a caller's credentials"),
        ("server: {host: 0.0.0.0}", "server.host: '0.0.0.0' is open to other machines, and nobody is asked for a key"),
        ("auth: {keys: [{name: a}]}", "auth.keys[0]: state exactly one of key_env and key_file"),
        (
            "auth: {keys: [{name: a, key_env: K}, {name: a, key_env: L}]}",
            "auth.keys[1].name: another key has this name",
        ),
        ("redis: {key_prefix: 'a b'}", "redis.key_prefix: "),
        ("pool: 3", "pool: should be an object, got 3"),
    ],
)
def test_what_cannot_work_is_refused(text: str, problem: str) -> None:
    found = problems(text)
    assert len(found) == 1
    assert problem in found[0]
    assert found[0].endswith("(line 1)")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("gpu:8000", "must begin with http"),
        ("http://", "names no server"),
        ("http://user:secret@gpu", "must not hold a user or password"),
        ("http://gpu/v1?key=1", "must not hold a query"),
        ("http://gpu:99999", "is not an address"),
        ("http://gpu/v1/chat/completions", "must end before '/chat/completions'"),
        ("http://gpu/v1/messages/", "must end before '/messages'"),
        ("http+unix://vllm.sock", "must name a socket's path"),
    ],
)
def test_addresses_that_cannot_be_reached_are_refused(url: str, sentence: str) -> None:
    found = problems(f"pool: {{experts: [{{name: a, backend: openai_http, base_url: '{url}'}}]}}")
    assert sentence in found[0]
    assert "secret" not in found[0]


def test_a_server_may_listen_on_a_socket() -> None:
    url = "http+unix://%2Frun%2Fvllm.sock/v1"
    assert (
        parse(f"pool: {{experts: [{{name: a, backend: openai_http, base_url: '{url}'}}]}}").pool.experts[0].base_url
        == url
    )


def test_every_address_but_loopback_needs_keys_or_a_word() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        assert parse(f"server: {{host: '{host}'}}").server.loopback
    for host in ("0.0.0.0", "::", "10.0.0.1", "gateway.internal"):
        assert problems(f"server: {{host: '{host}'}}")
        assert parse(f"server: {{host: '{host}'}}\nauth: {{allow_anonymous: true}}").server.host == host
        assert parse(f"server: {{host: '{host}'}}\nauth: {{keys: [{{name: a, key_env: K}}]}}").server.host == host


@pytest.mark.parametrize(
    ("backend", "options", "sentence"),
    [
        ("fake", "{ttft: 3}", "options.ttft: unknown key (did you mean ttft_ms?)"),
        ("fake", "{fault_calls: 3}", "options.fault_calls: should be a valid tuple, got 3"),
        ("replay", "{}", "options.source: is missing"),
        ("embedded", "{modle_dir: x}", "options.modle_dir: unknown key (did you mean model_dir?)"),
        ("litellm", "{params: {api_token: abc}}", "options.params.api_token: secrets never stand in the file"),
        ("openai_http, base_url: 'http://a'", "{verify_tls: maybe}", "options.verify_tls: should be a valid boolean"),
        ("litellm", "{api_version: x}", "options.api_version: unknown key"),
    ],
)
def test_options_are_checked_by_backend(backend: str, options: str, sentence: str) -> None:
    found = problems(f"pool: {{experts: [{{name: a, backend: {backend}, options: {options}}}]}}")
    assert f"pool.experts[0].{sentence}" in found[0]


def test_relative_paths_are_relative_to_the_file() -> None:
    settings = parse(
        """
pool:
  experts:
    - {name: a, backend: litellm, api_key_file: secrets/a}
    - {name: b, backend: replay, options: {source: records.jsonl}}
router: {artifact: ../routers/mine}
auth: {keys: [{name: k, key_file: /run/secrets/k}]}
ledger: {path: outcomes.jsonl}
"""
    )
    expert, replayed = settings.pool.experts
    assert expert.api_key_file == Path("/etc/pointsman/secrets/a")
    assert replayed.options["source"] == "/etc/pointsman/records.jsonl"
    assert settings.router.artifact == "/etc/pointsman/../routers/mine"
    assert settings.auth.keys[0].key_file == Path("/run/secrets/k")
    assert settings.ledger.path == Path("/etc/pointsman/outcomes.jsonl")
    assert parse("router: {artifact: default}").router.artifact == "default"


def test_secrets_are_read_when_they_are_needed_and_never_kept(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("  from-file\n", encoding="utf-8")
    settings = parse(
        """
pool:
  experts:
    - {name: a, backend: litellm, api_key_env: A_KEY}
    - {name: b, backend: litellm, api_key_file: key}
    - {name: c, backend: fake}
auth: {keys: [{name: caller, key_env: CALLER_KEY}]}
""",
        folder=tmp_path,
        env={"A_KEY": "from-env", "CALLER_KEY": "k"},
    )
    a, b, c = settings.pool.experts
    assert a.api_key({"A_KEY": "from-env"}) == "from-env"
    assert b.api_key({}) == "from-file"
    assert c.api_key({}) is None
    assert settings.auth.keys[0].key({"CALLER_KEY": "k"}) == "k"
    assert "from-env" not in settings.model_dump_json()
    with pytest.raises(SettingsError, match="A_KEY is not set"):
        a.api_key({})
    (tmp_path / "key").unlink()
    with pytest.raises(SettingsError, match="cannot read"):
        b.api_key({})


def test_settings_are_frozen_and_survive_json() -> None:
    settings = load_settings(ROOT / "deploy" / "examples" / "mixed.yaml", env={})
    with pytest.raises(ValidationError):
        settings.server.port = 1  # type: ignore[misc]
    assert Settings.model_validate_json(settings.model_dump_json(), strict=True) == settings


def test_a_missing_or_unreadable_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        load_settings(tmp_path / "none.yaml")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("expert", "sentence"),
    [
        ("backend: fake, capabilities: [chat, messages]", "backend fake has no endpoint 'messages'"),
        ("backend: litellm, model: x/y, capabilities: [rerank]", "backend litellm has no endpoint 'rerank'"),
        ("backend: openai_http, base_url: 'http://x', capabilities: [responses]", "'responses' needs 'chat' beside it"),
        ("backend: openai_http, base_url: 'http://x', capabilities: [chat, responses, rerank]", ""),
        ("backend: fake, capabilities: [embeddings, score]", ""),
    ],
)
def test_endpoints_are_stated_of_backends_that_have_them(expert: str, sentence: str) -> None:
    text = f"pool: {{experts: [{{name: a, {expert}}}]}}"
    if sentence:
        (problem,) = problems(text)
        assert sentence in problem
    else:
        assert parse(text).pool.experts[0].name == "a"
