"""What every importer yields: one prompt's fate with one model, and what it had to leave out."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pointsman.evals.errors import TableError


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


@dataclass(frozen=True, slots=True)
class ImportSource:
    """What is imported, with the choices that a format may need.

    Attributes:
        path: File or folder.
        columns: Our name of a column -> the source's, for plain tables.
        metric: Which of several scores to take; None for the first.
        filter: lm-evaluation-harness: which answer filter's scores to take; None for the first.
        dropped: Reason -> how many rows were left out for it; importers add to it.
    """

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    metric: str | None = None
    filter: str | None = None
    dropped: Counter[str] = field(default_factory=Counter)

    def files(self, *patterns: str) -> list[Path]:
        """The path itself if it is a file, else every file below it that matches, in the order of their names.

        Raises:
            TableError: There is none, or the path is a pickle.
        """
        if self.path.is_file():
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


def read_csv(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a CSV file with a header.

    Raises:
        TableError: A row has more cells than the header.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            if None in row:
                raise TableError(f"{path}: a row has more cells than the header: {str(row)[:200]}")
            yield row


def read_json(path: Path) -> Any:
    """A JSON document.

    Raises:
        TableError: It is not one.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: not JSON ({error})") from error


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of a JSON Lines file, one at a time.

    Raises:
        TableError: A line is not a JSON object.
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise TableError(f"{path}, line {number}: not JSON ({error})") from error
            if not isinstance(value, dict):
                raise TableError(f"{path}, line {number}: not an object")
            yield value


def number(value: Any) -> float | None:
    """A figure, a truth value or their text as a number; None for nothing, NaN, or what is not a number."""
    if isinstance(value, str):
        value = {"true": 1.0, "false": 0.0}.get(value.strip().lower(), value)
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if found == found else None


def required(row: Mapping[str, Any], names: tuple[str, ...], path: Path) -> None:
    """Check that a row has the format's columns.

    Raises:
        TableError: One is missing.
    """
    if missing := [name for name in names if name not in row]:
        raise TableError(f"{path}: {', '.join(missing)} is missing; there are {', '.join(map(str, row))}")
