"""Whole files in litellm's shape: what they become, what is said of the rest, and that nothing makes a traceback."""

from __future__ import annotations

import contextlib
import copy
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from pointsman.gateway.cli import main
from pointsman.gateway.cli.init import init
from pointsman.gateway.settings import Settings, SettingsError, load_settings
from pointsman.gateway.settings.load import LoadedSettings, parse_settings, read_settings
from tests.unit.gateway.settings.litellm_files import AZURE, ENTERPRISE, ENV, FILES, SECRETS, SMALL_SHOP, WILD


def read(text: str, tmp_path: Path, env: dict[str, str] | None = None) -> tuple[LoadedSettings, dict[str, str]]:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    env = {**ENV} if env is None else env
    return read_settings(file, env), env


def names(settings: Settings) -> list[str]:
    return [expert.name for expert in settings.pool.experts]


def test_a_small_shops_file(tmp_path: Path) -> None:
    loaded, env = read(SMALL_SHOP, tmp_path)
    settings = loaded.settings
    assert names(settings) == ["qwen", "gpt-4o", "embed"]
    qwen, gpt, embed = settings.pool.experts
    assert (qwen.backend, qwen.base_url) == ("openai_http", "http://vllm:8000/v1")
    assert (gpt.backend, gpt.options["params"]) == ("litellm", {"drop_params": True, "organization": "org-42"})
    assert embed.base_url == "https://api.openai.com/v1"
    assert settings.aliases["qwen"].experts == ("qwen",)
    assert settings.aliases["qwen"].fallbacks == ("gpt-4o",)
    assert settings.server.head_timeout_s == 120
    (key,) = settings.auth.keys
    assert (key.name, key.role, key.key(env)) == ("master", "operator", "sk-1234-master")
    assert gpt.api_key(env) == "sk-proj-abcdefghij0123456789"


def test_several_regions_are_one_model(tmp_path: Path) -> None:
    loaded, env = read(AZURE, tmp_path)
    settings = loaded.settings
    assert names(settings) == ["gpt-4o", "gpt-4o-2", "o3"]
    assert settings.aliases["gpt-4o"].experts == ("gpt-4o",), "of the lowest order"
    assert settings.aliases["gpt-4o"].fallbacks == ("gpt-4o-2", "o3")
    assert settings.aliases["gpt-4"].experts == settings.aliases["gpt-4-turbo"].experts == ("gpt-4o",)
    assert "broken" not in settings.aliases
    us, o3 = settings.pool.experts[1:]
    assert (us.base_url, us.known_as) == ("https://us.openai.azure.com/", "gpt-4o")
    assert (o3.default_max_tokens, o3.options["params"]["temperature"]) == (4000, 1)
    assert o3.price is not None
    assert o3.price.model_dump(exclude_none=True) == {
        "input_usd_per_mtok": 2.0,
        "output_usd_per_mtok": 8.0,
        "cached_input_usd_per_mtok": 0.5,
    }
    assert settings.redis.url == "redis://:swordfish%2Fsecret@localhost:6379/0"
    assert env["REDIS_PASSWORD"] == "pw", "what the environment says stays"


def test_wildcards_become_aliases_of_experts_whose_model_has_the_star(tmp_path: Path) -> None:
    loaded, _ = read(WILD, tmp_path)
    settings = loaded.settings
    models = {expert.name: (expert.backend, expert.model) for expert in settings.pool.experts}
    assert models == {
        "anthropic/any": ("litellm", "anthropic/*"),
        "groq/any": ("litellm", "groq/*"),
        "local/any": ("openai_http", "*"),
        "any": ("litellm", "openai/*"),
        # A fallback has a model of its own.
        "groq/llama-3.3-70b-versatile": ("litellm", "groq/llama-3.3-70b-versatile"),
    }
    assert settings.aliases["anthropic/*"].fallbacks == ("groq/llama-3.3-70b-versatile",)
    assert settings.aliases["*"].experts == ("any",)
    assert settings.pool.experts[1].api_key_env == "GROQ_API_KEY"
    (left_out,) = [one for one in loaded.warnings if "clients would choose the provider" in one]
    assert "(line 9)" in left_out


