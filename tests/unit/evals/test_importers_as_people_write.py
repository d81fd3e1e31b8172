"""Importers on files as people have them: encodings, delimiters, half-written scores, short and failed runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pointsman.evals.importers.reading import read_rows
from pointsman.evals.importers.records import grade, number
from pointsman.evals.tables import load_table
from tests.unit.evals.test_importers import answer, cell, imported, run, write_csv, write_json, write_lines

LONG = "prompt,model,score\nWas heißt über?,a,1\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_every_usual_encoding_gives_the_same_text(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes(LONG.encode(encoding))
    assert imported("plain", tmp_path / "a.csv", tmp_path / "t").prompts == ("Was heißt über?",)


def test_a_damaged_byte_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(LONG.encode() + b"x\xff,b,1\n")
    said = run("plain", tmp_path / "a.csv", tmp_path / "t")
    assert said.exit_code == 1
    assert "line 3: neither UTF-8" in " ".join(said.output.split())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "prompt\tmodel\tscore\nq\ta\t1\n"),
        ("a.csv", "prompt;model;score\nq;a;1,0\n"),
        ("a.csv", "Prompt, Model , SCORE\nq,a,1\n"),
        ("a.csv", "prompt,model,score,,\nq,a,1,,\n\n"),
        ("a.json", '[{"prompt":"q","model":"a","score":1}]'),
        ("a.json", '{"data":[{"prompt":"q","model":"a","score":1}]}'),
        ("a.json", '{"prompt":{"0":"q"},"model":{"0":"a"},"score":{"0":1}}'),
        ("a.json", '{"prompt":"q","model":"a","score":1}\n{"prompt":"q2","model":"a","score":1}\n'),
        ("a.jsonl", '[{"prompt":"q","model":"a","score":true}]'),
        ("a.jsonl", '\ufeff{"prompt":"q","model":"a","score":"pass"}\n\n'),
        ("a.jsonl", '{"prompt":[{"role":"system","content":"s"},{"role":"user","content":"q"}],"model":"a","score":1}'),
        ("a.jsonl", '{"messages":[{"role":"user","content":[{"type":"text","text":"q"}]}],"model":"a","score":"8/8"}'),
    ],
)
def test_every_usual_form_gives_the_same_table(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    table = imported("plain", tmp_path / name, tmp_path / "t")
    assert table.prompts[0] == "q"
    assert table.experts == ("a",)
    assert table.scores[0, 0] == 1


@pytest.mark.parametrize(
    ("name", "told", "sentence"),
    [
        ("a.csv", b"prompt,model,score\nq,a,1,2\n", "a.csv, row 2: 4 cells"),
        ("a.csv", b"prompt,prompt,model,score\nq,q,a,1\n", "stands twice"),
        ("a.csv", b'prompt,model,score\n"q,a,1\n', "not CSV"),
        ("a.jsonl", b'{"prompt":"q"\n', "a.jsonl, line 1: not JSON"),
        ("a.jsonl", b"[" * 100_000, "nested too deeply"),
        ("a.jsonl", b'{"prompt":"q","model":"m","score":' + b"9" * 5000 + b"}", "row 1, column score: score inf"),
        ("a.json", b'["x"]', "a.json, row 1: not an object"),
        ("a.parquet", b"not parquet", "not a Parquet file"),
        ("a.parquet", b"", "not a Parquet file"),
        ("a.xlsx", b"PK", "neither .csv"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(tmp_path: Path, name: str, told: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(told)
    said = run("plain", tmp_path / name, tmp_path / "t")
    assert said.exit_code == 1
    assert sentence in " ".join(said.output.split())


def test_an_out_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,model,score\nq,a,1\n")
    said = run("plain", tmp_path / "a.csv", tmp_path / "a.csv" / "t")
    assert said.exit_code == 1
    assert "cannot be written" in said.output


def test_half_a_character_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt":"bad \\ud83d","model":"a","score":1}\n')
    assert imported("plain", tmp_path / "a.jsonl", tmp_path / "t").prompts == ("bad \ufffd",)


def test_columns_are_those_of_all_rows_and_no_model_is_named_none(tmp_path: Path) -> None:
    write_lines(
        tmp_path / "a.jsonl",
        {"prompt": "one", "model": "a", "score": 1},
        {"prompt": "two", "model": None, "score": 1},
        {"prompt": "two", "score": 1},
        {"prompt": "two", "model": "a", "score": 0, "cost_usd": 0.5},
    )
    said = run("plain", tmp_path / "a.jsonl", tmp_path / "t")
    assert "left out 2: row that names no model" in said.output
    table = load_table(tmp_path / "t")
    assert table.experts == ("a",)
    assert sorted(table.cost_usd[:, 0].tolist(), key=str) == [0.5, pytest.approx(np.nan, nan_ok=True)]


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("85%", 0.85),
        ("8/10", 0.8),
        ("pass", 1),
        ("Wrong", 0),
        ("0,5", 0.5),
        ("1", 1),
        (True, 1),
        ("maybe", None),
        ("", None),
    ],
)
def test_a_score_is_read_as_a_person_reads_it(told: Any, meant: float | None) -> None:
    assert grade(told) == meant


@pytest.mark.parametrize(
    ("told", "meant"), [("1,234.5", 1234.5), ("$3", 3), (10**400, float("inf")), ([2], 2), ("x", None)]
)
def test_a_figure_is_read_as_a_person_reads_it(told: Any, meant: float | None) -> None:
    assert number(told) == meant


def test_unreadable_scores_are_counted_with_an_example(tmp_path: Path) -> None:
    write_csv(
        tmp_path / "a.csv", ["prompt", "model", "score"], ["q1", "a", "1"], ["q2", "a", "good"], ["q3", "a", "ok"]
    )
    said = " ".join(run("plain", tmp_path / "a.csv", tmp_path / "t").output.split())
    assert "left out 2: `score` that is no number, such as 'good' (a.csv, row 2)" in said
    write_csv(tmp_path / "b.csv", ["prompt", "model", "score"], ["q", "a", "good"])
    assert "1 x `score` that is no number" in " ".join(run("plain", tmp_path / "b.csv", tmp_path / "u").output.split())


def test_costs_of_a_wide_table_are_no_models(tmp_path: Path) -> None:
    header = ["prompt", "gpt4", "small", "gpt4_cost", "cost_small", "latency", "tokens"]
    write_csv(tmp_path / "a.csv", header, ["q", "1", "0", "0.02", "0.01", "0.5", "1"])
    said = run("plain", tmp_path / "a.csv", tmp_path / "t")
    assert "columns taken for no model: latency, tokens" in said.output
    table = load_table(tmp_path / "t")
    assert table.experts == ("gpt4", "small")
    assert table.cost_usd.tolist() == [[0.02, 0.01]]


def samples(count: int, value: Any = 1) -> list[dict[str, Any]]:
    return [
        {
            "doc_id": i,
            "arguments": {"gen_args_0": {"arg_0": f"Question {i}"}},
            "metrics": ["acc"],
            "acc": value,
            "filter": "f",
        }
        for i in range(count)
    ]


def test_a_later_short_run_does_not_replace_the_full_one(tmp_path: Path) -> None:
    folder = tmp_path / "m__a"
    write_lines(folder / "samples_x_2026-01-16T00-00-00.1.jsonl", *samples(5, 1))
    write_lines(folder / "samples_x_2026-01-17T00-00-00.1.jsonl", *samples(1, 0))
    said = run("lm-eval", tmp_path, tmp_path / "t")
    assert "left out 1: sample of an older or shorter run" in said.output
    assert load_table(tmp_path / "t").scores.tolist() == [[1.0]] * 5
    write_lines(folder / "samples_x_2026-01-18T00-00-00.1.jsonl", *samples(5, 0))
    assert imported("lm-eval", tmp_path / "m__a", tmp_path / "u").scores.tolist() == [[0.0]] * 5, "the newer full run"


def test_a_metric_that_is_a_list_gives_way_to_one_figure(tmp_path: Path) -> None:
    line = {**samples(1)[0], "metrics": ["inst", "strict"], "inst": [True, False], "strict": 0.0}
    write_lines(tmp_path / "m" / "samples_x.jsonl", line)
    assert imported("lm-eval", tmp_path / "m", tmp_path / "t").scores.tolist() == [[0.0]]
    asked = imported("lm-eval", tmp_path / "m", tmp_path / "u", "--metric", "inst")
    assert asked.scores.tolist() == [[0.5]], "of truth values their share"


def test_a_filter_that_matches_nothing_names_those_there_are(tmp_path: Path) -> None:
    write_lines(tmp_path / "m" / "samples_x.jsonl", *samples(2))
    said = " ".join(run("lm-eval", tmp_path / "m", tmp_path / "t", "--filter", "ghost").output.split())
    assert "no sample has the filter ghost; there are f" in said


def log(status: str, created: str, *told: dict[str, Any]) -> dict[str, Any]:
    return {"status": status, "eval": {"task": "t", "model": "m/one", "created": created}, "samples": list(told)}


def test_inspect_takes_the_retry_the_own_tokens_and_the_options(tmp_path: Path) -> None:
    one = {"id": 1, "input": "Which?", "choices": ["red", "blue"], "scores": {"c": {"value": "C"}}}
    usage = {
        "grader/big": {"input_tokens": 9000, "output_tokens": 90},
        "m/one": {"input_tokens": 9, "output_tokens": 1},
    }
    write_json(tmp_path / "a.json", log("error", "2026-01-01", {**one, "scores": {"c": {"value": "I"}}}))
    write_json(tmp_path / "b.json", log("success", "2026-01-02", {**one, "model_usage": usage}))
    table = imported("inspect", tmp_path, tmp_path / "t")
    assert table.prompts == ("Which?\n\nA) red\nB) blue",)
    assert cell(table, "t/1", "m/one") == 1
    assert cell(table, "t/1", "m/one", "prompt_tokens") == 9


def test_alpaca_eval_with_two_references_wants_one_named(tmp_path: Path) -> None:
    rows = [
        {
            "instruction": "q",
            "generator_1": ref,
            "generator_2": "m",
            "preference": wins,
            "annotator": "j",
            "output_2": ref,
        }
        for ref, wins in (("old", 2), ("new", 1))
    ]
    write_json(tmp_path / "annotations.json", rows)
    said = " ".join(run("alpaca-eval", tmp_path, tmp_path / "t").output.split())
    assert "several references" in said
    assert "new, old" in said
    table = imported("alpaca-eval", tmp_path, tmp_path / "u", "--metric", "new")
    assert table.scores.tolist() == [[0.0]]
    assert answer(table, table.prompt_ids[0], "m") == "new"


def test_rows_of_parquet_may_be_nested(tmp_path: Path) -> None:
    frame = pl.DataFrame({"prompt": [[{"role": "user", "content": "q"}]], "model": ["a"], "score": [1.0]})
    frame.write_parquet(tmp_path / "a.parquet")
    assert json.loads(json.dumps(list(read_rows(tmp_path / "a.parquet"))))[0]["model"] == "a"
    assert imported("plain", tmp_path / "a.parquet", tmp_path / "t").prompts == ("q",)
