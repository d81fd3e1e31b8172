"""Is an answer right? Plain rules for plain answers; what is to be judged goes to a judge (`judge.py`)."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from pointsman.evals.collect.choice_answer import read_choice
from pointsman.evals.collect.number_answer import read_number

_DRESS = " \t\n\"'“”‘’`*_"


def read_text(answer: str) -> str | None:
    """The answer without case, accents of form, doubled spaces, quotes or bold around it, and a closing full stop."""
    text = " ".join(unicodedata.normalize("NFKC", answer).casefold().split()).strip(_DRESS).rstrip(".").strip(_DRESS)
    return text or None


#: Rule -> what it reads out of an answer; two answers agree when it reads the same out of both.
READERS: dict[str, Callable[[str], str | None]] = {"exact": read_text, "choice": read_choice, "number": read_number}


def score(rule: str, answer: str, reference: str) -> float | None:
    """1 where the rule reads the same out of answer and reference, else 0; None when the reference cannot be read."""
    expected = READERS[rule](reference)
    return None if expected is None else float(READERS[rule](answer) == expected)
