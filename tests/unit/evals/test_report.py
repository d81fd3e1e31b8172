"""What a reader gets: schema, page and terminal say the same, and never a made-up zero."""

import re
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from rich.console import Console

from pointsman.evals.baselines import baselines, random_matched
from pointsman.evals.evaluate import evaluate, expert_rows
from pointsman.evals.losses import lost_prompts
from pointsman.evals.metrics.catalog import METRICS
from pointsman.evals.page import render_page
from pointsman.evals.policies import make_trial
from pointsman.evals.provenance import git_state, provenance
from pointsman.evals.replay import expert_specs, replay
from pointsman.evals.report import EvaluationReport, LostPrompt, RouterRow
from pointsman.evals.tables import OutcomeTable
from pointsman.evals.terminal import print_report
from pointsman.routers.two_stage import TwoStageRouter

MakeRouter = Callable[..., TwoStageRouter]


def _report(table: OutcomeTable, router: TwoStageRouter) -> EvaluationReport:
    trial = make_trial(table)
    done = replay(router, trial, expert_specs(trial), "mine <b>")
    policies = [done.policy, *baselines(trial), random_matched(trial, done.policy)]
    evaluation = evaluate(trial, policies, 100, 0)
    return EvaluationReport(
        provenance=provenance(
            table,
            trial,
            split="test",
            train_split="train",
            sparse=False,
            resamples=100,
            seed=0,
            command="pointsman eval --table small",
            date="2026-01-01T00:00:00+00:00",
        ),
        pool=expert_rows(trial),
        categories={"code": 1, "law": 2, "math": 3},
        routers=evaluation.rows,
        comparisons=evaluation.comparisons,
    )


@pytest.fixture
def report(table: OutcomeTable, small_router: MakeRouter) -> EvaluationReport:
    return _report(table, small_router(table))


def test_json_round_trip(report: EvaluationReport, tmp_path: Path) -> None:
    report.write_json(tmp_path / "r.json")
    assert EvaluationReport.model_validate_json((tmp_path / "r.json").read_text()) == report


def test_a_nan_can_never_stand_in_a_report(report: EvaluationReport) -> None:
    row = report.row("oracle").model_dump()
    with pytest.raises(ValidationError):
        RouterRow(**{**row, "metrics": {**row["metrics"], "quality": float("nan")}})


def test_an_unknown_row_is_a_key_error(report: EvaluationReport) -> None:
    with pytest.raises(KeyError):
        report.row("ghost")


def test_the_page_escapes_names_and_follows_the_theme(report: EvaluationReport) -> None:
    page = render_page(report)
    assert "mine &lt;b&gt;" in page
    assert "mine <b>" not in page
    assert "prefers-color-scheme: dark" in page
    # Every placeholder colour became a variable of the page; no figure keeps a white or black of its own.
    svgs = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "var(--ink)" in svgs
    assert not re.search(r"#0[1-5]0[1-5]0[0-9]", svgs)
    assert not re.search(r"(fill|stroke): #(fff|000)", svgs)


def test_ids_of_the_figures_do_not_collide(report: EvaluationReport) -> None:
    defined = re.findall(r' id="([^"]+)"', render_page(report))
    clips = [name for name in defined if name.startswith("p") and len(name) > 8]
    assert clips
    assert len(clips) == len(set(clips))


def test_the_page_is_the_same_for_the_same_report(report: EvaluationReport) -> None:
    assert render_page(report) == render_page(report)


