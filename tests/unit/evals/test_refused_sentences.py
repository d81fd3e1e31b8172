"""Commands of the harness on what they cannot do: a sentence, and nothing overwritten."""

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from pointsman.evals.cli import evaluate, train
from pointsman.evals.onboard_cli import onboard


def table(folder: Path, prompts: list[str], cost: list[float | None] | None = None) -> Path:
    folder.mkdir()
    ids = [str(i) for i in range(len(prompts))]
    splits = ["test" if i % 3 == 0 else "train" for i in range(len(prompts))]
    pl.DataFrame({"prompt_id": ids, "prompt": prompts, "split": splits}).write_parquet(folder / "prompts.parquet")
    rows = [
        {
            "prompt_id": i,
            "model": m,
            "score": float((int(i) * 7 + k) % 3 > 0),
            "cost_usd": None if cost is None else cost[int(i)],
        }
        for i in ids
        for k, m in enumerate("ab")
    ]
    pl.DataFrame(rows, schema_overrides={"cost_usd": pl.Float64}).write_parquet(folder / "outcomes.parquet")
    return folder


def told(result: Result) -> str:
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return " ".join(result.output.split())


WORDS = ["alpha", "beta", "gamma", "delta", "code", "law", "math", "court", "matrix", "python", "proof", "sum", "loop"]
PROMPTS = [" ".join(WORDS[(i * k) % 13] for k in range(1, 8)) + f" {i}" for i in range(60)]


@pytest.mark.parametrize("prompts", [["one"], ["same"] * 60, [""] * 60, ["  Same ", "same"] * 30])
def test_prompts_that_nothing_can_be_learned_from_are_a_sentence(tmp_path: Path, prompts: list[str]) -> None:
    folder = table(tmp_path / "t", prompts)
    said = CliRunner().invoke(train, ["--table", str(folder), "--out", str(tmp_path / "r")])
    assert said.exit_code == 1
    told(said)
    told(CliRunner().invoke(evaluate, ["--table", str(folder), "--bootstrap", "5"]))


def test_train_replaces_an_artefact_only_when_asked(tmp_path: Path) -> None:
    arguments = ["--table", str(table(tmp_path / "t", PROMPTS)), "--out", str(tmp_path / "r")]
    assert CliRunner().invoke(train, arguments).exit_code == 0
    before = (tmp_path / "r" / "manifest.json").read_text()
    again = CliRunner().invoke(train, [*arguments, "--models", "a"])
    assert again.exit_code == 1
    assert "--overwrite replaces it" in told(again)
    assert (tmp_path / "r" / "manifest.json").read_text() == before
    assert CliRunner().invoke(train, [*arguments, "--overwrite"]).exit_code == 0
    elsewhere = CliRunner().invoke(train, [*arguments[:3], str(tmp_path / "t"), "--overwrite"])
    assert "holds other files" in told(elsewhere)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"prompt": "a", "score": 2}, "row 1: `score` must be a number in [0, 1], and is 2"),
        ({"prompt": "a", "score": None}, "row 1: `score` must be"),
        ({"prompt": "a"}, "row 1: `score` must be"),
        ({"score": 1}, "row 1: `prompt` is missing"),
        ({"prompt": "a", "score": 1, "completion_tokens": -1}, "`completion_tokens` is no count"),
    ],
)
def test_onboard_says_what_is_wrong_with_a_row(tmp_path: Path, row: dict[str, object], sentence: str) -> None:
    (tmp_path / "o.jsonl").write_text(json.dumps(row))
    options = ["--artifact", "default", "--expert", "n", "--outcomes", str(tmp_path / "o.jsonl")]
    said = CliRunner().invoke(onboard, [*options, "--out", str(tmp_path / "x")])
    assert said.exit_code == 1
    assert sentence in told(said)


def test_experts_with_some_costs_missing_are_named(tmp_path: Path) -> None:
    folder = table(tmp_path / "t", PROMPTS, [None if i == 3 else 0.1 for i in range(60)])
    said = told(CliRunner().invoke(evaluate, ["--table", str(folder), "--bootstrap", "5"]))
    assert "missing on some prompts of a, b" in said
    assert "b: cost_usd is missing on 1 of 20 scored prompts" in said


def test_models_that_cost_nothing_are_evaluated(tmp_path: Path) -> None:
    folder = table(tmp_path / "t", PROMPTS, [0.0] * 60)
    page = tmp_path / "r.html"
    said = CliRunner().invoke(evaluate, ["--table", str(folder), "--bootstrap", "5", "--html", str(page)])
    assert said.exit_code == 0, told(said)
    assert page.exists()
