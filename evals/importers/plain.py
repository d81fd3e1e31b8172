"""Any CSV, JSON Lines or Parquet table, long (a row per prompt and model) or wide (a column per model).

Columns are found by our own names unless `--column OURS=THEIRS` says otherwise. Without a column `model` the table is
wide: the models are those named by `--column models=A,B,C`, else every other column that holds only numbers or truth
values. Without `prompt_id` the text itself identifies the prompt.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pointsman.evals.errors import TableError
from pointsman.evals.importers.records import ImportSource, OutcomeRecord, number, read_csv, read_jsonl

#: Our names of columns; `models` names the columns of a wide table.
COLUMNS = (
    "prompt_id",
    "prompt",
    "model",
    "score",
    "dataset",
    "category",
    "split",
    "cost_usd",
    "prompt_tokens",
    "completion_tokens",
    "answer",
    "contaminated",
    "models",
)
#: Rows by which a column of a wide table is judged to hold scores.
_SAMPLE = 200


def read(source: ImportSource) -> Iterator[OutcomeRecord]:
    """Yield the outcomes of every table found.

    Raises:
        TableError: A column that is needed or named is missing.
    """
    if unknown := sorted(set(source.columns) - set(COLUMNS)):
        raise TableError(f"no column {', '.join(unknown)} in the uniform table; it has {', '.join(COLUMNS)}")
    for path in source.files("*.csv", "*.jsonl", "*.parquet"):
        rows = iter(read_rows(path))
        first = list(itertools.islice(rows, _SAMPLE))
        if not first:
            continue
        names = _names(first[0], source, path)
        models = None if "model" in names else _model_columns(first, names, source, path)
        for row in itertools.chain(first, rows):
            yield from _long(row, names) if models is None else _wide(row, names, models)


def read_rows(path: Path) -> Iterable[Mapping[str, Any]]:
    """Rows of a CSV, JSON Lines or Parquet file, one at a time.

    Raises:
        TableError: It is none of these.
    """
    if path.suffix == ".jsonl":
        return read_jsonl(path)
    if path.suffix == ".csv":
        return read_csv(path)
    if path.suffix == ".parquet":
        import polars as pl

        batches = pl.scan_parquet(path).collect_batches(chunk_size=65_536)
        return (row for batch in batches for row in batch.iter_rows(named=True))
    raise TableError(f"{path}: neither .csv, .jsonl nor .parquet")


def _names(row: Mapping[str, Any], source: ImportSource, path: Path) -> dict[str, str]:
    names = {name: source.columns.get(name, name) for name in COLUMNS if name != "models"}
    if missing := [theirs for ours, theirs in names.items() if ours in source.columns and theirs not in row]:
        raise TableError(f"{path}: no column {', '.join(missing)}; the file has {', '.join(row)}")
    found = {ours: theirs for ours, theirs in names.items() if theirs in row}
    needed = ("prompt", "score") if "model" in found else ("prompt",)
    if missing := [name for name in needed if name not in found]:
        raise TableError(
            f"{path}: no column {', '.join(missing)}; the file has {', '.join(row)}. Map yours with --column prompt=..."
        )
    return found


def _model_columns(
    first: list[Mapping[str, Any]], names: Mapping[str, str], source: ImportSource, path: Path
) -> tuple[str, ...]:
    if given := source.columns.get("models"):
        models = tuple(name.strip() for name in given.split(","))
        if missing := [name for name in models if name not in first[0]]:
            raise TableError(f"{path}: no column {', '.join(missing)}; the file has {', '.join(first[0])}")
        return models
    rest = [name for name in first[0] if name not in names.values()]

    def holds_scores(name: str) -> bool:
        values = [value for row in first if (value := row.get(name)) not in (None, "")]
        return bool(values) and all((found := number(value)) is not None and 0 <= found <= 1 for value in values)

    models = tuple(name for name in rest if holds_scores(name))
    if not models:
        raise TableError(f"{path}: neither a column `model` nor columns of scores in [0, 1] among {', '.join(rest)}")
    return models


def _long(row: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[OutcomeRecord]:
    yield _record(row, names, str(row[names["model"]]), row.get(names["score"]))


def _wide(row: Mapping[str, Any], names: Mapping[str, str], models: tuple[str, ...]) -> Iterator[OutcomeRecord]:
    for model in models:
        yield _record(row, names, model, row.get(model))


def _record(row: Mapping[str, Any], names: Mapping[str, str], model: str, score: Any) -> OutcomeRecord:
    def text(name: str) -> str | None:
        value = row.get(names[name]) if name in names else None
        return None if value in (None, "") else str(value)

    def figure(name: str) -> float | None:
        return number(row.get(names[name])) if name in names else None

    prompt = text("prompt") or ""
    return OutcomeRecord(
        prompt_id=text("prompt_id") or hashlib.sha1(prompt.encode(), usedforsecurity=False).hexdigest(),
        prompt=prompt,
        model=model,
        score=number(score),
        dataset=text("dataset"),
        category=text("category"),
        split=text("split"),
        cost_usd=figure("cost_usd"),
        prompt_tokens=figure("prompt_tokens"),
        completion_tokens=figure("completion_tokens"),
        answer=text("answer"),
        contaminated=bool(figure("contaminated")),
    )
