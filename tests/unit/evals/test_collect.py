"""Collecting outcomes from real servers: scores, costs, what is asked again, and the same on a Ray cluster."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pointsman.evals.collect.cli import collect_table
from pointsman.evals.collect.journal import JOURNAL
from pointsman.evals.collect.scorers import read_choice, read_number, score
from pointsman.evals.parallel import Workers, each
from pointsman.evals.tables import load_table

Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start fake experts as processes of their own; gives their URLs."""
    running: list[subprocess.Popen[str]] = []

    def start(*options: str) -> str:
        command = [sys.executable, "-m", "pointsman.experts.backends.fake", *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        return process.stdout.readline().split()[-1]

    yield start
    for process in running:
        process.terminate()
        process.wait(10)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    rows = [
        {
            "prompt_id": f"q{i}",
            "prompt": f"Number {i}, of many: pick {'AB'[i % 2]}",
            "reference": "A",
            "category": "picks",
        }
        for i in range(100)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def calls(url: str) -> int:
    with urlopen(f"{url}/stats") as reply:
        return int(json.load(reply)["started"])


def collect(questions: Path, out: Path, *options: str) -> Result:
    return CliRunner().invoke(collect_table, ["--prompts", str(questions), "--out", str(out), *options])


def test_answers_are_scored_and_what_they_took_is_recorded(serve: Serve, questions: Path, tmp_path: Path) -> None:
    echo, sure = serve("--reply", "{prompt}"), serve("--reply", "The answer is A.")
    prices = tmp_path / "prices.csv"
    prices.write_text("model,input_usd_per_m,output_usd_per_m\nsure,1,10\n")
    experts = ["--expert", f"echo={echo}", "--expert", f"sure={sure}"]
    done = collect(questions, tmp_path / "table", *experts, "--scorer", "choice", "--prices", str(prices))
    assert done.exit_code == 0, done.output
    table = load_table(tmp_path / "table")
    assert table.experts == ("echo", "sure")
    assert table.scores.mean(axis=0).tolist() == [0.5, 1.0]
    assert table.answers is not None
    assert table.answer_texts[table.answers[0, 1]] == "The answer is A."
    assert np.isfinite(table.completion_tokens).all()
    expected = (table.prompt_tokens[:, 1] + 10 * table.completion_tokens[:, 1]) / 1e6
    np.testing.assert_allclose(table.cost_usd[:, 1], expected)
    assert np.isnan(table.cost_usd[:, 0]).all(), "no price, no cost"
    assert set(table.splits) == {"train", "test"}


def test_an_interrupted_collection_goes_on_where_it_was(serve: Serve, questions: Path, tmp_path: Path) -> None:
    failing = serve("--reply", "A", "--fault", "error", "--fault-calls", *map(str, range(30)))
    options = ["--expert", f"a={failing}", "--scorer", "exact"]
    first = collect(questions, tmp_path / "table", *options)
    assert first.exit_code == 0, first.output
    assert "to be asked again" in first.output
    assert len(load_table(tmp_path / "table")) == 70
    with (tmp_path / "table" / JOURNAL).open("a") as journal:
        journal.write('{"prompt_id": "q0", "mod')  # killed in the middle of a line
    second = collect(questions, tmp_path / "table", *options)
    assert second.exit_code == 0, second.output
    assert len(load_table(tmp_path / "table")) == 100
    assert calls(failing) == 130


def test_a_judge_rates_and_its_silence_is_no_zero(serve: Serve, questions: Path, tmp_path: Path) -> None:
    expert, judge, mute = serve("--reply", "B"), serve("--reply", "7"), serve("--reply", "no rating")
    rated = collect(questions, tmp_path / "rated", "--expert", f"a={expert}", "--scorer", judge)
    assert rated.exit_code == 0, rated.output
    assert set(load_table(tmp_path / "rated").scores.ravel()) == {0.7}
    silent = collect(questions, tmp_path / "silent", "--expert", f"a={expert}", "--scorer", mute)
    assert "no scored outcome" in silent.output


def test_a_table_of_another_collection_is_not_overwritten(serve: Serve, questions: Path, tmp_path: Path) -> None:
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "prompts.parquet").write_text("precious")
    url = serve()
    done = collect(questions, tmp_path / "table", "--expert", f"a={url}", "--scorer", "exact")
    assert "not collected here" in done.output
    assert calls(url) == 0
    assert (tmp_path / "table" / "prompts.parquet").read_text() == "precious"


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("(c) or rather (C)", "C"),
        ("A is wrong, so the answer is (D).", "D"),
        ("I don't know", None),
        ("", None),
    ],
)
def test_the_letter_of_an_answer(answer: str, letter: str | None) -> None:
    assert read_choice(answer) == letter


@pytest.mark.parametrize(("answer", "found"), [("3 + 4 = 7.0", "7"), ("$1,250.50", "1250.5"), ("none", None)])
def test_the_number_of_an_answer(answer: str, found: str | None) -> None:
    assert read_number(answer) == found


def test_an_unreadable_reference_scores_nothing() -> None:
    assert score("number", "7", "seven") is None
    assert score("number", "seven", "7") == 0.0
    assert score("exact", "Paris.", " paris") == 1.0


def test_processes_give_every_result_once() -> None:
    assert dict(each(abs, [-1, 2, -3], Workers(processes=2))) == {0: 1, 1: 2, 2: 3}
