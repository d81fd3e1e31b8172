"""The guards of the semantic cache: what says the same passes, what changes the meaning never does."""

from __future__ import annotations

import pytest

from pointsman.routers.null_experts.guards import difference, signature
from tests.unit.routers.null_experts.near_questions import NEAR_MISSES, SAME, SURELY_SAME


@pytest.mark.parametrize(("one", "other"), SURELY_SAME)
def test_the_same_question(one: str, other: str) -> None:
    assert difference(signature(one), signature(other)) is None


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("convert 5 usd to eur", "convert 7 usd to eur", "numbers"),
        ("convert five usd to eur", "convert six usd to eur", "numbers"),
        ("set version 1.2 of the app", "set version 1.3 of the app", "numbers"),
        ("is the shop open today", "is the shop not open today", "polarity"),
        ("does it work offline here", "doesn't it work offline here", "polarity"),
        ("recipes with milk", "recipes without milk", None),
        ("convert 5 usd to eur", "convert 5 eur to usd", "words"),
        ("flights from rome to paris", "flights from paris to rome", "words"),
        ("weather in paris", "weather in london", "words"),
        ("i am away from april to may", "i am away from may to april", "words"),
        ("turn the lights on", "turn the lights off", "words"),
        ("what do you call me", "what do i call you", "words"),
        ("when do i change the oil", "when did i change the oil", "words"),
        ("who founded the company", "when was the company founded", "question"),
        ("set an alarm for 5 am", "set an alarm for 5 pm", "words"),
        ("result of the sum 2 + 3", "result of the sum 2 - 3", "words"),
        ("write a c# class for me", "write a c class for me", "words"),
        ('say "he runs" in french', 'say "he run" in french', "names"),
        ("Tell me about Jean", "Tell me about Jeans", "names"),
        ("hello there", "hello there", "too few"),
        ("hm", "hm", "too few"),
        ("first line here\nsecond line", "first line here\nsecond line", "too few"),
    ],
)
def test_another_question(one: str, other: str, why: str | None) -> None:
    found = difference(signature(one), signature(other))
    assert found is not None
    assert difference(signature(other), signature(one)) is not None
    assert why is None or why in found


def test_a_long_hostile_text_is_read_at_once() -> None:
    for text in ("please " * 80, "can you " * 60, "a" * 500, "'" * 500, "can you please " * 33):
        signature(text)


@pytest.mark.parametrize(("one", "other"), NEAR_MISSES)
def test_a_near_miss_is_no_hit(one: str, other: str) -> None:
    assert difference(signature(one), signature(other)) is not None
    assert difference(signature(other), signature(one)) is not None


def test_paraphrases_are_still_hits() -> None:
    assert sum(difference(signature(one), signature(other)) is None for one, other in SAME) >= len(SAME) - 1
