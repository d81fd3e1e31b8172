"""No error of settings repeats what may be a secret, and none is anything but an error of settings."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pointsman.gateway.settings import SettingsError
from pointsman.gateway.settings.load import parse_settings

SECRET = "pmk-h4nter2h4nter2h4nter2"
#: The same where only letters, digits and underscores may stand.
PLAIN = "h4nter2_h4nter2_h4nter2"


def told(text: str, env: dict[str, str] | None = None) -> str:
    """What is said of settings that cannot be used."""
    with pytest.raises(SettingsError) as refused:
        parse_settings(text, source="x", folder=Path("/nowhere"), env=env)
    return str(refused.value)


def key(field: str) -> str:
    return f"auth: {{pepper_env: P, keys: [{{name: a, {field}}}]}}"


def expert(field: str) -> str:
    return f"pool: {{experts: [{{name: a, backend: openai_http, {field}}}]}}"


@pytest.mark.parametrize(
    "text",
    [
        key(f"hashes: [{SECRET}]"),
        key(f"hashes: {SECRET}"),
        key(f"hashes: [*{PLAIN}]"),
        key(f"hashes: [!{SECRET} x]"),
        key(f"key: {SECRET}"),
        key(f"key_env: {SECRET}"),
        key(f"key_file: [{SECRET}]"),
        key(f"key_env: X, role: {SECRET}"),
        key(f"key_env: X, expires: {SECRET}"),
        key(f"key_env: X, limits: {{usd_per_day: {SECRET}}}"),
        f"auth: {SECRET}",
        f"auth: {{keys: {SECRET}}}",
        f"auth: {{keys: [{SECRET}]}}",
        f"auth: {{{SECRET}: 1}}",
        f"auth: {{keys: [{{name: {SECRET}, key_env: X}}, {{name: {SECRET}, key_env: Y}}]}}",
        f"auth: {{tenants: {{{SECRET}: {{}}}}}}",
        f"auth: {{pepper_env: {SECRET}}}",
        f"pool: {{experts: [{{name: a, backend: fake}}]}}\n{key(f'key_env: X, experts: [{SECRET}]')}",
        expert(f"base_url: 'http://u:{SECRET}@10.1.2.3:99999/v1'"),
        expert(f"base_url: 'http://u:{SECRET}@10.1.2.3/v1'"),
        expert(f"base_url: 'ftp://u:{SECRET}@10.1.2.3'"),
        expert(f"base_url: 'http://[{SECRET}'"),
        expert(f"base_url: 'http://x/v1?key={SECRET}'"),
        expert(f"base_url: {SECRET}"),
        expert(f"base_url: [{SECRET}]"),
        expert(f"base_url: 'http://x', api_key: {SECRET}"),
        expert(f"base_url: 'http://x', api_key_env: {SECRET}"),
        expert(f"base_url: 'http://x', headers: {SECRET}"),
        expert(f"base_url: 'http://x', headers: {{authorization: {SECRET}}}"),
        expert(f"base_url: 'http://x', headers: {{x: [{SECRET}]}}"),
        expert(f"base_url: 'http://x', headers: {{'x: {SECRET}': a}}"),
        expert(f"base_url: 'http://x', local: {SECRET}"),
        expert(f"base_url: 'http://x', max_concurrency: 'http://u:{SECRET}@x'"),
        f"pool: {{model_list: [{{model_name: a, litellm_params: {{model: openai/x, api_key: {SECRET}}}}}]}}",
        f"pool: {{model_list: [{{model_name: a, litellm_params: {{model: openai/x, api_base: 'x:{SECRET}@'}}}}]}}",
        f"redis: {{url: 'http://u:{SECRET}@x'}}",
        f"redis: {{url: 'redis://u:{SECRET}@x:99999/0'}}",
        f"redis: {{url: 'redis://u:{SECRET}'}}",
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(text: str) -> None:
    assert "h4nter2" not in told(text)


def test_nor_is_one_from_the_environment() -> None:
    assert "h4nter2" not in told("{}", {"REDIS_URL": f"http://u:{SECRET}@x"})


@pytest.mark.parametrize("field", ["key_env", "key_file"])
def test_nor_one_that_stands_where_its_reference_belongs(field: str) -> None:
    tree = parse_settings(key(f"{field}: {PLAIN}"), source="x", folder=Path("/nowhere"))
    with pytest.raises(SettingsError) as refused:
        tree.auth.keys[0].key({})
    assert "h4nter2" not in str(refused.value)
    assert field in str(refused.value)


NINE = ", ".join(["*{0}"] * 9)


def bomb(first: str, following: str) -> str:
    lines = [f"a: &a {first}"]
    for before, name in zip("abcdefghijk", "bcdefghijkl", strict=True):
        lines.append(f"{name}: &{name} {following.format(NINE.format(before))}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        bomb("[x]", "[{}]"),
        bomb("{x: 1}", "{{<<: [{}]}}"),
        "a: " + "[" * 5_000,
        "a: " + "[" * 250 + "]" * 250,
        "a: &a [*a]",
        "a: &a {<<: *a}",
        "a: 0x" + "f" * 5_000,
        "a: " + "9" * 5_000,
        "a: !!bool maybe",
        "a: !!int maybe",
        "a: !!binary aGVsbG8=",
        "a: !!set {x}",
        "a: !!timestamp 2001-01-01",
        'a: "\\ud800"',
        "a: \x00",
        "a: " + "x" * 5_000_000,
    ],
)
def test_a_file_that_is_made_to_do_harm_is_refused_at_once(text: str) -> None:
    began = time.process_time()
    assert told(text).startswith("x: ")
    # Written out, the first two would take longer than anybody lives.
    assert time.process_time() - began < 30


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.sampled_from(["auto", "fake", "*"])
)
NAMES = st.sampled_from(
    ["pool", "experts", "auth", "keys", "name", "hashes", "backend", "redis", "url", "server", "port", "tenants", "a"]
)
TREES = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(NAMES, below, max_size=4), max_leaves=20
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(NAMES, TREES, max_size=4))
def test_whatever_stands_in_a_file_is_settings_or_an_error_of_settings(tree: dict[str, object]) -> None:
    with contextlib.suppress(SettingsError):
        parse_settings(yaml.safe_dump(tree, allow_unicode=True), source="x", folder=Path("/nowhere"), env={})


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab:-&*<!|>[]{},'\"#%@\n 0x1.~?", max_size=60))
def test_whatever_bytes_a_file_has(text: str) -> None:
    with contextlib.suppress(SettingsError):
        parse_settings(text, source="x", folder=Path("/nowhere"), env={})
