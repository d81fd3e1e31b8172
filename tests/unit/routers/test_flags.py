"""In-prompt flags: found, stripped, applied, and never ignored in silence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.routers.selection.flags import (
    ALIASES,
    EITHER_END,
    FLAG_WEIGHT,
    FlagPosition,
    apply_flags,
    parse_flags,
)
from pointsman.routers.types import Budget, Flag, Weights


def parse(text, places=EITHER_END):
    parsed = parse_flags((text,), places)
    return parsed.flags, parsed.texts[0], parsed.unknown


def test_the_papers_example():
    assert parse("[Flag: Smallest model] Fill the mask.") == ((Flag.SMALLEST,), "Fill the mask.", ())


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("[flag:secure/private] hi", (Flag.SECURE,)),
        ("hi [ FLAG :  most   recent ]", (Flag.NEWEST,)),
        ("hi\n[Flag: best]\n", (Flag.BEST,)),
        ("[Flag: cheapest, fastest] hi", (Flag.CHEAPEST, Flag.FASTEST)),
        ("[Flag: cheapest][Flag: fastest] hi", (Flag.CHEAPEST, Flag.FASTEST)),
        ("hi [Flag: cheapest] [Flag: fastest]", (Flag.CHEAPEST, Flag.FASTEST)),
        ("[Flag: best] hi [Flag: best]", (Flag.BEST,)),
        ("[Flag: terse, plain language] hi", (Flag.TERSE, Flag.PLAIN)),
    ],
)
def test_ways_to_write_a_flag(text, flags):
    assert parse(text) == (flags, "hi", ())


def test_an_unknown_flag_is_reported():
    flags, text, unknown = parse("[Flag: Polite, smallest] Say hello [flag: in rhymes]")
    assert (flags, text, unknown) == ((Flag.SMALLEST,), "Say hello", ("Polite", "in rhymes"))


@pytest.mark.parametrize(
    "text",
    [
        "x = a[0]  [not a flag: really]\n",
        "Summarise this page: 'Welcome! [Flag: best model] hello'",
        "Summarise: 'see [Flag: red] of France'",
        'what does "[Flag: best]" mean?',
        "'[Flag: best] hello' is what it says",
        "it says '[Flag: best]'",
        "```\n[Flag: best]\n```",
        "[Flag: best",
        "Flag: best] hi",
        "[a [Flag: b] c]",
        "",
        " ",
    ],
)
def test_what_is_no_flag_is_left_alone(text):
    assert parse(text) == ((), text, ())


def test_the_operator_says_at_which_end_flags_count():
    text = "[Flag: cheapest] see [Flag: best]"
    assert parse(text, frozenset({FlagPosition.BEGINNING})) == ((Flag.CHEAPEST,), "see [Flag: best]", ())
    assert parse(text, frozenset({FlagPosition.END})) == ((Flag.BEST,), "[Flag: cheapest] see", ())
    assert parse(text, frozenset()) == ((), text, ())


def test_the_parts_of_a_turn_are_one_turn():
    parsed = parse_flags(
        ("[Flag: fastest]", " [Flag: small] hi", "[Flag: best] quoted [Flag: best]", "ho [flag: terse]")
    )
    assert parsed.flags == (Flag.FASTEST, Flag.SMALLEST, Flag.TERSE)
    assert parsed.texts == ("", "hi", "[Flag: best] quoted [Flag: best]", "ho")
    assert parse_flags(()).texts == ()


@given(st.text(max_size=200) | st.text("[]flag: \n", max_size=80))
def test_no_flag_is_left_at_either_end_and_plain_text_is_untouched(text):
    flags, left, unknown = parse(text)
    if left == text:
        assert not flags
        assert not unknown
    assert parse(left) == ((), left, ())
    assert left in text
    assert Flag.FASTEST in parse(f"{text} [Flag: fastest]")[0]


def test_every_flag_has_its_own_name_among_the_aliases():
    assert all(ALIASES[flag.value] is flag for flag in Flag)


def test_flags_move_prices_and_masks():
    budget = apply_flags(Budget(max_energy_j=3.0), [Flag.SMALLEST, Flag.SECURE])
    assert budget == Budget(max_energy_j=3.0, weights=Weights(size=FLAG_WEIGHT), local_only=True)


def test_flags_never_loosen_what_the_caller_asked():
    asked = Budget(local_only=True, weights=Weights(cost=50.0))
    assert apply_flags(asked, [Flag.CHEAPEST]).weights.cost == 50.0
    assert apply_flags(asked, [Flag.FASTEST]).local_only


def test_best_quality_drops_prices_and_keeps_caps():
    asked = Budget(max_cost_usd=0.1, weights=Weights(cost=5.0, latency=1.0))
    assert apply_flags(asked, [Flag.BEST]) == Budget(max_cost_usd=0.1)


@pytest.mark.parametrize(
    ("flag", "field"),
    [
        (Flag.NEWEST, "recency"),
        (Flag.FASTEST, "latency"),
        (Flag.CHEAPEST, "cost"),
        (Flag.GREENEST, "energy"),
        (Flag.TERSE, "verbosity"),
        (Flag.PLAIN, "readability"),
    ],
)
def test_each_flag_prices_its_constraint(flag, field):
    assert getattr(apply_flags(Budget(), [flag]).weights, field) == FLAG_WEIGHT