def test_what_has_no_counterpart_is_said_line_by_line(tmp_path: Path) -> None:
    loaded, env = read(ENTERPRISE, tmp_path)
    settings = loaded.settings
    assert names(settings) == ["claude", "gemini", "instruct"]
    assert settings.aliases["smart"].experts == ("auto",)
    claude, gemini, instruct = settings.pool.experts
    assert claude.options["params"]["aws_region_name"] == "us-east-1"
    secret = str(claude.options["params"]["aws_secret_access_key"]).removeprefix("os.environ/")
    assert env[secret] == "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
    assert gemini.headers == {"x-team": "search"}
    assert set(instruct.capabilities) == {"completions", "streaming"}
    said = "\n".join(loaded.warnings)
    for path in (
        "guardrails",
        "mcp_servers",
        "files_settings",
        "a_section_of_tomorrow",
        "litellm_settings.callbacks",
        "litellm_settings.cache",
        "litellm_settings.max_budget",
        "litellm_settings.something_new",
        "general_settings.alerting",
        "general_settings.pass_through_endpoints",
        "router_settings.enable_tag_filtering",
        "model_list[0].litellm_params.tags",
        "model_list[0].model_info.access_groups",
        "model_list[0].model_info.my_own_note",
        "model_list[1].litellm_params.extra_headers.Authorization",
        "model_list[3]",
        "model_list[4].tpm",
        "environment_variables.LANGFUSE_SECRET_KEY",
    ):
        assert any(line.startswith(f"{path}: ") for line in loaded.warnings), (path, said)
    assert all("(line " in line for line in loaded.warnings if not line.startswith("credential"))
    assert env["REDIS_HOST"] == "localhost", "what the environment says goes first"


