"""The dial τ holds the share of null experts, and gives the answers that gain most."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.routers.null_experts.share import ShareAccount


def answered(gains: list[float], share: float, window: int = 500) -> list[bool]:
    """Which requests a null expert answers whose utility is above the best expert's by these gains."""
    account, answers = ShareAccount.opened(share, window), []
    for gain in gains:
        answers.append(gain - account.price > 0)
        account = account.after(null=answers[-1])
    return answers


@given(st.lists(st.floats(-1.0, 100.0), max_size=400), st.floats(0.0, 1.0), st.integers(1, 1000), st.integers(0, 399))
def test_no_stretch_of_requests_has_more_than_its_share(
    gains: list[float], share: float, window: int, start: int
) -> None:
    answers = answered(gains, share, window)
    for length in range(1, len(answers) - start + 1):
        assert sum(answers[start : start + length]) <= share * length + max(2.0, 0.02 * window) + 1e-6


def test_a_share_of_one_limits_nothing_and_a_share_of_nothing_lets_nothing_pass() -> None:
    assert all(answered([1e-9] * 100, 1.0))
    assert not any(answered([100.0] * 100, 0.0))


def test_an_idle_dial_costs_nothing() -> None:
    account = ShareAccount.opened(0.3, 500)
    for _ in range(100):
        account = account.after(null=False)
    assert account.price == 0.0


@pytest.mark.parametrize("share", [0.1, 0.25, 0.4])
def test_a_tight_dial_is_used_up_and_spent_on_what_gains_most(share: float) -> None:
    # Half of the requests have an answer that costs nothing; some of them gain more than others.
    gains = [0.3 * (n % 7) / 7 if n % 2 else -math.inf for n in range(20_000)]
    answers = answered(gains, share)
    assert sum(answers) / len(answers) == pytest.approx(share, abs=0.002)
    kept = [gain for gain, given_ in zip(gains, answers, strict=True) if given_]
    passed = [gain for gain, given_ in zip(gains, answers, strict=True) if not given_ and math.isfinite(gain)]
    assert sum(kept) / len(kept) > sum(passed) / len(passed)
