"""Traces as others write them: text times, other names of columns, and what is refused."""

from pathlib import Path

import pytest

from pointsman.evals.errors import EvalError
from pointsman.evals.simulate.scenarios import read_arrivals


@pytest.mark.parametrize(
    "text",
    [
        "timestamp,prompt_tokens\n2023-11-16 18:15:46.6805900,5\n2023-11-16 18:15:48.6805900,7\n",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16T18:15:46Z,5,1\n2023-11-16T18:15:48Z,7,1\n",
        "arrived_at,num_prefill_tokens\n12,7\n10,5\n",
    ],
)
def test_usual_forms_are_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    read = read_arrivals(tmp_path / "t.csv")
    assert read.at_s.tolist()[0] == 0
    assert read.at_s.tolist()[1] == pytest.approx(2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("timestamp,prompt_tokens\n,5\n", "row 1, column timestamp"),
        ("timestamp,prompt_tokens\n1,\n", "row 1, column prompt_tokens"),
        ("timestamp,prompt_tokens\nsoon,5\n", "'soon' is no time"),
        ("when,prompt_tokens\n1,5\n", "no column timestamp"),
        ("timestamp,prompt_tokens\n", "no arrivals"),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(EvalError, match=sentence):
        read_arrivals(tmp_path / "t.csv")
