"""Aliases: which names fit, what they lead to, and what is said of those that lead nowhere."""

from pathlib import Path
from time import perf_counter

import pytest

from pointsman.gateway.settings import Settings, SettingsError
from pointsman.gateway.settings.aliases import by_length, fits, resolve_aliases, star_of
from pointsman.gateway.settings.load import parse_settings

POOL = "pool: {experts: [{name: big, backend: fake}, {name: small, backend: fake}, {name: org/m:8b, backend: fake}]}\n"


def read(aliases: str) -> Settings:
    return parse_settings(f"{POOL}aliases: {{{aliases}}}\n", source="f", folder=Path("/"), env={})


def experts_of(aliases: str, name: str) -> tuple[str, ...] | None:
    settings = read(aliases)
    found, problems = resolve_aliases(settings.aliases, [one.name for one in settings.pool.experts])
    assert not problems
    return found[name].experts


@pytest.mark.parametrize(
    ("pattern", "name", "fit"),
    [
        ("gpt-4", "gpt-4", True),
        ("gpt-4", "GPT-4", False),
        ("gpt-*", "gpt-", True),
        ("gpt-*", "gpt", False),
        ("*", "", True),
        ("*", "Claude 3.5 Sonnet", True),
        ("*-4o*", "gpt-4o-mini", True),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "ac", False),
        ("ab*ba", "aba", False),
        ("a**b", "ab", True),
        ("a.c", "abc", False),
        ("[a]*", "a", False),
        ("groß*", "große", True),
    ],
)
def test_a_star_stands_for_any_text_and_nothing_else_is_special(pattern: str, name: str, fit: bool) -> None:
    assert fits(pattern, name) is fit


def test_a_name_of_any_length_is_compared_at_once() -> None:
    begin = perf_counter()
    assert not fits("*a" * 50 + "b", "a" * 100_000)
    assert perf_counter() - begin < 5, "a pattern that is tried in every way would not come to an end"


def test_the_star_is_what_stands_in_its_place() -> None:
    assert star_of("openai/*", "openai/gpt-4o") == "gpt-4o"
    assert star_of("*:free", "a/b:free") == "a/b"
    assert star_of("gpt-4o", "gpt-4o") == ""


def test_the_alias_that_says_most_of_a_name_is_looked_at_first() -> None:
    assert by_length(["*", "gpt-*", "gpt-4", "gpt-4*", "g*-4o"]) == ("gpt-4*", "g*-4o", "gpt-*", "*")


@pytest.mark.parametrize(
    ("aliases", "name", "experts"),
    [
        ("a: big", "a", ("big",)),
        ("a: [big, small]", "a", ("big", "small")),
        ("a: {experts: big}", "a", ("big",)),
        ("a: {experts: [small, big]}", "a", ("small", "big")),
        ("a: auto", "a", None),
        ("a: b, b: [small, c], c: big", "a", ("small", "big")),
        ('a: x-1, "x-*": small', "a", ("small",)),
        ('a: x-1, "x-*": small, x-1: big', "a", ("big",)),
        ("a: b, b: auto", "a", None),
        ("big: [big, small]", "big", ("big", "small")),
        ("a: big, big: [big, small]", "a", ("big",)),
        ("Claude 3.5 Sonnet: 'org/m:8b'", "Claude 3.5 Sonnet", ("org/m:8b",)),
    ],
)
def test_aliases_lead_to_experts(aliases: str, name: str, experts: tuple[str, ...] | None) -> None:
    assert experts_of(aliases, name) == experts


def test_fallbacks_and_budgets_of_an_alias_hold_for_the_one_that_leads_to_it() -> None:
    settings = read("a: b, b: {experts: big, fallbacks: [small, c], budgets: {max_cost_usd: 1}}, c: 'org/m:8b'")
    found, _ = resolve_aliases(settings.aliases, [one.name for one in settings.pool.experts])
    assert found["a"].fallbacks == ("small", "org/m:8b")
    assert found["a"].budgets is not None
    assert found["a"].budgets.max_cost_usd == 1


@pytest.mark.parametrize(
    ("aliases", "problem"),
    [
        ("a: a", r"aliases\.a\.experts\[0\]: 'a' leads back to the alias 'a' \(line 2\)"),
        ("a: b, b: c, c: b", r"aliases\.b\.experts\[0\]: 'c' leads back|'b' leads back to the alias 'b'"),
        ('"x-*": x-y', r"'x-y' leads back to the alias 'x-\*'"),
        ("a: b, b: a, c: {experts: big, fallbacks: [a]}", "'b' leads back to the alias 'b'"),
        ("a: {experts: big, fallbacks: [b]}, b: auto", "'b' stands for 'auto', which has fallbacks of its own"),
        ("a: {experts: big, fallbacks: [b]}, b: nobody", r"aliases\.a\.fallbacks\[0\]: 'nobody' is neither"),
        ("a: nobody", "'nobody' is neither an expert nor an alias"),
        ("a: [big, nobody]", r"aliases\.a\.experts\[1\]"),
        ("auto: big", "'auto' is reserved for the router"),
        ("small: big", "is the name of an expert, too"),
        ("a: [auto, big]", "'auto' stands for all experts"),
        ("a: {experts: big, fallbacks: [auto]}", "must be an expert"),
        ("a: []", "should have at least 1 item"),
        ("a: 5", "should be"),
        ("a: {expert: big}", r"unknown key \(did you mean experts\?\)"),
        ("a: {experts: big, budgets: {max_cost: 1}}", "unknown key"),
        ("' a': big", "should match pattern"),
    ],
)
def test_what_leads_nowhere_is_an_error_that_says_so(aliases: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        read(aliases)


def test_two_aliases_may_be_each_others_fallbacks() -> None:
    settings = read("a: {experts: big, fallbacks: [b]}, b: {experts: [small, 'org/m:8b'], fallbacks: [a]}")
    found, problems = resolve_aliases(settings.aliases, [one.name for one in settings.pool.experts])
    assert not problems
    assert (found["a"].fallbacks, found["b"].fallbacks) == (("small", "org/m:8b"), ("big",))


def test_a_fallback_whose_model_is_not_named_is_none() -> None:
    with pytest.raises(SettingsError, match=r"aliases\.a\.fallbacks: 'any' has a \* in its model"):
        parse_settings(
            "pool: {experts: [{name: any, backend: fake, model: '*'}, {name: b, backend: fake}]}\n"
            "aliases: {a: {experts: b, fallbacks: [x/y]}, x/*: any}\n",
            source="f",
            folder=Path("/"),
            env={},
        )


def test_aliases_that_lead_to_many_others_are_followed_once() -> None:
    many = ", ".join(f"a{i}: [a{i + 1}, b{i + 1}], b{i}: [a{i + 1}, b{i + 1}]" for i in range(60))
    assert experts_of(f"{many}, a60: big, b60: small", "a0") == ("big", "small")


def test_settings_with_aliases_are_the_same_after_a_journey_as_json() -> None:
    settings = read('a: big, b: [big, small], "c-*": {experts: auto, budgets: {max_cost_usd: 1}}')
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
