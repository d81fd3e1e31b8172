"""The result that an answer states, so that two answers can be compared: `(C)` and "the answer is C." are equal.

Only a stated result is read. Text without one has no key, and is compared by meaning.
"""

from __future__ import annotations

import re
from typing import Final

#: A short last line is the result; a longer one is prose.
_MOST_WORDS: Final = 6

_BOXED: Final = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
#: Written so that no blank can be read in two ways: answers of nothing but blanks would take their time.
_STATED: Final = re.compile(
    r"(?:^|\n)[^\S\n]*####(?=\n*[^\n])\s*(\S.*)?|\banswer\s*(?:is|:|=)(?=\n*[^\n])\s*(?::\s*)?(\S.*)?", re.IGNORECASE
)
_CHOICE: Final = re.compile(r"^\(?([a-z])\)?(?=$|[\s.:),])", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")
_BRACKETED: Final = re.compile(r"\(([a-z])\)", re.IGNORECASE)
_WRAPPING: Final = " \t\r\n.,;:!?\"'`*_$()[]<>"


def answer_key(text: str) -> str | None:
    """The result an answer states, in a form in which equal results are equal; None where it states none."""
    boxed = _BOXED.findall(text)
    if boxed:
        return _normal(boxed[-1])
    stated = [given or told for given, told in _STATED.findall(text)]
    if stated:
        return _normal(_sentence(stated[-1]))
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and len(lines[-1].split()) <= _MOST_WORDS:
        return _normal(lines[-1])
    return None


def _sentence(text: str) -> str:
    """Up to the end of the sentence; the point of a decimal fraction does not end it."""
    return re.split(r"(?<=[^\d\s])\.\s|(?<=\d)\.(?:\s|$)|\n", text.strip(), maxsplit=1)[0]


def _normal(text: str) -> str | None:
    bracketed = _BRACKETED.findall(text)
    if len(bracketed) == 1:
        return str(bracketed[0]).casefold()
    plain = text.strip(_WRAPPING).casefold()
    choice = _CHOICE.match(plain)
    if choice is not None and (len(plain) == 1 or not plain[1].isspace()):
        return choice.group(1)
    number = _NUMBER.fullmatch(plain.strip("€£% "))
    if number is not None:
        return f"{float(number.group().replace(',', '')):.12g}"
    words = " ".join(plain.split())
    return words if words and len(words.split()) <= _MOST_WORDS else None
