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

from evals.baselines import baselines, random_matched
from evals.evaluate import evaluate, expert_rows
from evals.page import render_page
from evals.policies import make_trial
from evals.provenance import git_state, provenance
from evals.replay import expert_specs, replay
from evals.report import Report, RouterRow
from evals.tables import OutcomeTable
from evals.terminal import print_report
from routers.two_stage import TwoStageRouter

MakeRouter = Callable[..., TwoStageRouter]


def _report(table: OutcomeTable, router: TwoStageRouter) -> Report:
    trial = make_trial(table)
    done = replay(router, trial, expert_specs(trial), "mine <b>")
    policies = [done.policy, *baselines(trial), random_matched(trial, done.policy)]
    evaluation = evaluate(trial, policies, 100, 0)
    return Report(
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
def report(table: OutcomeTable, small_router: MakeRouter) -> Report:
    return _report(table, small_router(table))


def test_json_round_trip(report: Report, tmp_path: Path) -> None:
    report.write_json(tmp_path / "r.json")
    assert Report.model_validate_json((tmp_path / "r.json").read_text()) == report


def test_a_nan_can_never_stand_in_a_report(report: Report) -> None:
    row = report.row("oracle").model_dump()
    with pytest.raises(ValidationError):
        RouterRow(**{**row, "quality": float("nan")})


def test_an_unknown_row_is_a_key_error(report: Report) -> None:
    with pytest.raises(KeyError):
        report.row("ghost")


def test_the_page_escapes_names_and_follows_the_theme(report: Report) -> None:
    page = render_page(report)
    assert "mine &lt;b&gt;" in page
    assert "mine <b>" not in page
    assert "prefers-color-scheme: dark" in page
    # Every placeholder colour became a variable of the page; no figure keeps a white or black of its own.
    svgs = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "var(--ink)" in svgs
    assert not re.search(r"#0[1-5]0[1-5]0[0-9]", svgs)
    assert not re.search(r"(fill|stroke): #(fff|000)", svgs)


def test_ids_of_the_figures_do_not_collide(report: Report) -> None:
    defined = re.findall(r' id="([^"]+)"', render_page(report))
    clips = [name for name in defined if name.startswith("p") and len(name) > 8]
    assert clips
    assert len(clips) == len(set(clips))


def test_the_page_is_the_same_for_the_same_report(report: Report) -> None:
    assert render_page(report) == render_page(report)


def test_without_costs_the_page_has_no_cost_figures(table: OutcomeTable, small_router: MakeRouter) -> None:
    bare = replace(table, cost_usd=np.full(table.scores.shape, np.nan))
    page = render_page(_report(bare, small_router(bare)))
    assert page.count("<svg") == 2
    assert "AIQ</th>" not in page


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_terminal_table_fits(report: Report, width: int) -> None:
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


def test_git_state_is_only_believed_for_this_very_project(tmp_path: Path) -> None:
    assert git_state(tmp_path) == (None, None)


def test_provenance_names_the_table_and_no_path(report: Report, tmp_path: Path) -> None:
    assert report.provenance.table == "small"
    assert str(tmp_path) not in report.model_dump_json()
