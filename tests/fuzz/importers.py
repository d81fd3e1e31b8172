"""Files that nobody would write, and files that somebody nearly did, put to every importer.

An importer reads a file or refuses it with a sentence (`EvalError`); nothing else may come out of it.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from pointsman.evals.errors import EvalError
from pointsman.evals.importers.cli import FORMATS
from pointsman.evals.importers.records import ImportSource
from pointsman.evals.importers.table_writer import write_table

#: Format -> a file's name that it takes up.
NAMES = {
    "alpaca-eval": ("annotations.json",),
    "embedllm": ("train.csv",),
    "inspect": ("log.json",),
    "llmrouterbench": ("run.json",),
    "lm-eval": ("samples_x_2026-01-16T16-02-26.648276.jsonl",),
    "plain": ("a.csv", "a.tsv", "a.jsonl", "a.json"),
    "routerarena": ("a.json",),
    "routerbench": ("a.csv",),
    "routellm": ("mmlu_x.csv", "judgements.jsonl"),
}

_WORDS = [
    "prompt",
    "model",
    "score",
    "category",
    "dataset",
    "split",
    "prompt_id",
    "cost_usd",
    "answer",
    "a",
    "b",
    "instruction",
    "generator_1",
    "generator_2",
    "preference",
    "output_2",
    "annotator",
    "label",
    "model_name",
    "eval",
    "status",
    "samples",
    "id",
    "input",
    "scores",
    "value",
    "model_usage",
    "input_tokens",
    "output",
    "choices",
    "message",
    "content",
    "dataset_name",
    "records",
    "demo",
    "index",
    "origin_query",
    "doc_id",
    "doc_hash",
    "arguments",
    "gen_args_0",
    "arg_0",
    "metrics",
    "acc",
    "filter",
    "filtered_resps",
    "prediction",
    "accuracy",
    "cost",
    "generated_result",
    "token_usage",
    "task",
    "sample_id",
    "a|total_cost",
    "a|model_response",
    "eval_name",
    "question_id",
    "turn",
    "messages",
    "role",
    "user",
    "text",
    "type",
    "created",
    "metadata",
    "global index",
]

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from(
        [10**400, -(10**400), 0.5, 1e308, float("nan"), float("inf"), "", "1", "0.5", "85%", "pass", "1/0"]
    ),
    st.sampled_from(["\ud83d", "\x00", "m", "text", "C", "[{", "['x']", "['\\ud83d']", "9" * 400, "1,5", "["]),
    st.text(max_size=4),
    st.sampled_from(_WORDS),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(_WORDS), inner, max_size=8)),
    max_leaves=12,
)
_LIKELY: dict[str, dict[str, Any]] = {
    "alpaca-eval": {"instruction": "q", "generator_1": "r", "generator_2": "m", "preference": 1.5, "output_2": "x"},
    "embedllm": {"prompt_id": "1", "prompt": "q", "label": "1", "model_name": "m"},
    "inspect": {"id": 1, "input": "q", "scores": {"a": {"value": "C"}}, "model_usage": {"m": {"input_tokens": 3}}},
    "llmrouterbench": {"index": 1, "prompt": "q", "score": 1, "cost": 0.1},
    "lm-eval": {"doc_id": 1, "metrics": ["acc"], "acc": 1, "arguments": {"gen_args_0": {"arg_0": "q"}}},
    "plain": {"prompt": "q", "model": "m", "score": 1, "cost_usd": 0.1},
    "routerarena": {"global index": "A_1", "prompt": "q", "prediction": "m", "accuracy": 1, "generated_result": {}},
    "routerbench": {"sample_id": "1", "prompt": "q", "a": "1", "a|total_cost": "0.1", "a|model_response": "['x']"},
    "routellm": {"question_id": 1, "prompt": "q", "model": "m", "score": "1", "a": "True"},
}


@st.composite
def files(draw: st.DrawFn) -> tuple[str, str, bytes]:
    """A format, the name of a file, and its bytes."""
    kind = draw(st.sampled_from(sorted(FORMATS)))
    name = draw(st.sampled_from(NAMES[kind]))
    if draw(st.integers(0, 9)) == 0:
        return kind, name, draw(st.binary(max_size=200))
    rows = draw(st.lists(_row(kind), min_size=1, max_size=4))
    text = _written(name, _wrapped(kind, rows))
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    told = text.encode(encoding, "replace")
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(told)))
        told = told[:at] + draw(st.binary(max_size=4)) + told[at + draw(st.integers(0, 8)) :]
    return kind, name, told


@st.composite
def _row(draw: st.DrawFn, kind: str) -> Any:
    if draw(st.integers(0, 9)) == 0:
        return draw(_VALUES)
    row = dict(_LIKELY[kind])
    for column in draw(st.lists(st.sampled_from(sorted(row)), max_size=3, unique=True)):
        if draw(st.booleans()):
            row[column] = draw(_VALUES)
        else:
            del row[column]
    return row


def _wrapped(kind: str, rows: list[Any]) -> Any:
    if kind == "inspect":
        return {"eval": {"model": "m", "task": "t"}, "status": "success", "samples": rows}
    if kind == "llmrouterbench":
        return {"model_name": "m", "dataset_name": "d", "records": rows}
    return rows


def _written(name: str, value: Any) -> str:
    if name.endswith(".json"):
        return json.dumps(value)
    if name.endswith(".jsonl"):
        return "\n".join(map(json.dumps, value))
    mark = "\t" if name.endswith(".tsv") else ","
    columns = [str(column) for row in value if isinstance(row, dict) for column in row]
    header = list(dict.fromkeys(columns)) or ["prompt"]
    cells = [[str(row.get(one, "")) if isinstance(row, dict) else str(row) for one in header] for row in value]
    return "\n".join(mark.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in [header, *cells])


def put(kind: str, name: str, told: bytes) -> str:
    """Import the file; gives what came of it: `table` or `refused`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(told)
        dropped: Counter[str] = Counter()
        source = ImportSource(path, dropped=dropped)
        try:
            write_table(
                import_module(f"pointsman.evals.importers.{FORMATS[kind]}").read(source), Path(folder) / "out", dropped
            )
        except EvalError as error:
            return "refused" if str(error) else "refused without a sentence"
        return "table"


def main(count: int) -> None:
    """Put so many files; says how many became tables."""
    from hypothesis import HealthCheck, given, settings

    came: Counter[str] = Counter()

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(files())
    def every(file: tuple[str, str, bytes]) -> None:
        came[put(*file)] += 1

    every()
    print(f"{sum(came.values()):,} files: {dict(came)}")  # noqa: T201 (a command)


if __name__ == "__main__":
    import sys

    main(int(sys.argv[1]))
