"""Importers: hand-made files of exactly the published shapes, through the command, read back as a table."""

import csv
import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pointsman.evals.importers import table_writer
from pointsman.evals.importers.cli import FORMATS, import_table
from pointsman.evals.importers.records import OutcomeRecord
from pointsman.evals.importers.table_writer import write_table
from pointsman.evals.tables import OutcomeTable, load_table


def run(name: str, source: Path, out: Path, *options: str) -> Result:
    return CliRunner().invoke(import_table, [name, str(source), "--out", str(out), *options])


def imported(name: str, source: Path, out: Path, *options: str) -> OutcomeTable:
    result = run(name, source, out, *options)
    assert result.exit_code == 0, result.output
    return load_table(out)


def cell(table: OutcomeTable, prompt_id: str, model: str, of: str = "scores") -> float:
    return float(getattr(table, of)[table.prompt_ids.index(prompt_id), table.experts.index(model)])


def answer(table: OutcomeTable, prompt_id: str, model: str) -> str | None:
    assert table.answers is not None
    code = int(table.answers[table.prompt_ids.index(prompt_id), table.experts.index(model)])
    return None if code < 0 else table.answer_texts[code]


def write_csv(path: Path, header: Sequence[str], *rows: Sequence[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_lines(path: Path, *values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


def test_routellm(tmp_path: Path) -> None:
    source = tmp_path / "evals"
    weak, strong = "mixtral-8x7b-instruct-v0.1", "gpt-4-1106-preview"
    write_csv(
        source / "mmlu" / "responses" / "mmlu_anatomy.csv",
        ["prompt", weak, strong],
        ["Which bone?\nA. x\nB. y\nAnswer:", "True", "False"],
        ["Seen before?", "True", "True"],
    )
    write_lines(source / "mmlu" / "contaminated_prompts.jsonl", {"eval_prompt": "Seen before?"})
    write_csv(
        source / "gsm8k" / "gsm8k_responses.csv",
        ["prompt", weak, f"{weak}_response", strong, f"{strong}_response"],
        ["How many apples?", "False", "three", "True", "four"],
    )
    write_lines(
        source / "mt_bench" / "question.jsonl",
        {"question_id": 81, "category": "writing", "turns": ["Write.", "Again."]},
    )
    write_lines(
        source / "mt_bench" / "judgements.jsonl",
        {"question_id": 81, "model": strong, "score": 9, "turn": 1},
        {"question_id": 81, "model": strong, "score": 10, "turn": 2},
        {"question_id": 81, "model": weak, "score": -1, "turn": 1},
    )
    table = imported("routellm", source, tmp_path / "table")
    assert cell(table, "mmlu/anatomy/0", weak) == 1
    assert cell(table, "mmlu/anatomy/0", strong) == 0
    assert answer(table, "gsm8k/math/0", strong) == "four"
    assert cell(table, "mt_bench/81", strong) == pytest.approx(0.95)
    assert np.isnan(cell(table, "mt_bench/81", weak))
    assert "mmlu/anatomy/1" not in table.prompt_ids, "contaminated prompts are marked, and dropped when read"
    assert set(table.splits) == {"test"}


def test_routerbench(tmp_path: Path) -> None:
    header = ["sample_id", "prompt", "eval_name", "a/x", "b", "a/x|model_response", "b|model_response"]
    header += ["a/x|total_cost", "b|total_cost", "oracle_model_to_route_to"]
    row = ["mbpp.1", '["It\'s text"]', "mbpp", "0.25", "", "['said']", "", "0.002", "0.001", "a/x"]
    write_csv(tmp_path / "source" / "mbpp_test.csv", header, row)
    table = imported("routerbench", tmp_path / "source", tmp_path / "table")
    assert table.experts == ("a/x", "b")
    assert table.prompts == ("It's text",)
    assert cell(table, "mbpp.1", "a/x") == 0.25
    assert cell(table, "mbpp.1", "a/x", "cost_usd") == 0.002
    assert answer(table, "mbpp.1", "a/x") == "said"
    assert np.isnan(cell(table, "mbpp.1", "b")), "an empty score is not zero"
    assert table.splits == ("test",)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    trap = tmp_path / "routerbench_0shot.pkl"
    trap.write_bytes(b"\x80\x04}.")  # an empty dict, pickled
    for source in (trap, tmp_path):
        result = run("routerbench", source, tmp_path / "table")
        assert result.exit_code == 1
        assert "may run code" in result.output


def test_routerarena(tmp_path: Path) -> None:
    def call(model: str, accuracy: float | None, success: bool = True, extra: bool = False) -> dict[str, Any]:
        usage = {"input_tokens": 40, "output_tokens": 7, "total_tokens": 47}
        return {
            "global index": "ArcMMLU_12",
            "prompt": "Which?",
            "prediction": model,
            "generated_result": {"generated_answer": "B", "success": success, "token_usage": usage, "error": None},
            "accuracy": accuracy,
            "cost": 0.0004,
            "for_optimality": extra,
        }

    write_json(tmp_path / "mine.json", [call("a", 1.0), call("b", 0.0, extra=True), call("c", 1.0, success=False)])
    result = run("routerarena", tmp_path / "mine.json", tmp_path / "table")
    assert "left out 1: call failed" in result.output
    table = load_table(tmp_path / "table")
    assert table.experts == ("a", "b")
    assert table.datasets == ("ArcMMLU",)
    assert cell(table, "ArcMMLU_12", "a", "completion_tokens") == 7
    assert cell(table, "ArcMMLU_12", "b", "cost_usd") == 0.0004


def test_embedllm(tmp_path: Path) -> None:
    header = ["prompt_id", "model_id", "category_id", "label", "prompt", "model_name", "category"]
    write_csv(
        tmp_path / "source" / "train.csv",
        header,
        ["7", "0", "3", "0", "What?", "m/a", "mmlu"],
        ["7", "0", "3", "1", "What?", "m/a", "mmlu"],
    )
    write_csv(tmp_path / "source" / "test.csv", header, ["8", "1", "3", "0", "Why?", "m/b", "mmlu"])
    table = imported("embedllm", tmp_path / "source", tmp_path / "table")
    assert cell(table, "7", "m/a") == 1, "the best label of repeated rows, as its authors take it"
    assert np.isnan(cell(table, "8", "m/a"))
    assert dict(zip(table.prompt_ids, table.splits, strict=True)) == {"7": "train", "8": "test"}


def test_llmrouterbench(tmp_path: Path) -> None:
    def result(score: float | None, demo: bool = False) -> dict[str, Any]:
        record = {"index": 1, "origin_query": "Q?", "prompt": "Solve: Q?", "prompt_tokens": 9, "completion_tokens": 4}
        record |= {"cost": 0.01, "score": score, "prediction": "42", "ground_truth": "42", "raw_output": {}}
        about = {"model_name": "m", "dataset_name": "aime", "split": "test", "demo": demo, "counts": 1}
        return {**about, "records": [record]}

    folder = tmp_path / "bench" / "aime" / "test" / "m"
    write_json(folder / "aime-test-m-20250101_000000.json", result(0.0))
    write_json(folder / "aime-test-m-20250301_000000.json", result(1.0))
    write_json(folder / "aime-test-m-20250401_000000.json", result(0.5, demo=True))
    write_json(tmp_path / "bench" / "aime" / "test" / "n" / "result.json", {**result(None), "model_name": "n"})
    table = imported("llmrouterbench", tmp_path / "bench", tmp_path / "table")
    assert cell(table, "aime/test/1", "m") == 1, "the newest run that is no demo"
    assert np.isnan(cell(table, "aime/test/1", "n"))
    assert table.prompts == ("Q?",)
    assert cell(table, "aime/test/1", "m", "prompt_tokens") == 9


def test_lm_eval(tmp_path: Path) -> None:
    def line(at: int, value: float, **more: Any) -> dict[str, Any]:
        given = [[f"Question {at}", {"until": ["\n"]}]]
        common = {"doc_id": at, "doc": {"q": at}, "doc_hash": f"h{at}", "arguments": given, "metrics": ["exact_match"]}
        return {**common, "filtered_resps": [f"said {at}"], "exact_match": value, **more}

    a = tmp_path / "results" / "org__a"
    write_lines(a / "samples_gsm8k_2025-01-01T00-00-00.123456.jsonl", line(0, 0.0))
    write_lines(
        a / "samples_gsm8k_2025-02-01T00-00-00.123456.jsonl",
        line(0, 1.0, filter="strict-match"),
        line(0, 0.0, filter="flexible-extract"),
        line(1, 0.0, filter="strict-match"),
        line(1, 1.0, filter="flexible-extract"),
    )
    choices = {"arguments": {"gen_args_0": {"arg_0": "Question 0", "arg_1": " A"}}, "filtered_resps": [[-1.0, "False"]]}
    other = line(1, 1.0)
    b = tmp_path / "results" / "b"
    write_lines(b / "samples_gsm8k_2025-02-01T00-00-00.1.jsonl", line(0, 1.0, **choices), {**other, "doc_hash": "new"})
    table = imported("lm-eval", tmp_path / "results", tmp_path / "strict")
    assert table.experts == ("b", "org/a")
    assert [cell(table, f"gsm8k/{i}/h{i}", "org/a") for i in (0, 1)] == [1, 0]
    assert answer(table, "gsm8k/0/h0", "org/a") == "said 0"
    assert answer(table, "gsm8k/0/h0", "b") is None, "a rating of choices is no answer"
    assert np.isnan(cell(table, "gsm8k/1/h1", "b")), "another document under the same number"
    assert cell(table, "gsm8k/1/new", "b") == 1
    flexible = imported("lm-eval", tmp_path / "results", tmp_path / "flexible", "--filter", "flexible-extract")
    assert [cell(flexible, f"gsm8k/{i}/h{i}", "org/a") for i in (0, 1)] == [0, 1]
    wrong = run("lm-eval", tmp_path / "results", tmp_path / "wrong", "--metric", "bleu")
    assert "no metric bleu" in wrong.output


def sample(at: int, epoch: int, value: Any, **more: Any) -> dict[str, Any]:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": f"Q{at}"}]},
    ]
    message = {"role": "assistant", "content": "text"}
    found = {
        "id": at,
        "epoch": epoch,
        "input": turns,
        "target": "x",
        "scores": {"match": {"value": value, "answer": "x"}},
    }
    usage = {"m/one": {"input_tokens": 10 * epoch, "output_tokens": 2}}
    return {**found, "output": {"choices": [{"message": message}]}, "model_usage": usage, **more}


def test_inspect(tmp_path: Path) -> None:
    header = {"version": 2, "status": "success", "eval": {"task": "arith", "model": "m/one"}}
    samples = [sample(1, 1, "C"), sample(1, 2, "I"), sample(2, 1, "P"), sample(3, 1, 1.0, error={"message": "died"})]
    logs = tmp_path / "logs"
    logs.mkdir()
    with zipfile.ZipFile(logs / "one.eval", "w") as archive:
        archive.writestr("header.json", json.dumps(header))
        for one in samples:
            archive.writestr(f"samples/{one['id']}_epoch_{one['epoch']}.json", json.dumps(one))
    two = {**header, "eval": {"task": "arith", "model": "m/two"}, "samples": [sample(1, 1, True)]}
    write_json(logs / "two.json", two)
    table = imported("inspect", logs, tmp_path / "table")
    assert table.prompts[0] == "Q1"
    assert cell(table, "arith/1", "m/one") == 0.5, "epochs are averaged"
    assert cell(table, "arith/1", "m/one", "prompt_tokens") == 15
    assert cell(table, "arith/2", "m/one") == 0.5
    assert cell(table, "arith/1", "m/two") == 1
    assert "arith/3" not in table.prompt_ids
    write_json(logs / "three.json", {**two, "samples": [sample(1, 1, {"a": 1})]})
    assert "which is no number" in run("inspect", logs, tmp_path / "wrong").output


def test_alpaca_eval(tmp_path: Path) -> None:
    def row(model: str, preference: float | None) -> dict[str, Any]:
        first = {"instruction": "Name the states.", "dataset": "helpful_base", "output_1": "r", "generator_1": "ref"}
        return {**first, "output_2": f"by {model}", "generator_2": model, "preference": preference, "annotator": "j"}

    for model, preference in {"a": 1.25, "b": 0.0, "c": None}.items():
        write_json(tmp_path / "results" / model / "judge" / "annotations.json", [row(model, preference)])
    table = imported("alpaca-eval", tmp_path / "results", tmp_path / "table")
    assert table.scores[0, :2].tolist() == [0.25, 0.5]
    assert np.isnan(table.scores[0, 2])
    assert table.categories == ("helpful_base",)
    assert answer(table, table.prompt_ids[0], "a") == "by a"


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_plain_long_and_wide_are_the_same_table(tmp_path: Path, ending: str) -> None:
    import polars as pl

    questions = [f"question number {i} about {word}" for i, word in enumerate(["one", "two", "three"])]
    wide = pl.DataFrame({"question": questions, "topic": ["x", "y", "x"], "a": [1, 0, 1], "b": [0.5, None, 0.25]})
    long = wide.unpivot(["a", "b"], index=["question", "topic"], variable_name="model", value_name="score")
    writers = {"csv": "write_csv", "jsonl": "write_ndjson", "parquet": "write_parquet"}
    for name, frame in {"wide": wide, "long": long}.items():
        getattr(frame, writers[ending])(tmp_path / f"{name}.{ending}")
    mapping = ["--column", "prompt=question", "--category-column", "topic"]
    one = imported("plain", tmp_path / f"wide.{ending}", tmp_path / "one", *mapping)
    two = imported("plain", tmp_path / f"long.{ending}", tmp_path / "two", *mapping)
    assert one.experts == two.experts == ("a", "b")
    np.testing.assert_array_equal(one.scores, two.scores)
    assert one.splits == two.splits
    assert one.categories == ("x", "y", "x")
    assert np.isnan(one.scores[1, 1])


@pytest.mark.parametrize(
    ("header", "row", "options", "sentence"),
    [
        (["text", "model", "score"], ["q", "a", "1"], [], "no column prompt"),
        (["prompt", "model", "score"], ["q", "a", "7"], [], "score 7 of a"),
        (["prompt", "model", "score"], ["q", "a", ""], [], "no scored outcome"),
        (["prompt", "x"], ["q", "word"], [], "nor columns of scores"),
        (["prompt", "a"], ["q", "1"], ["--column", "models=a,ghost"], "no column ghost"),
        (["prompt", "a"], ["q", "1"], ["--column", "promt=prompt"], "no column promt"),
        (["prompt", "a"], ["q", "1"], ["--column", "prompt"], "not OURS=THEIRS"),
    ],
)
def test_what_a_plain_table_lacks_is_said(
    tmp_path: Path, header: list[str], row: list[str], options: list[str], sentence: str
) -> None:
    write_csv(tmp_path / "plain.csv", header, row)
    result = run("plain", tmp_path / "plain.csv", tmp_path / "table", *options)
    assert result.exit_code != 0
    assert sentence in " ".join(result.output.split())


def test_every_format_is_in_the_help() -> None:
    told = CliRunner().invoke(import_table, ["--help"]).output
    assert all(f"  {name} " in told for name in FORMATS)


def records(count: int, **changes: Any) -> list[OutcomeRecord]:
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu"]
    draw = np.random.default_rng(0)
    return [OutcomeRecord(f"p{i}", " ".join(draw.choice(words, 12)), "a", 1.0, **changes) for i in range(count)]


def test_near_duplicates_stand_on_one_side(tmp_path: Path) -> None:
    told = records(200)
    twins = [OutcomeRecord(f"t{one.prompt_id}", one.prompt + "!", "a", 0.0) for one in told]
    done = write_table([*told, *twins], tmp_path / "table", Counter(), test_share=0.4)
    table = load_table(tmp_path / "table")
    side = dict(zip(table.prompt_ids, table.splits, strict=True))
    assert all(side[f"p{i}"] == side[f"tp{i}"] for i in range(200))
    assert 0.25 < done.splits["test"] / 400 < 0.55
    assert done.split_made
    assert not done.straddling


def test_near_duplicates_across_a_source_split_are_reported(tmp_path: Path) -> None:
    told = records(5, split="train")
    twin = OutcomeRecord("twin", told[0].prompt + "!", "a", 0.0, split="test")
    assert write_table([*told, twin], tmp_path / "table", Counter()).straddling == 1


def test_repeated_cells_and_changed_texts_are_left_out(tmp_path: Path) -> None:
    dropped: Counter[str] = Counter()
    told = [
        OutcomeRecord("p", "text", "a", 1.0),
        OutcomeRecord("p", "text", "a", 0.0),
        OutcomeRecord("p", "other", "b", 1.0),
    ]
    done = write_table(told, tmp_path / "table", dropped)
    assert done.outcomes == 1
    assert sum(dropped.values()) == 2
    assert load_table(tmp_path / "table").scores.tolist() == [[1.0]]


def test_a_large_import_is_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_writer, "_PART_ROWS", 64)
    write_table(records(200), tmp_path / "table", Counter())
    assert len(list((tmp_path / "table" / "outcomes").iterdir())) == 4
    assert load_table(tmp_path / "table").scores.shape == (200, 1)


@pytest.mark.shared
def test_routellm_round_trip(shared_data: Path, tmp_path: Path) -> None:
    ours = load_table(shared_data / "routellm")
    ours = ours.rows(np.array([name == "mmlu" for name in ours.datasets]))
    by_subject: dict[str, list[list[Any]]] = {}
    for i, subject in enumerate(ours.categories):
        by_subject.setdefault(subject, []).append([ours.prompts[i], *(str(bool(x)) for x in ours.scores[i])])
    for subject, rows in by_subject.items():
        write_csv(tmp_path / "responses" / f"mmlu_{subject}.csv", ["prompt", *ours.experts], *rows)
    again = imported("routellm", tmp_path / "responses", tmp_path / "table")
    assert Counter(again.categories) == Counter(ours.categories)
    assert again.experts == ours.experts
    np.testing.assert_array_equal(np.sort(again.scores.sum(axis=1)), np.sort(ours.scores.sum(axis=1)))
    by_text = dict(zip(again.prompts, again.scores.tolist(), strict=True))
    once = [i for i, count in enumerate(map(Counter(ours.prompts).get, ours.prompts)) if count == 1]
    assert all(by_text[ours.prompts[i]] == ours.scores[i].tolist() for i in once)


@pytest.mark.shared
def test_routerbench_round_trip(shared_data: Path, tmp_path: Path) -> None:
    ours = load_table(shared_data / "routerbench_part")
    header = ["sample_id", "prompt", "eval_name", *ours.experts, *(f"{name}|total_cost" for name in ours.experts)]
    for split in ("train", "test"):
        rows = [
            [ours.prompt_ids[i], repr([ours.prompts[i]]), ours.datasets[i]]
            + ["" if np.isnan(x) else repr(float(x)) for x in (*ours.scores[i], *ours.cost_usd[i])]
            for i in range(len(ours))
            if ours.splits[i] == split
        ]
        write_csv(tmp_path / "source" / f"all_{split}.csv", header, *rows)
    again = imported("routerbench", tmp_path / "source", tmp_path / "table")
    order = [again.prompt_ids.index(name) for name in ours.prompt_ids]
    assert again.experts == ours.experts
    np.testing.assert_array_equal(again.scores[order], ours.scores)
    np.testing.assert_array_equal(again.cost_usd[order], ours.cost_usd)
    assert tuple(again.splits[i] for i in order) == ours.splits
    assert tuple(again.prompts[i] for i in order) == ours.prompts
