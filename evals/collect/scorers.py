"""Is an answer right? Plain rules for plain answers; what is to be judged goes to a judge (`calls.py`)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

_CHOICE = re.compile(r"(?<![A-Za-z])\(?([A-Z])\)?(?![A-Za-z'])")
_STATED = re.compile(r"answer\s*(?:is|:)?\s*\(?([A-Z])\)?(?![A-Za-z'])", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def read_text(answer: str) -> str | None:
    """The answer without case, accents of form, doubled spaces and a closing full stop."""
    text = " ".join(unicodedata.normalize("NFKC", answer).casefold().split()).rstrip(".")
    return text or None


def read_choice(answer: str) -> str | None:
    """The letter of a multiple-choice answer: the last one stated as the answer, else the last one standing alone."""
    found = _STATED.findall(answer) or _CHOICE.findall(answer)
    return found[-1].upper() if found else None


def read_number(answer: str) -> str | None:
    """The last number, without thousands separators and needless zeros."""
    found = _NUMBER.findall(answer)
    if not found:
        return None
    value = float(found[-1].replace(",", ""))
    return f"{value:.12g}"


#: Rule -> what it reads out of an answer; two answers agree when it reads the same out of both.
READERS: dict[str, Callable[[str], str | None]] = {"exact": read_text, "choice": read_choice, "number": read_number}


def score(rule: str, answer: str, reference: str) -> float | None:
    """1 where the rule reads the same out of answer and reference, else 0; None when the reference cannot be read."""
    expected = READERS[rule](reference)
    return None if expected is None else float(READERS[rule](answer) == expected)
