"""The readers of answers, judged on tables of what models write (`answers/*.jsonl`: the text, what it says)."""

import json
from pathlib import Path
from time import process_time

import pytest

from pointsman.evals.collect.scorers import READERS, score

PHRASINGS = {name: Path(__file__).parent / "answers" / f"{name}.jsonl" for name in ("choice", "number")}


def phrasings(name: str) -> list[tuple[str, str | None]]:
    return [tuple(json.loads(line)) for line in PHRASINGS[name].read_text("utf-8").splitlines()]


@pytest.mark.parametrize("name", PHRASINGS)
def test_every_phrasing_is_read_as_a_person_reads_it(name: str) -> None:
    table = phrasings(name)
    assert len(table) > 150
    misread = [(text, said, READERS[name](text)) for text, said in table if READERS[name](text) != said]
    assert not misread


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "piece", ["A ", "the answer is ", "answer is\n", "\\boxed{", " ", " \n", "1/2/", "\\frac{", "9", "("]
)
def test_no_answer_takes_long_to_read(name: str, piece: str) -> None:
    before = process_time()
    READERS[name](piece * 50_000)
    assert process_time() - before < 10


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("text", ["\ud83d", "\x00", "9" * 5000, "1e" + "9" * 5000, "\\boxed{" * 50, "1/0", "٣", "²"])
def test_odd_text_is_read_without_a_fault(name: str, text: str) -> None:
    READERS[name](text)


def test_an_unreadable_reference_scores_nothing() -> None:
    assert score("number", "7", "seven") is None
    assert score("number", "seven", "7") == 0.0
    assert score("exact", "**Paris.**", " paris") == 1.0
    assert score("exact", "Paris", "Parish") == 0.0
