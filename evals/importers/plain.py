"""Any CSV, TSV, JSON, JSON Lines or Parquet table, long (a row per prompt and model) or wide (a column per model).

Columns are found by our own names unless `--column OURS=THEIRS` says otherwise; those of JSON are what any row has.
Without a column `model` the table is wide: the models are those named by `--column models=A,B,C`, else every other
column of scores whose name tells of no cost, tokens, time or reference. `gpt4_cost` beside `gpt4` is its cost. Without
`prompt_id` the text itself identifies the prompt. A prompt may be a chat: its last turn of the user counts.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pointsman.evals.errors import TableError
from pointsman.evals.importers.prompts import prompt_text
from pointsman.evals.importers.reading import read_rows
from pointsman.evals.importers.records import NOTE, ImportSource, OutcomeRecord, grade, is_nothing, text_of

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
#: A column of a wide table is a model's where so many of its cells are scores; the others are counted.
_LEAST_SHARE = 0.9


#: What a column is a figure of, and not a model; as a part of a name ("gpt4_cost") it is that model's.
_FIGURES = {
    "cost": "cost_usd",
    "cost_usd": "cost_usd",
    "total_cost": "cost_usd",
    "usd": "cost_usd",
    "price": "cost_usd",
    "prompt_tokens": "prompt_tokens",
    "input_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "output_tokens": "completion_tokens",
    "response": "answer",
    "answer": "answer",
    "model_response": "answer",
}
_NO_MODEL = frozenset(
    {*_FIGURES, "tokens", "latency", "latency_s", "latency_ms", "time", "time_s", "duration", "seconds", "id", "index"}
    | {
        "idx",
        "row",
        "fold",
        "seed",
        "weight",
        "difficulty",
        "length",
        "reference",
        "target",
        "label",
        "gold",
        "confidence",
    }
)
_PARTS = re.compile(r"[|_\-. /:]+")


def read(source: ImportSource) -> Iterator[OutcomeRecord]:
    """Yield the outcomes of every table found.

    Raises:
        TableError: A column that is needed or named is missing.
    """
    if unknown := sorted(set(source.columns) - set(COLUMNS)):
        raise TableError(f"no column {', '.join(unknown)} in the uniform table; it has {', '.join(COLUMNS)}")
    patterns = ("*.csv", "*.tsv", "*.jsonl", "*.ndjson", "*.json", "*.parquet")
    for path in source.files(*patterns):
        columns = _columns(path)
        if not columns:
            continue
        names = _names(columns, source, path)
        if "model" in names and "models" not in source.columns:
            for at, row in enumerate(read_rows(path), 1):
                where = f"{path.name}, row {at}"
                model = text_of(row.get(names["model"]))
                if model is None or is_nothing(model):
                    source.dropped["row that names no model"] += 1
                    continue
                yield _record(row, names, model, names["score"], source, where)
            continue
        models = _model_columns(path, columns, names, source)
        for at, row in enumerate(read_rows(path), 1):
            for model, own in models.items():
                yield _record(row, {**names, **own}, model, model, source, f"{path.name}, row {at}")


def _columns(path: Path) -> list[str]:
    """Names of the columns: of all rows, where each has its own."""
    if path.suffix.lower() in {".jsonl", ".ndjson", ".json"}:
        return list(dict.fromkeys(name for row in read_rows(path) for name in row))
    return list(next(iter(read_rows(path)), {}))


def _names(columns: list[str], source: ImportSource, path: Path) -> dict[str, str]:
    """Ours -> theirs; by the same name, in any case."""
    by_case = {name.strip().lower(): name for name in reversed(columns)}
    found = {}
    for ours in COLUMNS:
        if ours == "models":
            continue
        theirs = source.columns.get(ours, ours)
        if theirs in columns:
            found[ours] = theirs
        elif ours in source.columns:
            raise TableError(f"{path}: no column {theirs}; the file has {', '.join(columns)}")
        elif theirs in by_case:
            found[ours] = by_case[theirs]
    if "prompt" not in found and "messages" in columns:
        found["prompt"] = "messages"
    needed = ("prompt", "score") if "model" in found and "models" not in source.columns else ("prompt",)
    if missing := [name for name in needed if name not in found]:
        raise TableError(
            f"{path}: no column {', '.join(missing)}; the file has {', '.join(columns)}. "
            "Map yours with --column prompt=..."
        )
    return found


def _model_columns(
    path: Path, columns: list[str], names: Mapping[str, str], source: ImportSource
) -> dict[str, dict[str, str]]:
    """Model -> its own figures, ours -> theirs."""
    if given := source.columns.get("models"):
        models = [name.strip() for name in given.split(",")]
        if missing := [name for name in models if name not in columns]:
            raise TableError(f"{path}: no column {', '.join(missing)}; the file has {', '.join(columns)}")
        return {name: _own_figures(name, columns) for name in models}
    rest = [name for name in columns if name not in names.values()]
    values, scores = Counter[str](), Counter[str]()
    outside: set[str] = set()
    for row in read_rows(path):
        for name in rest:
            if is_nothing(value := row.get(name)):
                continue
            values[name] += 1
            if (found := grade(value)) is not None:
                scores[name] += 1
                if not 0 <= found <= 1:
                    outside.add(name)
    telling = [name for name in rest if values[name] and scores[name] >= _LEAST_SHARE * values[name]]
    models = [name for name in telling if name not in outside and not _is_figure(name)]
    if not models:
        raise TableError(f"{path}: neither a column `model` nor columns of scores in [0, 1] among {', '.join(rest)}")
    found_models = {name: _own_figures(name, columns) for name in models}
    used = {theirs for own in found_models.values() for theirs in own.values()}
    if over := [name for name in rest if name not in found_models and name not in used]:
        source.dropped[f"{NOTE}columns taken for no model: {', '.join(over)[:300]}"] += len(over)
    return found_models


def _is_figure(name: str) -> bool:
    parts = _PARTS.split(name.lower())
    return any("_".join(some) in _NO_MODEL for n in (1, 2) for some in (parts[-n:], parts[:n]))


def _own_figures(model: str, columns: list[str]) -> dict[str, str]:
    """`gpt4_cost`, `gpt4|total_cost`, `cost_gpt4`: the columns that tell of one model alone."""
    found: dict[str, str] = {}
    for name in columns:
        rest = name.removeprefix(model) if name.startswith(model) else name.removesuffix(model)
        if rest != name and (ours := _FIGURES.get("_".join(filter(None, _PARTS.split(rest.lower()))))) is not None:
            found.setdefault(ours, name)
    return found


def _record(
    row: Mapping[str, Any], names: Mapping[str, str], model: str, score_column: str, source: ImportSource, where: str
) -> OutcomeRecord:
    def text(name: str) -> str | None:
        return text_of(row.get(names[name])) if name in names else None

    def figure(name: str) -> float | None:
        return source.figure(names[name], row.get(names[name]), where) if name in names else None

    prompt = prompt_text(row.get(names["prompt"])) or ""
    return OutcomeRecord(
        prompt_id=text("prompt_id") or hashlib.sha1(prompt.encode(), usedforsecurity=False).hexdigest(),
        prompt=prompt,
        model=model,
        score=source.score(score_column, row.get(score_column), where),
        dataset=text("dataset"),
        category=text("category"),
        split=text("split"),
        cost_usd=figure("cost_usd"),
        prompt_tokens=figure("prompt_tokens"),
        completion_tokens=figure("completion_tokens"),
        answer=text("answer"),
        contaminated=bool(figure("contaminated")),
        where=f"{where}, column {score_column}",
    )
