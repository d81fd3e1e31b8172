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
from pointsman.evals.collect.judge import read_rating
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


def ask(url: str, folder: Path, *rows: dict[str, str], scorer: str = "choice") -> Result:
    path = folder / "asked.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return collect(path, folder / "table", "--expert", f"a={url}", "--scorer", scorer)


def scores(folder: Path) -> dict[str, float]:
    table = load_table(folder / "table")
    return dict(zip(table.prompts, table.scores[:, 0].tolist(), strict=True))


def test_an_inserted_prompt_gets_an_answer_of_its_own(serve: Serve, tmp_path: Path) -> None:
    url = serve("--reply", "{prompt}")
    old, new = {"prompt": "I say B", "reference": "B"}, {"prompt": "I say C", "reference": "C"}
    assert ask(url, tmp_path, old).exit_code == 0
    assert ask(url, tmp_path, new, old).exit_code == 0
    assert calls(url) == 2, "what was asked is not asked again"
    assert scores(tmp_path) == {"I say B": 1, "I say C": 1}
    assert load_table(tmp_path / "table").answer_texts == ("I say B", "I say C")


def test_another_scorer_or_reference_scores_anew_without_asking_again(serve: Serve, tmp_path: Path) -> None:
    url = serve("--reply", "The answer is B. 7")
    ask(url, tmp_path, {"prompt": "q", "reference": "B"})
    ask(url, tmp_path, {"prompt": "q", "reference": "C"})
    assert scores(tmp_path) == {"q": 0}
    ask(url, tmp_path, {"prompt": "q", "reference": "7"}, scorer="number")
    assert scores(tmp_path) == {"q": 1}
    assert calls(url) == 1


def test_another_parameter_or_server_is_asked_again(serve: Serve, tmp_path: Path) -> None:
    first, second = serve("--reply", "A"), serve("--reply", "B")
    ask(first, tmp_path, {"prompt": "q", "reference": "B"})
    done = ask(second, tmp_path, {"prompt": "q", "reference": "B"})
    assert scores(tmp_path) == {"q": 1}
    assert "at another URL" in done.output


def test_equal_prompts_are_asked_one_by_one(serve: Serve, tmp_path: Path) -> None:
    url = serve("--reply", "B")
    twice = [{"prompt": "q", "reference": "B"}, {"prompt": "q", "reference": "C"}]
    ask(url, tmp_path, *twice)
    ask(url, tmp_path, *twice)
    assert calls(url) == 2
    assert sorted(load_table(tmp_path / "table").scores[:, 0]) == [0, 1]


def test_nobody_is_asked_for_what_cannot_be_scored(serve: Serve, tmp_path: Path) -> None:
    url = serve("--reply", "B")
    said = " ".join(ask(url, tmp_path, {"prompt": "q"}).output.split())
    assert "1 of 1 prompts have no `reference`" in said
    assert "cannot read" in " ".join(
        ask(url, tmp_path, {"prompt": "q", "reference": "x"}, scorer="number").output.split()
    )
    assert calls(url) == 0
    done = ask(url, tmp_path, {"prompt": "q"}, {"prompt": "r", "reference": "B"})
    assert "left out 1: prompt without a `reference`: not asked" in done.output
    assert calls(url) == 1


def test_an_answer_in_which_nothing_is_found_is_told(serve: Serve, tmp_path: Path) -> None:
    done = ask(serve("--reply", "who knows"), tmp_path, {"prompt": "q", "reference": "B"})
    assert "scored 0: no letter found in an answer of a" in done.output


def test_why_a_judge_left_a_cell_unscored_is_told(serve: Serve, tmp_path: Path) -> None:
    done = ask(serve("--reply", "B"), tmp_path, {"prompt": "q"}, scorer=serve("--reply", "fine"))
    assert "the judge gave no rating from 0 to 10, but 'fine'" in " ".join(done.output.split())


def test_a_judge_that_failed_is_asked_again_and_the_expert_is_not(serve: Serve, tmp_path: Path) -> None:
    url, judge = serve("--reply", "B"), serve("--reply", "7/10", "--fault", "error", "--fault-calls", "0")
    ask(url, tmp_path, {"prompt": "q"}, scorer=judge)
    ask(url, tmp_path, {"prompt": "q"}, scorer=judge)
    assert scores(tmp_path) == {"q": 0.7}
    assert calls(url) == 1


@pytest.mark.parametrize("line", ['{"prompt_id": "x"}', "[1]", '{"asked": 1}', "no json"])
def test_a_journal_of_another_make_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / JOURNAL).write_text(line + "\n")
    done = ask("http://127.0.0.1:9", tmp_path, {"prompt": "q", "reference": "B"})
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--expert", "a=http://h", "--expert", "a=http://i", "--scorer", "choice"], "two experts are named 'a'"),
        (["--expert", "a=http://h", "--scorer", "regex"], "'regex' is neither exact, choice, number nor a judge's URL"),
        (["--expert", "a=http://h:port", "--scorer", "choice"], "is no URL"),
        (["--expert", "a", "--scorer", "choice"], "'a' is not NAME=URL"),
    ],
)
def test_what_is_asked_for_wrongly_is_said(questions: Path, tmp_path: Path, options: list[str], sentence: str) -> None:
    said = " ".join(collect(questions, tmp_path / "table", *options).output.replace("│", "").split())
    assert sentence in said


@pytest.mark.parametrize(
    ("reply", "rating"),
    [
        ("7", 0.7),
        ("7/10", 0.7),
        ("Rating: 7 out of 10.", 0.7),
        ("**10**", 1),
        ("0", 0),
        ("11", None),
        ("3 or 4", None),
        ("-1", None),
    ],
)
def test_the_rating_of_a_judge(reply: str, rating: float | None) -> None:
    assert read_rating(reply) == rating
