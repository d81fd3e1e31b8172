"""AlpacaEval's annotations (tatsu-lab/alpaca_eval): `results/<model>/<annotator>/annotations.json`.

A row has `instruction`, `dataset`, `generator_1` with `output_1` (the reference), `generator_2` with `output_2` and
`preference` in [1, 2]. The score is the win over the reference, preference - 1, as its leaderboard counts it: a tie is
1.5 (0 in old files). The reference itself is not scored against itself and is not a column. Wins over two
references, or by two annotators, are no one score: --metric names the one that counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pointsman.evals.errors import TableError
from pointsman.evals.importers.prompts import prompt_text
from pointsman.evals.importers.reading import objects, read_json
from pointsman.evals.importers.records import ImportSource, OutcomeRecord, required, text_of


def read(source: ImportSource) -> Iterator[OutcomeRecord]:
    """Yield one outcome per annotated answer.

    Raises:
        TableError: A file is no list of annotations, or there are several references or annotators and none is chosen.
    """
    paths = source.files("annotations.json")
    _refuse_mixed(paths, source)
    for path in paths:
        for at, row in enumerate(objects(path, read_json(path), "annotations"), 1):
            where = f"{path.name}, row {at}"
            required(row, ("instruction", "generator_2", "preference"), path)
            if source.metric is not None and source.metric not in _judged_by(row, path):
                source.dropped[f"annotation of another reference or annotator than {source.metric}"] += 1
                continue
            preference = source.figure("preference", row["preference"], where)
            if preference is None:
                source.dropped["annotator gave no preference"] += 1
            elif preference == 0:
                preference = 1.5
            prompt = prompt_text(row["instruction"]) or ""
            yield OutcomeRecord(
                prompt_id="alpaca_eval/" + hashlib.sha1(prompt.encode(), usedforsecurity=False).hexdigest(),
                prompt=prompt,
                model=text_of(row["generator_2"]) or "",
                score=None if preference is None else preference - 1,
                dataset="alpaca_eval",
                category=text_of(row.get("dataset")),
                answer=text_of(row.get("output_2")),
                where=where,
            )


def _judged_by(row: Mapping[str, Any], path: Path) -> tuple[str, str]:
    """Reference and annotator of a row."""
    return text_of(row.get("generator_1")) or "", text_of(row.get("annotator")) or path.parent.name


def _refuse_mixed(paths: list[Path], source: ImportSource) -> None:
    judged = {
        _judged_by(row, path)
        for path in paths
        for row in objects(path, read_json(path), "annotations")
        if isinstance(row, dict) and (source.metric is None or source.metric in _judged_by(row, path))
    }
    if source.metric is not None and not judged:
        raise TableError(f"{source.path}: no annotation has the reference or the annotator {source.metric}")
    for what, names in (("references", {one[0] for one in judged}), ("annotators", {one[1] for one in judged})):
        if len(names) > 1 and not (what == "annotators" and len(paths) > 1 and not any(names)):
            raise TableError(
                f"{source.path}: answers are judged by several {what}, whose wins are not one score: "
                f"{', '.join(sorted(names))}. Name the one that counts with --metric"
            )
