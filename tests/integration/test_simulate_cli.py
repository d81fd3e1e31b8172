"""`pointsman simulate` as a user runs it, on a small table and a short trace."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner

from pointsman.evals.simulate.cli import simulate

EXPERTS = ("small", "large")


@pytest.fixture
def ground(tmp_path: Path) -> list[str]:
    """Options that name a table, a trace and a pool."""
    rng = np.random.default_rng(0)
    table = tmp_path / "table"
    table.mkdir()
    ids = [f"p{i}" for i in range(300)]
    subjects = {"code": "loop list string compile function", "law": "court contract tort statute plaintiff"}
    labels = [list(subjects)[i] for i in rng.integers(0, 2, 300)]
    texts = [" ".join(rng.choice(subjects[label].split(), 8)) + f" {i}" for i, label in enumerate(labels)]
    splits = ["test" if i % 3 == 0 else "train" for i in range(300)]
    prompts = {"prompt_id": ids, "prompt": texts, "category": labels, "split": splits}
    pq.write_table(pa.table(prompts), table / "prompts.parquet")
    good = {("small", "code"): 0.8, ("large", "code"): 0.85, ("small", "law"): 0.3, ("large", "law"): 0.9}
    rows = [(name, model, label) for name, label in zip(ids, labels, strict=True) for model in EXPERTS]
    outcomes = {
        "prompt_id": [name for name, _, _ in rows],
        "model": [model for _, model, _ in rows],
        "score": [float(rng.random() < good[model, label]) for _, model, label in rows],
        "completion_tokens": [float(tokens) for tokens in rng.integers(20, 200, len(rows))],
    }
    pq.write_table(pa.table(outcomes), table / "outcomes.parquet")
    start = datetime(2024, 1, 1)  # noqa: DTZ001 (traces carry no zone)
    moments = [start + timedelta(seconds=float(second)) for second in np.sort(rng.uniform(0, 300, 1500))]
    trace = tmp_path / "trace.parquet"
    pq.write_table(pa.table({"timestamp": moments, "prompt_tokens": rng.integers(50, 500, 1500)}), trace)
    pool = tmp_path / "pool.yaml"
    experts = [
        {
            "name": name,
            "latency": {"base_ms": 100, "tpot_ms": 10},
            "energy": {"j_per_completion_token": joules},
            "price": {"input_usd_per_mtok": joules, "output_usd_per_mtok": joules},
        }
        for name, joules in (("small", 0.1), ("large", 1.0))
    ]
    pool.write_text(yaml.safe_dump({"experts": experts}), "utf-8")
    return ["--table", str(table), "--trace", str(trace), "--pool", str(pool), "--window-s", "60"]


def test_a_budget_is_reported_and_plotted(ground: list[str], tmp_path: Path) -> None:
    found, page = tmp_path / "out.json", tmp_path / "out.html"
    more = ["--max-energy-j", "60", "--p95-ttft-ms", "500", "--outage", "large:100-140", "--compare"]
    done = CliRunner().invoke(simulate, [*ground, *more, "--json", str(found), "--html", str(page)])
    assert done.exit_code == 0, done.output
    assert "requests" in done.output
    assert "within" in done.output
    report = json.loads(found.read_text("utf-8"))
    assert report["scenario"]["outage"]["expert"] == "large"
    assert set(report["kept"]) == {"energy_j", "late_share"}
    assert report["energy_j"] < 60 * 1.1
    assert any("in hindsight" in note for note in report["notes"])
    during = [moment for moment in report["moments"] if 130 <= moment["at_s"] <= 140]
    assert all(moment["shares"]["large"] == 0 for moment in during)
    html = page.read_text("utf-8")
    assert html.count("<svg") == 5
    assert "<script" not in html


def test_json_alone_on_standard_output(ground: list[str]) -> None:
    done = CliRunner().invoke(simulate, [*ground, "--max-energy-j", "60", "--json", "-"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["budget"]["max_energy_j"] == 60


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--outage", "nobody:1-2"], "not in the pool"),
        (["--drift", "10:poetry"], "no prompt is of the categories poetry"),
        (["--burst", "ten:1-2"], "FACTOR:FROM-UNTIL"),
        (["--warm-up-s", "9999"], "less than the warm-up"),
        (["--train-split", "none"], "nothing to fit a router on"),
    ],
)
def test_what_cannot_be_done_is_said(ground: list[str], more: list[str], said: str) -> None:
    done = CliRunner().invoke(simulate, [*ground, *more])
    assert done.exit_code == 1
    assert said in done.output
