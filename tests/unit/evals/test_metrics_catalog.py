"""Metrics are collected from the functions that define them, and everything that readers see is made from those."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pointsman.evals.baselines import baselines
from pointsman.evals.evaluate import evaluate
from pointsman.evals.metrics import definitions
from pointsman.evals.metrics.catalog import METRICS, metrics_markdown, metrics_of, metrics_to_show
from pointsman.evals.metrics.metric import Metric, metric, per_prompt_metric, side_of_zero
from pointsman.evals.policies import make_trial
from pointsman.evals.report import schema_text
from pointsman.evals.router_result import RouterResult
from pointsman.evals.tables import OutcomeTable

Floats = np.typing.NDArray[np.float64]


@per_prompt_metric(title="full marks", unit="%", better="higher")
def full_marks(table: OutcomeTable, mix: Floats) -> Floats:
    """Share of the prompts whose pick has the highest score there is."""
    return np.where(mix.any(axis=1), ((table.scores == 1) * mix).sum(axis=1), np.nan)


@metric(better="lower")
def experts_asked(result: RouterResult) -> float:
    """How many experts are ever asked."""
    return float(result.policy.mix.any(axis=0).sum()) if result.policy.chooses else float("nan")


def _module(*metrics: Metric) -> ModuleType:
    module = ModuleType("defined_here")
    for one in metrics:
        setattr(module, one.name, one)
    return module


def test_every_decorated_function_is_in_the_catalog() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in Path(definitions.__path__[0]).glob("*.py"))
    decorated = re.findall(r"^@(?:per_prompt_)?metric\(.*?\)\ndef (\w+)", text, re.MULTILINE | re.DOTALL)
    assert sorted(decorated) == sorted(one.name for one in METRICS)
    assert len(decorated) > 30


def test_a_module_of_metrics_is_collected_in_the_order_of_definition() -> None:
    assert metrics_of(_module(full_marks, experts_asked)) == (full_marks, experts_asked)
    with pytest.raises(ValueError, match="defined twice: full_marks"):
        metrics_of(_module(full_marks), _module(full_marks))


def test_new_metrics_get_values_and_intervals_and_never_a_made_up_zero(table: OutcomeTable) -> None:
    trial = make_trial(table)
    rows = {
        row.name: row
        for row in evaluate(trial, baselines(trial), 50, 0, metrics=(*METRICS, full_marks, experts_asked)).rows
    }
    single = rows["best_single"]
    # Scores are right or wrong here, so that full marks are the mean score, and come with its interval.
    assert single.metrics["full_marks"] == pytest.approx(single.metrics["quality"])
    assert single.intervals["full_marks"] == pytest.approx(single.intervals["quality"])
    assert (single.metrics["experts_asked"], rows["random"].metrics["experts_asked"]) == (1, 3)
    assert "experts_asked" not in single.intervals
    # The zero router picks nobody.
    assert rows["zero_router"].metrics["full_marks"] is None
    assert rows["zero_router"].metrics["experts_asked"] is None
    assert "full_marks" not in rows["zero_router"].intervals


def test_a_name_of_the_harness_is_refused(table: OutcomeTable) -> None:
    @per_prompt_metric()
    def gain(table: OutcomeTable, mix: Floats) -> Floats:
        """Something else."""
        return np.ones(len(mix))

    trial = make_trial(table)
    with pytest.raises(ValueError, match="gain"):
        evaluate(trial, baselines(trial), 0, 0, metrics=(*METRICS, gain))


def test_a_metric_without_a_definition_is_refused() -> None:
    def nameless(result: RouterResult) -> float:
        return 0.0

    with pytest.raises(ValueError, match="nameless needs a docstring"):
        metric()(nameless)


def test_only_columns_with_something_to_show_are_shown() -> None:
    def shown(rows: Sequence[dict[str, float | None]]) -> list[str]:
        return [one.name for one in metrics_to_show(rows)]

    assert shown([{"quality": 0.5, "aiq": None, "coverage": 1.0}, {"quality": None, "aiq": None, "coverage": 1.0}]) == [
        "quality"
    ]
    assert shown([{"quality": 0.5, "coverage": 1.0}, {"coverage": 0.9}]) == ["quality", "coverage"]
    assert shown([{"regret": 0.0}]) == ["regret"], "a measured zero is a value"


@pytest.mark.parametrize(
    ("around", "better", "side"),
    [
        ((0.1, 0.2), "higher", "good"),
        ((-0.2, -0.1), "higher", "bad"),
        ((0.1, 0.2), "lower", "bad"),
        ((-0.2, -0.1), "lower", "good"),
        ((-0.1, 0.1), "higher", ""),
        ((0.0, 0.0), "higher", ""),
        (None, "higher", ""),
    ],
)
def test_a_difference_is_good_where_its_interval_says_so(
    around: tuple[float, float] | None, better: str, side: str
) -> None:
    def difference(result: RouterResult) -> float:
        """Some difference."""
        return 0.0

    signed: Callable[..., Metric] = metric(signed=True, better="lower" if better == "lower" else "higher")
    assert side_of_zero(signed(difference), around) == side
    assert side_of_zero(metric(better="higher")(difference), (0.1, 0.2)) == "", "no difference, no side"


def test_values_are_shown_in_their_units() -> None:
    shown = {one.name: one for one in METRICS}
    assert shown["quality"].text(0.51234) == "0.5123"
    assert shown["gap_closed"].text(0.125) == "12.5%"
    assert shown["cost_usd"].text(0.00012345) == "0.123"
    assert shown["latency_p50_ms"].text(1.2345) == "1.23"
    assert shown["quality_minus_best_single"].text(0.5) == "+0.5000"
    assert shown["quality_minus_best_single"].interval_text(-0.1, 0.25, ", ") == "-0.100, +0.250"


def test_the_page_and_the_schema_have_every_metric(root: Path) -> None:
    page = (root / "docs" / "evaluation.md").read_text(encoding="utf-8")
    block = page.split("`make eval-docs` writes it -->\n\n", 1)[1].split("\n<!-- end of", 1)[0]
    assert block == metrics_markdown(), "make eval-docs writes it"
    assert schema_text() == (root / "docs" / "evaluation.schema.json").read_text(encoding="utf-8")
    for one in METRICS:
        assert f'"{one.name}": {{' in schema_text()
