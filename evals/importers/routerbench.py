"""RouterBench (withmartian/routerbench, arXiv 2403.12031): one row per prompt, three columns per model.

`<model>` is the score in [0, 1], `<model>|model_response` the answer, `<model>|total_cost` dollars of the call. It is
published as a pickle, which is not read: a pickle runs code. CSV and Parquet exports of it are; prompts and answers
stand in them as the text of a one-element list. A file named `..._train` or `..._test` (RouterDC's export) states its
split.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from pointsman.evals.errors import TableError
from pointsman.evals.importers.reading import read_rows, whole_text
from pointsman.evals.importers.records import ImportSource, OutcomeRecord, required, text_of

_COST = "|total_cost"
_ANSWER = "|model_response"


def read(source: ImportSource) -> Iterator[OutcomeRecord]:
    """Yield one outcome per model of every row.

    Raises:
        TableError: A file is a pickle, or lacks the columns.
    """
    for path in source.files("*.csv", "*.parquet"):
        split = path.stem.rsplit("_", 1)[-1]
        for at, row in enumerate(read_rows(path), 1):
            where = f"{path.name}, row {at}"
            required(row, ("sample_id", "prompt"), path)
            models = [name[: -len(_COST)] for name in row if name.endswith(_COST)]
            if not models:
                raise TableError(f"{path}: no column ends with {_COST}: not a RouterBench table")
            for model in models:
                yield OutcomeRecord(
                    prompt_id=text_of(row["sample_id"]) or f"{path.stem}/{at}",
                    prompt=_unlisted(row["prompt"]),
                    model=model,
                    score=source.score(model, row.get(model), where),
                    dataset=text_of(row.get("eval_name")),
                    category=text_of(row.get("eval_name")),
                    split=split if split in {"train", "test"} else None,
                    cost_usd=source.figure(model + _COST, row.get(model + _COST), where),
                    answer=_unlisted(row[model + _ANSWER]) if row.get(model + _ANSWER) is not None else None,
                )


def _unlisted(value: Any) -> str:
    """`['text']` as its text."""
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return str(value)
    if isinstance(value, list | tuple):
        value = "\n".join(map(str, value))
    return whole_text("" if value is None else str(value))
