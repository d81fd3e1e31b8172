"""What every importer yields: one prompt's fate with one model, and what it had to leave out."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pointsman.evals.errors import TableError

#: Begins what an import only tells of; everything else in `ImportSource.dropped` was left out.
NOTE: Final = "note: "


@dataclass(frozen=True, slots=True)
class OutcomeRecord:
    """One outcome as the source tells it. What the source does not say is None, never 0.

    Attributes:
        prompt_id: Unique for the prompt in the source.
        prompt: The text.
        model: Who answered.
        score: In [0, 1]; None where nobody scored.
        dataset, category, split: Labels; None where the source has none.
        cost_usd: US dollars of the call.
        prompt_tokens, completion_tokens: As counted where the model ran.
        latency_ms: Of the whole call, as the caller saw it.
        answer: What the model said, or what a parser read out of it.
        contaminated: The source's authors say the prompt leaked into somebody's training data.
        where: File and row it is from, for messages.
    """

    prompt_id: str
    prompt: str
    model: str
    score: float | None
    dataset: str | None = None
    category: str | None = None
    split: str | None = None
    cost_usd: float | None = None
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    latency_ms: float | None = None
    answer: str | None = None
    contaminated: bool = False
    where: str = ""


@dataclass(frozen=True, slots=True)
class ImportSource:
    """What is imported, with the choices that a format may need.

    Attributes:
        path: File or folder.
        columns: Our name of a column -> the source's, for plain tables.
        metric: Which of several scores to take; None for the first.
        filter: lm-evaluation-harness: which answer filter's scores to take; None for the first.
        dropped: Reason -> how many rows were left out for it; importers add to it.
        examples: Column -> the reason that tells of its first value that could not be read.
    """

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    metric: str | None = None
    filter: str | None = None
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def figure(self, column: str, value: Any, where: str = "") -> float | None:
        """The value as a number; one that is none is counted, with the first as an example."""
        return self._read(number(value), column, value, where)

    def score(self, column: str, value: Any, where: str = "") -> float | None:
        """The value as a score (`grade`); one that is none is counted, with the first as an example."""
        found = grade(value)
        if found is not None and isinstance(value, str) and number(value) is None:
            told = f"{NOTE}`{column}` holds words or shares, read as numbers, such as {value[:40]!r} as {found:g}"
            self.dropped[self.examples.setdefault(f"{column} in words", told)] += 1
        return self._read(found, column, value, where)

    def _read(self, found: float | None, column: str, value: Any, where: str) -> float | None:
        if found is None and not is_nothing(value):
            told = f"`{column}` that is no number, such as {str(value)[:40]!r}{f' ({where})' if where else ''}"
            self.dropped[self.examples.setdefault(column, told)] += 1
        return found

    def files(self, *patterns: str) -> list[Path]:
        """The path itself if it is a file, else every file below it that matches, in the order of their names.

        Raises:
            TableError: There is none, or the path is a pickle.
        """
        if not self.path.is_dir():
            refuse_pickle(self.path)
            return [self.path]
        found = sorted({path for pattern in patterns for path in self.path.rglob(pattern) if path.is_file()})
        if not found:
            for path in self.path.rglob("*.pkl"):
                refuse_pickle(path)
            raise TableError(f"{self.path}: no file named {' or '.join(patterns)} here or below")
        return found


def refuse_pickle(path: Path) -> None:
    """A pickle runs whatever code its author put into it; it is never opened.

    Raises:
        TableError: The file is one by its name.
    """
    if path.suffix in {".pkl", ".pickle"}:
        raise TableError(
            f"{path}: a pickle may run code when it is opened, and is not read. Where you trust it, export it once: "
            "pandas.read_pickle(...).to_parquet(...)"
        )


_NOTHING: Final = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "--", "?"})
_WORDS: Final = {
    **dict.fromkeys(("true", "yes", "pass", "passed", "correct", "right", "success", "✓", "✔", "✅"), 1.0),
    **dict.fromkeys(("false", "no", "fail", "failed", "incorrect", "wrong", "failure", "✗", "✘", "❌"), 0.0),
}
_SHARE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:%|/\s*(\d+(?:\.\d+)?))")
_THOUSANDS: Final = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")


def number(value: Any) -> float | None:
    """A figure, a truth value or their text as a number; None for nothing, NaN, or what is not a number."""
    if isinstance(value, str):
        text = value.strip().lstrip("$€£").replace("\u2212", "-")
        if _THOUSANDS.fullmatch(text):
            text = text.replace(",", "")
        elif re.fullmatch(r"-?\d+,\d+", text):
            text = text.replace(",", ".")
        value = {"true": 1.0, "false": 0.0}.get(text.lower(), text)
    elif isinstance(value, list | tuple) and len(value) == 1:
        return number(value[0])
    try:
        found = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError):
        return None
    return found if found == found else None


def grade(value: Any) -> float | None:
    """A score as people write it: a number, a truth value, "85%", "8/10", "pass", "wrong"; None for anything else."""
    if isinstance(value, str):
        text = value.strip().lower()
        if text in _WORDS:
            return _WORDS[text]
        if share := _SHARE.fullmatch(text):
            whole = float(share[2] or 100)
            return float(share[1]) / whole if whole else None
    return number(value)


def is_nothing(value: Any) -> bool:
    """Whether a cell is empty, or says in a word that there is nothing."""
    if isinstance(value, str):
        return value.strip().lower() in _NOTHING
    return value is None or value != value or (isinstance(value, list | tuple | dict) and not value)


def text_of(value: Any) -> str | None:
    """A value as text: None for nothing, JSON for what has parts."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | tuple) and len(value) == 1:
        return text_of(value[0])
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def part(value: Any) -> Mapping[str, Any]:
    """An object within a record; an empty one where there is none, or something else."""
    return value if isinstance(value, Mapping) else {}


def required(row: Any, names: tuple[str, ...], path: Path) -> None:
    """Check that a row has the format's columns.

    Raises:
        TableError: One is missing.
    """
    if not isinstance(row, Mapping):
        raise TableError(f"{path}: not an object but {str(row)[:60]!r}")
    if missing := [name for name in names if name not in row]:
        raise TableError(
            f"{path}: {', '.join(missing)} is missing; there are {', '.join(map(str, row))[:300] or 'no columns'}"
        )
