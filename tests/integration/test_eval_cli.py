"""`pointsman eval` and `pointsman train` as a user runs them: real processes, real files, real artefacts."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

MANDATORY = {"random", "cheapest", "best_single", "category_oracle", "oracle"}
FIELDS = ("quality", "cost_usd", "regret", "selection_accuracy", "gap_closed", "aiq")
SUBJECTS = {
    "code": "python function loop list string compile error variable class method return stack",
    "math": "equation number percent total fraction sum product remainder angle integer solve ratio",
    "law": "court contract tort statute liability plaintiff defendant appeal clause breach duty trial",
}


def _pointsman(root: Path, *arguments: object, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from pointsman.gateway.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 prompts on three subjects, three experts, each right nine times in ten on its own and three elsewhere."""
    folder = tmp_path_factory.mktemp("tables") / "subjects"
    folder.mkdir()
    rng = np.random.default_rng(5)
    names = list(SUBJECTS)
    labels = [names[i] for i in rng.integers(0, 3, 600)]
    texts = [f"Question {i}: " + " ".join(rng.choice(SUBJECTS[label].split(), 14)) for i, label in enumerate(labels)]
    prompts = {
        "prompt_id": [f"p{i}" for i in range(600)],
        "prompt": texts,
        "dataset": ["subjects"] * 600,
        "category": labels,
        "split": ["test" if i % 3 == 0 else "train" for i in range(600)],
        "prompt_tokens_cl100k": [20] * 600,
    }
    outcomes: dict[str, list[Any]] = {
        key: [] for key in ("prompt_id", "model", "score", "cost_usd", "completion_tokens_cl100k")
    }
    for i, label in enumerate(labels):
        for j, name in enumerate(names):
            tokens = int(rng.integers(20, 60))
            outcomes["prompt_id"].append(f"p{i}")
            outcomes["model"].append(f"expert-{name}")
            outcomes["score"].append(float(rng.random() < (0.9 if name == label else 0.3)))
            outcomes["cost_usd"].append((20 + 2 * tokens) * (1, 2, 4)[j] / 1e6)
            outcomes["completion_tokens_cl100k"].append(tokens)
    pq.write_table(pa.table(prompts), folder / "prompts.parquet")
    pq.write_table(pa.table(outcomes), folder / "outcomes.parquet")
    return folder


@pytest.fixture(scope="module")
def artefact(root: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A router trained by the command line."""
    out = tmp_path_factory.mktemp("artefacts") / "subjects-router"
    done = _pointsman(root, "train", "--table", table, "--out", out, "--seed", 1)
    assert done.returncode == 0, done.stderr
    assert "Fitted on 400 train prompts and 3 experts of subjects" in done.stdout
    return out


@pytest.fixture(scope="module")
def report(root: Path, table: Path, artefact: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The JSON, page and terminal output of one evaluation of that router."""
    out = tmp_path_factory.mktemp("reports")
    files = ("--json", out / "r.json", "--html", out / "r.html")
    done = _pointsman(root, "eval", "--table", table, "--router", artefact, *files, "--bootstrap", 200)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((out / "r.json").read_text())
    return {"json": found, "html": (out / "r.html").read_text(), "stdout": done.stdout, "stderr": done.stderr}


def test_train_writes_an_artefact_that_loads(artefact: Path) -> None:
    from pointsman.routers.artifacts import load_router

    router = load_router(artefact)
    assert router.artifact_hash
    assert not list(artefact.glob("*.pkl"))


def test_the_report_holds_routers_and_mandatory_baselines(report: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in report["json"]["routers"]}
    assert {name for name, row in rows.items() if row["kind"] == "router"} == {"subjects-router"}
    assert {name for name, row in rows.items() if row["kind"] == "baseline"} >= MANDATORY
    for name in MANDATORY | {"subjects-router"}:
        for field in FIELDS:
            assert rows[name]["metrics"][field] is not None, (name, field)
        low, high = rows[name]["intervals"]["quality"]
        assert low <= rows[name]["metrics"]["quality"] <= high


def test_routing_pays_where_it_must(report: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in report["json"]["routers"]}
    router = rows["subjects-router"]
    assert router["intervals"]["quality_minus_best_single"][0] > 0.2
    assert router["metrics"]["quality"] == pytest.approx(rows["category_oracle"]["metrics"]["quality"], abs=0.05)
    assert router["intervals"]["aiq_minus_zero_router"][0] > 0
    assert rows["category_predicted[subjects-router]"]["metrics"]["quality"] > rows["best_single"]["metrics"]["quality"]
    assert rows["random_matched[subjects-router]"]["metrics"]["quality"] < router["metrics"]["quality"]
    assert rows["oracle"]["metrics"]["gap_closed"] == 1
    assert rows["best_single"]["metrics"]["gap_closed"] == 0


def test_provenance_can_be_checked(report: dict[str, Any], table: Path, artefact: Path) -> None:
    import hashlib

    made = report["json"]["provenance"]
    for name, digest in made["sha256"].items():
        assert hashlib.sha256((table / name).read_bytes()).hexdigest() == digest
    assert (made["prompts"], made["train_prompts"], made["experts"]) == (200, 400, 3)
    assert made["command"].startswith("pointsman eval") or "eval --table" in made["command"]
    rows = {row["name"]: row for row in report["json"]["routers"]}
    manifest = json.loads((artefact / "manifest.json").read_text())
    assert rows["subjects-router"]["artifact_hash"] == manifest["artifact_hash"]


def test_the_report_fits_its_schema(report: dict[str, Any]) -> None:
    from pointsman.evals.report import EvaluationReport

    EvaluationReport.model_validate(report["json"])
    text = json.dumps(report["json"])
    assert "NaN" not in text
    assert "Infinity" not in text


def test_the_page_is_self_contained(report: dict[str, Any]) -> None:
    page = report["html"]
    assert page.count("<svg") == 5
    assert "<script" not in page
    for outside in ("src=", "@import", "url(http", 'href="http', "<link"):
        assert outside not in page
    assert "subjects-router" in page


def test_the_terminal_shows_the_table(report: dict[str, Any]) -> None:
    for name in MANDATORY | {"subjects-router"}:
        assert name in report["stdout"]
    assert "Traceback" not in report["stderr"]


@pytest.mark.slow
def test_without_a_router_one_is_fitted_and_said(root: Path, table: Path) -> None:
    done = _pointsman(root, "eval", "--table", table, "--json", "-", "--bootstrap", 50, "--seed", 1)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["name"] for row in found["routers"] if row["kind"] == "router"] == ["fitted"]
    assert any("no router named" in note for note in found["provenance"]["notes"])