@pytest.mark.parametrize("name", FILES)
def test_no_secret_is_repeated(name: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(FILES[name], encoding="utf-8")
    said = ""
    for arguments in (["check-config", str(file)], ["init", "--from", "litellm", str(file)]):
        done = CliRunner(env=ENV).invoke(main if arguments[0] != "init" else init, arguments[arguments[0] == "init" :])
        assert done.exit_code == 0, done.output
        said += done.output
    loaded, _ = read(FILES[name], tmp_path)
    said += loaded.settings.model_dump_json() + repr(loaded)
    # The address of Redis is interpolated, password and all, as ours are.
    said = said.replace(str(loaded.settings.redis.url), "")
    assert [secret for secret in SECRETS if secret in said] == []


@pytest.mark.parametrize("name", FILES)
def test_what_init_writes_is_what_is_served(name: str, tmp_path: Path) -> None:
    file, out = tmp_path / "config.yaml", tmp_path / "pointsman.yaml"
    file.write_text(FILES[name], encoding="utf-8")
    done = CliRunner().invoke(init, ["--from", "litellm", str(file), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert done.output.count("\n+ ") + done.output.startswith("+ ") >= 3
    served, env = read(FILES[name], tmp_path)
    written = load_settings(out, env)
    assert written.pool.experts == served.settings.pool.experts
    assert written.aliases == served.settings.aliases
    assert written.auth == served.settings.auth
    again = CliRunner().invoke(init, ["--from", "litellm", str(file), "--out", str(out)])
    assert again.exit_code == 1
    assert "--overwrite" in again.output


def test_init_says_what_is_no_file_of_litellms(tmp_path: Path) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text("pool: {experts: [{name: a, backend: fake}]}\n")
    done = CliRunner().invoke(init, ["--from", "litellm", str(file)])
    assert done.exit_code == 1
    assert "no model_list" in done.output
    done = CliRunner().invoke(init, ["--from", "litellm", str(tmp_path / "none.yaml")])
    assert done.exit_code == 1
    assert "no such file" in done.output


def test_included_files_are_added(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(
        "model_list:\n  - {model_name: b, litellm_params: {model: hosted_vllm/b, api_base: 'http://b'}}\n"
        "litellm_settings: {request_timeout: 7}\ninclude: [more.yaml, more.yaml]\n"
    )
    (tmp_path / "more.yaml").write_text("model_list: [{model_name: c, litellm_params: {model: gpt-4o}}]\n")
    loaded, _ = read(
        "include: [models.yaml]\nmodel_list:\n"
        "  - {model_name: a, litellm_params: {model: hosted_vllm/a, api_base: 'http://a'}}\n",
        tmp_path,
    )
    assert names(loaded.settings) == ["a", "b", "c"]
    assert loaded.settings.server.head_timeout_s == 7


def test_an_empty_pool_says_why(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("model_list: [{model_name: i, litellm_params: {model: dall-e-3}}]\n")
    done = CliRunner().invoke(main, ["check-config", str(file)])
    assert done.exit_code == 1
    assert "the pool is empty" in done.output
    assert "'i' is left out" in done.output


def test_addresses_that_the_environment_is_to_say_are_needed_to_serve_and_not_to_check(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(AZURE)
    done = CliRunner(env={"REDIS_HOST": ""}).invoke(main, ["check-config", str(file)])
    assert done.exit_code == 0, done.output
    assert "litellm_params.api_base: the environment variable AZURE_US_BASE is not set here" in done.output
    assert "router_settings: the environment variable REDIS_HOST is not set here" in done.output
    with pytest.raises(SettingsError, match=r"api_base: the environment variable AZURE_US_BASE is not set \(line"):
        load_settings(file, {})
    done = CliRunner().invoke(main, ["check-config", "--keys", str(file)])
    assert done.exit_code == 1
    ours = tmp_path / "ours.yaml"
    ours.write_text("pool: {experts: [{name: a, backend: openai_http, base_url: '${NOT_SET_ANYWHERE}'}]}\n")
    assert CliRunner().invoke(main, ["check-config", str(ours)]).exit_code == 1


def test_sections_of_ours_may_stand_in_the_same_file(tmp_path: Path) -> None:
    loaded, _ = read(
        "model_list: [{model_name: a, litellm_params: {model: hosted_vllm/a, api_base: 'http://a'}}]\n"
        "pool: {probe_interval_s: 0, experts: [{name: own, backend: fake}]}\naliases: {mine: a}\nserver: {port: 4000}\n"
        "auth: {allow_anonymous: true}\ngeneral_settings: {master_key: sk-abc}\n",
        tmp_path,
    )
    settings = loaded.settings
    assert names(settings) == ["own", "a"]
    assert (settings.server.port, settings.pool.probe_interval_s) == (4000, 0)
    assert settings.aliases["mine"].experts == ("a",)
    assert not settings.auth.keys
    assert any("auth says who may call" in line for line in loaded.warnings)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model_list: {a: b}", "model_list: should be a list of models, got a mapping (line 1)"),
        ("model_list: [a]", "model_list[0]: must be a mapping with model_name and litellm_params (line 1)"),
        ("model_list: [{model_name: a}]", "model_list[0].litellm_params: is missing (line 1)"),
        ("model_list: []\nrouter_settings: [1]", "router_settings: should be a mapping, got a list (line 2)"),
        (
            "model_list: [{model_name: a, litellm_params: {model: hosted_vllm/x, api_base: os.environ/NOT_THERE}}]",
            "model_list[0].litellm_params.api_base: the environment variable NOT_THERE is not set (line 1)",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: hosted_vllm/x, api_base: 'ftp://x'}}]",
            "model_list[0].litellm_params.api_base: must begin with http://",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: x, timeout: soon}}]",
            "model_list[0].litellm_params.timeout: should be a valid number",
        ),
        ("model_list: []\ninclude: more.yaml", "include: must be a list of names of files"),
        ("model_list: []\ninclude: [none.yaml]", "include[0]: none.yaml cannot be read: No such file"),
        (
            "model_list: [{model_name: a, litellm_params: {model: x, litellm_credential_name: c}}]",
            "litellm_credential_name: is not in credential_list",
        ),
        ("model_list: [{model_name: auto, litellm_params: {model: x}}]", "'auto' is reserved"),
        (
            "model_list: []\nlitellm_settings: {fallbacks: [a]}",
            "litellm_settings.fallbacks[0]: must be a mapping",
        ),
        ("model_list: []\nrouter_settings: {redis_host: os.environ/NOT_THERE}", "router_settings: the environment"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, source="f", folder=Path("/"), env={})
    assert problem in str(caught.value)


ODD: list[Any] = [None, True, -1, 1e308, "", "x", "os.environ/HOME", "*", "auto", "é\u2028"]
ODD += [[], [None], [[]], {}, {"a": None}]


def test_no_file_makes_a_traceback(tmp_path: Path) -> None:
    """Files with odd values wherever there is one load, or say what is wrong."""
    chance = random.Random(7)
    loaded = 0
    for _ in range(400):
        tree = yaml.safe_load(chance.choice(list(FILES.values())))
        for _ in range(chance.randint(1, 3)):
            _put_odd(tree, chance)
        text = yaml.safe_dump(tree, allow_unicode=True)
        # Whatever else is raised fails the test.
        with contextlib.suppress(SettingsError):
            parse_settings(text, source="f", folder=tmp_path, env={**ENV})
            loaded += 1
    assert loaded > 100


def _put_odd(tree: Any, chance: random.Random) -> None:
    node = tree
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = chance.choice(keys)
        below = node[key]
        if not isinstance(below, dict | list) or not below or chance.random() < 0.25:
            node[key] = copy.deepcopy(chance.choice(ODD))
            return
        node = below
