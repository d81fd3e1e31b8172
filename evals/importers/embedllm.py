"""EmbedLLM's CSV files (github.com/richardzhuang0412/EmbedLLM, ICLR 2025): one row per question and model.

Columns `prompt_id`, `prompt`, `model_id` or `model_name`, `label` (1 is right), and where present `category` or
`category_id`. Its authors take the best of repeated rows, and so does this. `train.csv`, `val.csv` and `test.csv` state
their split.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pointsman.evals.importers.reading import read_csv
from pointsman.evals.importers.records import ImportSource, OutcomeRecord, required


def read(source: ImportSource) -> Iterator[OutcomeRecord]:
    """Yield one outcome per question and model."""
    for path in source.files("*.csv"):
        best: dict[tuple[str, str], OutcomeRecord] = {}
        for at, row in enumerate(read_csv(path), 1):
            required(row, ("prompt_id", "prompt", "label"), path)
            model = row.get("model_name") or row.get("model_id") or ""
            category = row.get("category") or row.get("category_id") or None
            found = OutcomeRecord(
                prompt_id=row["prompt_id"],
                prompt=row["prompt"],
                model=model,
                score=source.score("label", row["label"], f"{path.name}, row {at}"),
                dataset=category,
                category=category,
                split=path.stem if path.stem in {"train", "val", "test"} else None,
            )
            known = best.setdefault((found.prompt_id, model), found)
            if known is not found:
                source.dropped["repeated question and model: the best label counts"] += 1
                score = max((one.score for one in (known, found) if one.score is not None), default=None)
                best[found.prompt_id, model] = replace(known, score=score)
        yield from best.values()
