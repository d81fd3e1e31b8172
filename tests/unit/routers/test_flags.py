"""In-prompt flags: found, stripped, applied, and never ignored in silence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.routers.selection.flags import ALIASES, FLAG_WEIGHT, apply_flags, parse_flags
from pointsman.routers.types import Budget, Flag, Weights


def test_the_papers_example():
    parsed = parse_flags("[Flag: Smallest model] Fill the mask.")
    assert (parsed.flags, parsed.text, parsed.unknown) == ((Flag.SMALLEST,), "Fill the mask.", ())


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("[flag:secure/private] hi", (Flag.SECURE,)),
        ("hi [ FLAG :  most   recent ]", (Flag.NEWEST,)),
        ("[Flag: cheapest, fastest] hi", (Flag.CHEAPEST, Flag.FASTEST)),
        ("[Flag: best] hi [Flag: best]", (Flag.BEST,)),
        ("[Flag: terse, plain language] hi", (Flag.TERSE, Flag.PLAIN)),
    ],
)
def test_ways_to_write_a_flag(text, flags):
    parsed = parse_flags(text)
    assert parsed.flags == flags
    assert parsed.text == "hi"


def test_an_unknown_flag_is_reported():
    parsed = parse_flags("[Flag: Polite, smallest] Say hello [flag: in rhymes]")
    assert parsed.flags == (Flag.SMALLEST,)
    assert parsed.unknown == ("Polite", "in rhymes")
    assert parsed.text == "Say hello"


def test_other_brackets_are_left_alone():
    text = "x = a[0]  [not a flag: really]\n"
    assert parse_flags(text).text == text


@given(st.text(max_size=200))
def test_no_flag_survives_and_plain_text_is_untouched(text):
    parsed = parse_flags(text)
    if not parsed.flags and not parsed.unknown and "[" not in text:
        assert parsed.text == text
    again = parse_flags(f"{text} [Flag: fastest]")
    assert Flag.FASTEST in again.flags or "]" not in f"{text}]"


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
