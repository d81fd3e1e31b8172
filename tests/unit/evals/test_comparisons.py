"""Differences to every opponent, with p-values that are corrected for their number."""

from collections.abc import Callable

import pytest

from pointsman.evals.baselines import baselines, random_matched
from pointsman.evals.evaluate import evaluate
from pointsman.evals.metrics.multiplicity import holm
from pointsman.evals.policies import make_trial
from pointsman.evals.replay import expert_specs, replay
from pointsman.evals.research_baselines import research_baselines
from pointsman.evals.tables import OutcomeTable
from pointsman.routers.two_stage import TwoStageRouter


def test_a_good_router_differs_significantly_from_every_honest_opponent(
    table: OutcomeTable, small_router: Callable[..., TwoStageRouter]
) -> None:
    trial = make_trial(table)
    done = replay(small_router(table), trial, expert_specs(trial), "mine")
    everyone = [
        done.policy,
        *baselines(trial),
        *research_baselines(trial),
        random_matched(trial, done.policy),
    ]
    evaluation = evaluate(trial, everyone, 400, 0)
    rows = {row.name: row for row in evaluation.rows}
    quality = {one.against: one for one in evaluation.comparisons if one.measure == "quality"}
    # Not the oracle, which nobody can beat, nor the zero router, which makes no choice of its own.
    assert set(quality) == set(rows) - {"mine", "oracle", "zero_router"}
    assert "zero_router" in {one.against for one in evaluation.comparisons if one.measure == "aiq"}
    for name, one in quality.items():
        own, other = rows["mine"].metrics["quality"], rows[name].metrics["quality"]
        assert own is not None
        assert other is not None
        assert one.difference == pytest.approx(own - other)
        assert one.ci95 is not None
        assert one.ci95[0] <= one.difference <= one.ci95[1]
    assert holm([one.p for one in quality.values()]) == pytest.approx([one.p_holm for one in quality.values()])
    assert quality["random"].p_holm < 0.05
    assert quality["best_single"].ci95 == pytest.approx(rows["mine"].intervals.get("quality_minus_best_single"))


def test_a_router_does_not_differ_from_itself(table: OutcomeTable, small_router: Callable[..., TwoStageRouter]) -> None:
    trial = make_trial(table)
    router, view = small_router(table), expert_specs(trial)
    twice = [replay(router, trial, view, name).policy for name in ("one", "two")]
    found = evaluate(trial, [*twice, *baselines(trial)], 100, 0).comparisons
    same = [one for one in found if {one.router, one.against} == {"one", "two"}]
    assert {one.measure for one in same} == {"quality", "aiq"}
    assert all(one.difference == 0 and one.p_holm == 1 for one in same)
