"""Rewordings keep the meaning, are always the same, and are counted only where they change something."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pointsman.evals.policies import make_trial
from pointsman.evals.replay import expert_specs
from pointsman.evals.rewordings import REWORDINGS, flip_rates, mistyped, options_turned
from pointsman.evals.tables import OutcomeTable
from pointsman.routers.two_stage import TwoStageRouter

QUESTION = "Which is heavier?\nOptions:\nA. lead\nB. feathers\nC. both weigh the same\nAnswer:"


def test_options_move_and_letters_stay() -> None:
    assert options_turned(QUESTION) == (
        "Which is heavier?\nOptions:\nA. both weigh the same\nB. lead\nC. feathers\nAnswer:"
    )
    assert options_turned("(A) yes\n(B) no") == "(A) no\n(B) yes"
    assert options_turned("A. Lincoln was a president.") == "A. Lincoln was a president."
    assert options_turned("no options here") == "no options here"


def test_typing_errors_are_few_and_the_same_every_time() -> None:
    text = " ".join(["committee", "restaurant", "knowledge", "a", "the"] * 40)
    once = mistyped(text)
    assert once == mistyped(text) != text
    pairs = list(zip(text.split(), once.split(), strict=True))
    changed = [(a, b) for a, b in pairs if a != b]
    assert 0.03 < len(changed) / 120 < 0.2
    assert all(sorted(a) == sorted(b) and a[0] == b[0] and a[-1] == b[-1] for a, b in changed)


@pytest.mark.parametrize("name", REWORDINGS)
def test_every_rewording_is_deterministic(name: str) -> None:
    text = QUESTION * 10
    assert REWORDINGS[name](text) == REWORDINGS[name](text) != text


def test_a_router_on_words_keeps_its_picks_under_rewording(
    table: OutcomeTable, small_router: Callable[..., TwoStageRouter]
) -> None:
    trial = make_trial(table)
    rates = flip_rates(small_router(table), trial, expert_specs(trial))
    # The words are lower case already and hold no options: those rewordings change nothing and are not counted.
    assert set(rates) == {"spacing", "courtesy", "typing errors"}
    assert rates["spacing"] == 0
    assert 0 <= rates["typing errors"] < 0.5


def test_rewordings_reveal_a_router_that_depends_on_one_word(
    table: OutcomeTable, small_router: Callable[..., TwoStageRouter]
) -> None:
    trial = make_trial(table)
    shouting = replace(trial, test=replace(trial.test, prompts=tuple(text.upper() for text in trial.test.prompts)))
    # The small router's vocabulary is of small letters alone: capitals are unknown words to it.
    assert flip_rates(small_router(table), shouting, expert_specs(trial))["lower case"] > 0.3
