"""LLMRouterBench's results (github.com/ynulihao/LLMRouterBench, arXiv 2601.07206): one JSON file per model and set.

`bench/<set>/<split>/<model>/<set>-<split>-<model>-<timestamp>.json` holds `model_name`, `dataset_name`, `demo` and
`records`: `index`, `origin_query`, `prompt`, tokens, `cost`, `score`, `prediction`. As in its authors' loader, the
newest file of a folder that is no demo counts. Their `split` is the benchmark's, not a train/test split for routers:
the import makes one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pointsman.evals.importers.records import ImportSource, OutcomeRecord, number, read_json, required

_TIMESTAMP = re.compile(r"(\d{8}_\d{6})\.json$")


def read(source: ImportSource) -> Iterator[OutcomeRecord]:
    """Yield the records of the newest run of every model and set."""
    runs: dict[Path, list[Path]] = defaultdict(list)
    for path in source.files("*.json"):
        runs[path.parent].append(path)
    for paths in runs.values():
        # The authors' `result.json` without a timestamp is the older form.
        newest_first = sorted(paths, key=_timestamp, reverse=True)
        for at, path in enumerate(newest_first):
            run = read_json(path)
            required(run, ("model_name", "dataset_name", "records"), path)
            if run.get("demo"):
                source.dropped["demo run"] += len(run["records"])
                continue
            yield from _records(run)
            source.dropped["older run of the same model and set"] += len(newest_first) - at - 1
            break


def _records(run: Mapping[str, Any]) -> Iterator[OutcomeRecord]:
    dataset, model = str(run["dataset_name"]), str(run["model_name"])
    for one in run["records"]:
        yield OutcomeRecord(
            prompt_id=f"{dataset}/{run.get('split', '')}/{one['index']}",
            prompt=one.get("origin_query") or one["prompt"],
            model=model,
            score=number(one.get("score")),
            dataset=dataset,
            category=dataset,
            cost_usd=number(one.get("cost")),
            prompt_tokens=number(one.get("prompt_tokens")),
            completion_tokens=number(one.get("completion_tokens")),
            answer=None if one.get("prediction") is None else str(one["prediction"]),
        )


def _timestamp(path: Path) -> str:
    found = _TIMESTAMP.search(path.name)
    return found.group(1) if found else ""
