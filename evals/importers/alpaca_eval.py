"""AlpacaEval's annotations (tatsu-lab/alpaca_eval): `results/<model>/<annotator>/annotations.json`.

A row has `instruction`, `dataset`, `generator_1` with `output_1` (the reference), `generator_2` with `output_2` and
`preference` in [1, 2]. The score is the win over the reference, preference - 1, as its leaderboard counts it: a tie is
1.5 (0 in old files). The reference itself is not scored against itself and is not a column.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from pointsman.evals.errors import TableError
from pointsman.evals.importers.records import ImportSource, OutcomeRecord, number, read_json, required


def read(source: ImportSource) -> Iterator[OutcomeRecord]:
    """Yield one outcome per annotated answer.

    Raises:
        TableError: A file is no list of annotations.
    """
    for path in source.files("annotations.json"):
        rows = read_json(path)
        if not isinstance(rows, list):
            raise TableError(f"{path}: not a list of annotations")
        for row in rows:
            required(row, ("instruction", "generator_2", "preference"), path)
            preference = number(row["preference"])
            if preference is None:
                source.dropped["annotator gave no preference"] += 1
            elif preference == 0:
                preference = 1.5
            yield OutcomeRecord(
                prompt_id="alpaca_eval/" + hashlib.sha1(row["instruction"].encode(), usedforsecurity=False).hexdigest(),
                prompt=row["instruction"],
                model=row["generator_2"],
                score=None if preference is None else preference - 1,
                dataset="alpaca_eval",
                category=row.get("dataset"),
                answer=row.get("output_2"),
            )