def test_without_costs_the_page_has_no_cost_figures(table: OutcomeTable, small_router: MakeRouter) -> None:
    bare = replace(table, cost_usd=np.full(table.scores.shape, np.nan))
    page = render_page(_report(bare, small_router(bare)))
    assert page.count("<svg") == 3, "quality, who is asked, calibration"
    assert ">AIQ" not in page


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_terminal_table_fits(report: EvaluationReport, width: int) -> None:
    out = StringIO()
    print_report(report, Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in out.getvalue()
    for row in report.routers:
        assert any(row.name in line for line in lines)
    header = next(line for line in lines if "quality" in line and "router" in line)
    assert "AIQ" in header
    assert ("only best" in header) == (width == 200)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_legend_explains_the_columns_that_are_shown_and_no_others(report: EvaluationReport, width: int) -> None:
    out = StringIO()
    print_report(report, Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    header = next(line for line in lines if "quality" in line and "router" in line)
    below = next(i for i in range(len(lines), 0, -1) if not lines[i - 1].strip())
    legend = " ".join(line.strip() for line in lines[below:])
    explained = {one.heading for one in METRICS if one.legend and f"{one.heading}: {one.legend}" in legend}
    assert explained == {one.heading for one in METRICS if one.legend and one.heading in header}
    assert ("±" in legend) == any("±" in line for line in lines[:below])
    assert "Green and red" in legend, "the difference to the best single expert is always shown"


def test_a_row_holds_every_metric_and_intervals_of_known_values_alone(report: EvaluationReport) -> None:
    for row in report.routers:
        assert list(row.metrics) == [one.name for one in METRICS]
        assert {name for name in row.intervals if row.metrics[name] is None} == set()
    assert "apgr" not in report.row("mine <b>").intervals, "a pool of three"


def test_git_state_is_only_believed_for_this_very_project(tmp_path: Path) -> None:
    assert git_state(tmp_path) == (None, None)


def test_provenance_names_the_table_and_no_path(report: EvaluationReport, tmp_path: Path) -> None:
    assert report.provenance.table == "small"
    assert str(tmp_path) not in report.model_dump_json()


def test_the_page_shows_where_a_router_loses_and_escapes_the_prompts(report: EvaluationReport) -> None:
    prompt = LostPrompt(
        router="mine <b>",
        prompt_id="p<1>",
        excerpt="<script>alert(1)</script> & more",
        category="code",
        picked="lawyer",
        picked_score=0.0,
        predicted=None,
        best=("coder", "reckoner"),
        best_score=1.0,
        predicted_best=0.25,
    )
    page = render_page(report.model_copy(update={"lost": (prompt,)}))
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page
    assert "coder, reckoner</span> scored 1, expected 0.25 of the first" in page
    assert "lawyer</span> scored 0</p>" in page


def test_lost_prompts_are_the_costly_and_avoidable_ones(table: OutcomeTable, small_router: MakeRouter) -> None:
    trial = make_trial(table)
    policy = replay(small_router(table), trial, expert_specs(trial), "mine").policy
    lost = lost_prompts(trial, policy, most=8)
    assert len(lost) == 8
    column = {name: j for j, name in enumerate(trial.test.experts)}
    for one in lost:
        i = trial.test.prompt_ids.index(one.prompt_id)
        assert policy.mix[i, column[one.picked]] == 1
        assert one.picked_score == trial.test.scores[i, column[one.picked]] < one.best_score
        assert all(trial.test.scores[i, column[name]] == one.best_score for name in one.best)
    assert [len(one.best) for one in lost] == sorted((len(one.best) for one in lost), reverse=True)
    long = replace(trial, test=replace(trial.test, prompts=tuple("word " * 500 for _ in trial.test.prompts)))
    assert all(len(one.excerpt) <= 280 and one.excerpt.endswith("…") for one in lost_prompts(long, policy))


def test_the_band_holds_the_curve(report: EvaluationReport) -> None:
    row, single = report.row("mine <b>"), report.row("best_single")
    assert row.band
    base = single.metrics["quality"]
    assert base is not None
    hull = [point for point in row.curve if point.on_hull and point.cost_share is not None]
    inside = 0
    for point in row.band:
        shares = [one.cost_share or 0.0 for one in hull]
        value = np.interp(point.cost_share, shares, [one.quality / base for one in hull])
        inside += point.low - 0.02 <= value <= point.high + 0.02
    assert inside >= 0.9 * len(row.band)
    assert not report.row("random").band
