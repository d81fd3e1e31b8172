"""Sample logs of lm-evaluation-harness (EleutherAI, --log_samples): `<model>/samples_<task>_<timestamp>.jsonl`.

A line has `doc_id`, `doc_hash`, `arguments` (what the model was given), `filtered_resps`, the names of its `metrics`
and one value for each. The model's name is the folder's, where `__` stands for `/`. Where a task filters answers in
several ways there is one line per filter; the first one counts unless --filter names another. The document's hash is
part of the prompt's id, because data sets are corrected between runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pointsman.evals.errors import TableError
from pointsman.evals.importers.records import ImportSource, OutcomeRecord, number, read_jsonl, required

_NAME = re.compile(r"samples_(?P<task>.+?)(?:_(?P<stamp>\d{4}-\d\d-\d\dT[\d\-:.]+))?\.jsonl$")
#: In older logs that do not name their metrics: the ones that tell right from wrong, best known first.
_METRICS = ("exact_match", "acc", "acc_norm", "pass@1", "prompt_level_strict_acc", "f1", "em", "mc2", "bleu_acc")


def read(source: ImportSource) -> Iterator[OutcomeRecord]:
    """Yield the samples of the newest log of every model and task.

    Raises:
        TableError: A log has no such metric.
    """
    newest: dict[tuple[str, str], tuple[str, Path]] = {}
    for path in source.files("samples_*.jsonl"):
        parts = _NAME.search(path.name)
        if parts is None:
            raise TableError(f"{path}: not named samples_<task>_<timestamp>.jsonl")
        key = (path.parent.name.replace("__", "/"), parts["task"])
        newest[key] = max(newest.get(key, ("", path)), (parts["stamp"] or "", path))
    # Chat templates and few-shot examples may differ between models; the first text seen stands for the document.
    texts: dict[str, str] = {}
    for (model, task), (_, path) in newest.items():
        seen: set[Any] = set()
        for line in read_jsonl(path):
            required(line, ("doc_id",), path)
            if source.filter is not None and line.get("filter", source.filter) != source.filter:
                continue
            if line["doc_id"] in seen:
                source.dropped["further answer filter of the same sample"] += 1
                continue
            seen.add(line["doc_id"])
            prompt_id = f"{task}/{line['doc_id']}/{line.get('doc_hash', '')[:12]}".rstrip("/")
            yield OutcomeRecord(
                prompt_id=prompt_id,
                prompt=texts.setdefault(prompt_id, _prompt(line)),
                model=model,
                score=number(line[_metric(line, source.metric, path)]),
                dataset=task,
                category=task,
                answer=_answer(line),
            )


def _metric(line: Mapping[str, Any], asked: str | None, path: Path) -> str:
    named = (asked,) if asked is not None else (*(line.get("metrics") or ()), *_METRICS)
    for name in named:
        if name in line:
            return str(name)
    raise TableError(f"{path}: no metric {' or '.join(named)}; name one of {', '.join(line)} with --metric")


def _prompt(line: Mapping[str, Any]) -> str:
    """The context the model was given; for a chat, its last user turn."""
    given = line.get("arguments")
    if isinstance(given, Mapping):  # newer logs: gen_args_0 -> arg_0
        given = next(iter(given.values()), None)
        text = given.get("arg_0") if isinstance(given, Mapping) else given
    else:
        text = given[0][0] if given and given[0] else None
    while isinstance(text, list) and text and not isinstance(text[0], Mapping):
        text = text[0]
    if isinstance(text, str) and text.startswith("[{"):
        try:
            text = json.loads(text)
        except json.JSONDecodeError:
            return str(text)
    if isinstance(text, list):
        users = [turn["content"] for turn in text if turn.get("role") == "user"]
        text = users[-1] if users else None
    return str(text if text is not None else line.get("doc"))


def _answer(line: Mapping[str, Any]) -> str | None:
    """The filtered answer where the model wrote one; None where it only rated the choices."""
    answers = line.get("filtered_resps")
    while isinstance(answers, list) and len(answers) == 1:
        answers = answers[0]
    return answers if isinstance(answers, str) else None
