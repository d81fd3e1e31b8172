"""`pointsman plan` as its user runs it, on a small table whose best plan is known."""

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from pointsman.evals.cli import train
from pointsman.evals.plan_cli import plan

#: Accuracy of each expert on code and on prose prompts.
SKILL = {"coder": (0.9, 0.2), "writer": (0.2, 0.9), "allround": (0.7, 0.7), "giant": (1.0, 1.0)}
POOL = """
pool:                 # as a gateway's configuration has it
  experts:
    - {name: coder, backend: x, params_total_b: 7, latency: {base_ms: 9, tpot_ms: 5, p95_factor: 1}, energy: ENERGY7}
    - {name: writer, params_total_b: 7, latency: {tpot_ms: 5, p95_factor: 1}, energy: ENERGY7}
    - {name: mid, known_as: allround, params_total_b: 14, latency: {tpot_ms: 10, p95_factor: 1}, energy: ENERGY14}
    - {name: giant, params_total_b: 400, latency: {tpot_ms: 50, p95_factor: 1}, energy: {j_per_completion_token: 9}}
""".replace("ENERGY7", "{j_per_completion_token: 0.5}").replace("ENERGY14", "{j_per_completion_token: 1}")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A table of 100 code and 100 prose prompts with answers of 100 tokens, and a pool file."""
    folder = tmp_path_factory.mktemp("plan")
    prompts, outcomes = [], []
    for at in range(200):
        category = ("code", "prose")[at % 2]
        prompts.append(
            {"prompt_id": f"p{at}", "prompt": f"{category} task {at}", "category": category, "split": "train"}
        )
        for name, skill in SKILL.items():
            score = float((at // 2) % 10 < 10 * skill[at % 2])
            outcomes.append({"prompt_id": f"p{at}", "model": name, "score": score, "completion_tokens": 100})
    table = folder / "table"
    table.mkdir()
    pl.DataFrame(prompts).write_parquet(table / "prompts.parquet")
    pl.DataFrame(outcomes).write_parquet(table / "outcomes.parquet")
    pool = folder / "pool.yaml"
    pool.write_text(POOL)
    return table, pool


def run(files: tuple[Path, Path], *options: str):
    table, pool = files
    return CliRunner().invoke(plan, ["--table", str(table), "--pool", str(pool), *options])


def planned(files: tuple[Path, Path], tmp_path: Path, *options: str):
    out = tmp_path / "plan.json"
    result = run(files, "--json", str(out), *options)
    assert result.exit_code == 0, result.output
    return json.loads(out.read_text())


def test_without_caps_the_best_expert_suffices(files, tmp_path):
    made = planned(files, tmp_path)
    assert made["awake"] == ["giant"]
    assert made["gap"] < 1e-8


def test_within_memory_two_specialists_beat_one_generalist(files, tmp_path):
    made = planned(files, tmp_path, "--resident-b", "14")
    assert made["awake"] == ["coder", "writer"]
    assert made["serving"] == {"code": "coder", "prose": "writer"}
    assert made["resident_b"] == 14
    # 100 tokens at half a joule.
    assert made["energy_j"] == pytest.approx(50)


def test_an_energy_cap_counts_as_many_experts_as_a_request_may_ask(files, tmp_path):
    # Two calls of 50 J break a cap of 90 J, and one expert asked alone may take all of it.
    assert planned(files, tmp_path, "--max-energy-j", "90", "--k", "1")["awake"] == ["coder", "writer"]
    assert len(planned(files, tmp_path, "--max-energy-j", "90", "--k", "2")["awake"]) == 1
    assert planned(files, tmp_path, "--max-energy-j", "101", "--k", "2")["awake"] == ["coder", "writer"]


def test_a_category_may_have_a_latency_cap_of_its_own(files, tmp_path):
    made = planned(files, tmp_path, "--max-latency-ms", "6000", "--max-latency-ms", "prose=800")
    assert made["serving"] == {"code": "giant", "prose": "writer"}
    assert made["awake"] == ["writer", "giant"]


def test_frontiers_rise_and_bound_what_they_promise(files, tmp_path):
    made = planned(files, tmp_path)
    for frontier in (made["by_energy"], made["by_latency"]):
        qualities = [point["quality"] for point in frontier]
        assert len(frontier) >= 3
        assert qualities == sorted(qualities)
        assert all(point["upper_bound"] >= point["quality"] for point in frontier)


def test_an_average_active_budget_that_cannot_be_kept_is_said(files):
    result = run(files, "--active-b", "3")
    assert result.exit_code == 0
    assert "max_active_b" in result.output


def test_the_page_shows_the_frontiers_and_nothing_from_outside(files, tmp_path):
    out = tmp_path / "plan.html"
    result = run(files, "--html", str(out))
    assert result.exit_code == 0, result.output
    html = out.read_text()
    assert "<svg" in html
    assert "<script" not in html
    assert "worst-case energy" in html


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--resident-b", "3"], "keep to --resident-b"),
        (["--max-latency-ms", "100"], "keep to --max-latency-ms"),
        (["--max-energy-j", "1"], "keep to --max-energy-j"),
        (["--max-energy-j", "90", "--k", "2", "--max-latency-ms", "505", "--resident-b", "6.9"], "--resident-b"),
        (["--max-latency-ms", "poetry=100"], "the categories are code, prose"),
        (["--max-latency-ms", "soon"], "not a number"),
        (["--split", "test"], "no prompts"),
    ],
)
def test_an_impossible_plan_is_an_error_with_a_reason(files, options, sentence):
    result = run(files, *options)
    assert result.exit_code == 1
    assert sentence in result.output


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("experts: []", "experts"),
        ("experts: [{name: coder, params_total_b: -1}]", "params_total_b"),
        ("experts: [{name: nobody}]", "no outcomes of nobody"),
        ("experts: [{name: coder}, {name: again, known_as: coder}]", "stands twice: coder"),
        ("experts: {", "cannot be read"),
    ],
)
def test_an_invalid_pool_file_is_an_error(files, tmp_path, text, sentence):
    pool = tmp_path / "pool.yaml"
    pool.write_text(text)
    result = run((files[0], pool))
    assert result.exit_code == 1
    assert sentence in result.output


def test_quality_may_come_from_a_router(files, tmp_path):
    artefact = tmp_path / "router"
    fitted = CliRunner().invoke(train, ["--table", str(files[0]), "--out", str(artefact)])
    assert fitted.exit_code == 0, fitted.output
    made = planned(files, tmp_path, "--router", str(artefact), "--resident-b", "14")
    assert made["awake"] == ["coder", "writer"]
    assert made["serving"] == {"code": "coder", "prose": "writer"}


def test_a_router_without_the_pools_experts_is_an_error(files):
    result = run(files, "--router", "default")
    assert result.exit_code == 1
    assert "knows nothing of" in result.output
