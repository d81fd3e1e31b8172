"""RouterBench (withmartian/routerbench, arXiv 2403.12031): one row per prompt, three columns per model.

`<model>` is the score in [0, 1], `<model>|model_response` the answer, `<model>|total_cost` dollars of the call. It is
published as a pickle, which is not read: a pickle runs code. CSV and Parquet exports of it are; prompts and answers
stand in them as the text of a one-element list. A file named `..._train` or `..._test` (RouterDC's export) states its
split.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pointsman.evals.errors import TableError
from pointsman.evals.importers.records import ImportSource, OutcomeRecord, number, read_csv, required

_COST = "|total_cost"
_ANSWER = "|model_response"


def read(source: ImportSource) -> Iterator[OutcomeRecord]:
    """Yield one outcome per model of every row.

    Raises:
        TableError: A file is a pickle, or lacks the columns.
    """
    for path in source.files("*.csv", "*.parquet"):
        split = path.stem.rsplit("_", 1)[-1]
        for row in _rows(path):
            required(row, ("sample_id", "prompt"), path)
            models = [name[: -len(_COST)] for name in row if name.endswith(_COST)]
            if not models:
                raise TableError(f"{path}: no column ends with {_COST}: not a RouterBench table")
            for model in models:
                yield OutcomeRecord(
                    prompt_id=str(row["sample_id"]),
                    prompt=_unlisted(row["prompt"]),
                    model=model,
                    score=number(row.get(model)),
                    dataset=row.get("eval_name"),
                    category=row.get("eval_name"),
                    split=split if split in {"train", "test"} else None,
                    cost_usd=number(row.get(model + _COST)),
                    answer=_unlisted(row[model + _ANSWER]) if row.get(model + _ANSWER) is not None else None,
                )


def _rows(path: Path) -> Iterable[Mapping[str, Any]]:
    if path.suffix != ".parquet":
        return read_csv(path)
    import polars as pl

    return (
        row for batch in pl.scan_parquet(path).collect_batches(chunk_size=1024) for row in batch.iter_rows(named=True)
    )


def _unlisted(value: Any) -> str:
    """`['text']` as its text."""
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return str(value)
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