@pytest.mark.slow
def test_without_a_train_split_everything_is_cross_fitted(root: Path, table: Path, tmp_path: Path) -> None:
    other = tmp_path / "unsplit"
    other.mkdir()
    prompts = pq.read_table(table / "prompts.parquet")
    at = prompts.column_names.index("split")
    pq.write_table(prompts.set_column(at, "split", pa.array(["test"] * 600)), other / "prompts.parquet")
    pq.write_table(pq.read_table(table / "outcomes.parquet"), other / "outcomes.parquet")
    done = _pointsman(root, "eval", "--table", other, "--json", "-", "--bootstrap", 50, "--folds", 3)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    rows = {row["name"]: row for row in found["routers"]}
    assert found["provenance"]["prompts"] == 600
    assert any("cross-fitted in 3 folds" in note for note in found["provenance"]["notes"])
    assert rows["fitted"]["intervals"]["quality_minus_best_single"][0] > 0.2
    assert rows["fitted"]["metrics"]["coverage"] == 1


@pytest.mark.slow
def test_a_category_can_be_left_out(root: Path, table: Path, artefact: Path, tmp_path: Path) -> None:
    out = tmp_path / "loco.json"
    done = _pointsman(
        root, "eval", "--table", table, "--router", artefact, "--protocol", "loco", "--json", out, "--bootstrap", 0
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(out.read_text())
    assert any("leave one category out" in note for note in told["provenance"]["notes"])
    rows = {row["name"]: row for row in told["routers"]}
    assert rows["category_oracle"]["metrics"]["quality"] == rows["best_single"]["metrics"]["quality"]


@pytest.mark.slow
def test_an_expert_joins(root: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "joined.json"
    options = ("--protocol", "onboarding", "--newcomer", "expert-code", "--bootstrap", 100, "--json", out)
    done = _pointsman(root, "eval", "--table", table, *options)
    assert done.returncode == 0, done.stderr
    assert "known in full" in done.stdout
    rows = {(row["way"], row["labelled"]): row for row in json.loads(out.read_text())["rows"]}
    assert rows["without", 0]["asked"] == 0
    assert rows["without", 0]["brier"] is None
    assert rows["refitted", 200]["quality"] > rows["without", 0]["quality"] + 0.05
    refused = _pointsman(root, "eval", "--table", table, *options, "--html", tmp_path / "page.html")
    assert refused.returncode == 2
    assert "--html draws no page of --protocol onboarding" in refused.stderr


@pytest.mark.slow
def test_the_same_command_gives_the_same_figures(root: Path, table: Path, artefact: Path) -> None:
    def run() -> Any:
        done = _pointsman(root, "eval", "--table", table, "--router", artefact, "--json", "-", "--bootstrap", 50)
        found = json.loads(done.stdout)
        for row in found["routers"]:
            row["metrics"].pop("latency_p50_ms")
            row["metrics"].pop("latency_p99_ms")
        return found["routers"]

    assert run() == run()


@pytest.mark.slow
def test_a_router_fitted_on_other_experts_is_called_out(
    root: Path, table: Path, artefact: Path, tmp_path: Path
) -> None:
    other = tmp_path / "renamed"
    other.mkdir()
    outcomes = pq.read_table(table / "outcomes.parquet")
    names = pa.array([f"new-{name}" for name in outcomes["model"].to_pylist()])
    pq.write_table(outcomes.set_column(1, "model", names), other / "outcomes.parquet")
    pq.write_table(pq.read_table(table / "prompts.parquet"), other / "prompts.parquet")
    done = _pointsman(root, "eval", "--table", other, "--router", artefact, "--json", "-", "--bootstrap", 0)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["routers"]}
    assert any("rest on priors alone" in note for note in rows["subjects-router"]["notes"])


def test_the_committed_schema_is_current(root: Path) -> None:
    done = _pointsman(root, "eval", "--schema")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (root / "docs" / "evaluation.schema.json").read_text()


def test_no_bootstrap_means_no_intervals(root: Path, table: Path, artefact: Path) -> None:
    done = _pointsman(root, "eval", "--table", table, "--router", artefact, "--json", "-", "--bootstrap", 0)
    rows = json.loads(done.stdout)["routers"]
    assert all(row["intervals"] == {} for row in rows)
    assert all(row["metrics"]["quality"] is not None for row in rows)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--models", "ghost"), "no expert named ghost"),
        (("--split", "dev"), "no prompt in split 'dev'"),
        (("--prices", "absent.csv"), "absent.csv: cannot be read"),
        (("--router", "absent-artefact"), "no router artefact at absent-artefact"),
        (("--generalist", "ghost"), "--generalist ghost"),
        (("--json", "absent/folder/r.json"), "no such folder"),
    ],
)
def test_mistakes_get_a_sentence_and_no_traceback(
    root: Path, table: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    done = _pointsman(root, "eval", "--table", table, *arguments)
    assert done.returncode == 1
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_help_imports_nothing_heavy(root: Path) -> None:
    code = (
        "import sys; from pointsman.evals.cli import evaluate\n"
        "try: evaluate(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('numpy', 'pyarrow', 'sklearn', 'matplotlib', 'torch', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
    assert "--bootstrap" in done.stdout


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.timeout(700)
def test_mmlu_pro_prints_its_table_within_two_minutes(root: Path, shared_data: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = _pointsman(root, "eval", "--table", shared_data / "mmlu_pro", "--json", "-", timeout=600)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    rows = {row["name"]: row for row in found["routers"]}
    assert found["provenance"]["prompts"] == 3568
    assert rows["best_single"]["metrics"]["quality"] == pytest.approx(0.6998, abs=5e-5)
    assert rows["zero_router"]["metrics"]["aiq"] == pytest.approx(0.6633, abs=5e-5)
    # No worse than not routing, beyond noise.
    assert rows["fitted"]["intervals"]["quality_minus_best_single"][1] > 0
    assert rows["fitted"]["metrics"]["aiq"] > rows["zero_router"]["metrics"]["aiq"]
    # Seconds of CPU: what the clock shows on a machine that has nothing else to do, at most.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 120


@pytest.mark.slow
def test_a_pool_that_costs_nothing_is_evaluated(root: Path, tmp_path: Path) -> None:
    """Its experts have no shares of a cost; the table is the one that comes along."""
    out = tmp_path / "r.json"
    done = _pointsman(root, "eval", "--table", root / "examples/data/nano", "--json", out, "--bootstrap", 100)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(out.read_text())["routers"]}
    assert rows["fitted"]["metrics"]["cost_usd"] == 0
    assert rows["fitted"]["metrics"]["cost_share_at_95"] is None
    assert rows["fitted"]["metrics"]["quality"] > rows["best_single"]["metrics"]["quality"] + 0.05


@pytest.mark.slow
def test_answers_of_a_pool_that_costs_nothing_are_learned_from(root: Path, tmp_path: Path) -> None:
    done = _pointsman(root, "train", "--table", root / "examples/data/nano", "--out", tmp_path / "router")
    assert done.returncode == 0, done.stderr
    assert "Learned from answers whom to ask next" in done.stdout
    assert "RuntimeWarning" not in done.stderr
