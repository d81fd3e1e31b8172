"""LLMRouterBench's results (github.com/ynulihao/LLMRouterBench, arXiv 2601.07206): one JSON file per model and set.

`bench/<set>/<split>/<model>/<set>-<split>-<model>-<timestamp>.json` holds `model_name`, `dataset_name`, `demo` and
`records`: `index`, `origin_query`, `prompt`, tokens, `cost`, `score`, `prediction`. The file of a folder that
is no demo and has most records counts, among equals the newest. Their `split` is the
benchmark's, not a train/test split for routers: the import makes one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pointsman.evals.importers.prompts import prompt_text
from pointsman.evals.importers.reading import objects, read_json
from pointsman.evals.importers.records import ImportSource, OutcomeRecord, required, text_of

_TIMESTAMP = re.compile(r"(\d{8}_\d{6})\.json$")


def read(source: ImportSource) -> Iterator[OutcomeRecord]:
    """Yield the records of one run of every model and set: that of most records, among equals the newest.

    Raises:
        TableError: A file is no run.
    """
    runs: dict[Path, list[Path]] = defaultdict(list)
    for path in source.files("*.json"):
        runs[path.parent].append(path)
    for paths in runs.values():
        # The authors' `result.json` without a timestamp is the older form.
        found: list[tuple[Mapping[str, Any], list[Mapping[str, Any]], Path]] = []
        for path in sorted(paths, key=_timestamp, reverse=True):
            run = read_json(path)
            required(run, ("model_name", "dataset_name", "records"), path)
            records = objects(path, run["records"], "records")
            if run.get("demo"):
                source.dropped["record of a demo run"] += len(records)
                continue
            found.append((run, records, path))
        if not found:
            continue
        best = max(found, key=lambda one: len(one[1]))
        source.dropped["record of another run of the same model and set"] += sum(len(one[1]) for one in found) - len(
            best[1]
        )
        yield from _records(*best, source)


def _records(
    run: Mapping[str, Any], records: list[Mapping[str, Any]], path: Path, source: ImportSource
) -> Iterator[OutcomeRecord]:
    dataset, model = text_of(run["dataset_name"]) or path.parent.name, text_of(run["model_name"]) or ""
    for at, one in enumerate(records, 1):
        where = f"{path.name}, record {at}"
        yield OutcomeRecord(
            prompt_id=f"{dataset}/{run.get('split', '')}/{one.get('index', at)}",
            prompt=prompt_text(one.get("origin_query")) or prompt_text(one.get("prompt")) or "",
            model=model,
            score=source.score("score", one.get("score"), where),
            dataset=dataset,
            category=dataset,
            cost_usd=source.figure("cost", one.get("cost"), where),
            prompt_tokens=source.figure("prompt_tokens", one.get("prompt_tokens"), where),
            completion_tokens=source.figure("completion_tokens", one.get("completion_tokens"), where),
            answer=text_of(one.get("prediction")),
            where=where,
        )


def _timestamp(path: Path) -> str:
    found = _TIMESTAMP.search(path.name)
    return found.group(1) if found else ""
