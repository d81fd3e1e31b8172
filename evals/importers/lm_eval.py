"""Sample logs of lm-evaluation-harness (EleutherAI, --log_samples): `<model>/samples_<task>_<timestamp>.jsonl`.

A line has `doc_id`, `doc_hash`, `arguments` (what the model was given), `filtered_resps`, the names of its `metrics`
and one value for each. The model's name is the folder's, where `__` stands for `/`. Where a task filters answers in
several ways there is one line per filter; the first one counts unless --filter names another. The document's hash is
part of the prompt's id, because data sets are corrected between runs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pointsman.evals.errors import TableError
from pointsman.evals.importers.prompts import prompt_text
from pointsman.evals.importers.reading import read_jsonl
from pointsman.evals.importers.records import ImportSource, OutcomeRecord, grade, required, text_of

_NAME = re.compile(r"samples_(?P<task>.+?)(?:_(?P<stamp>\d{4}-\d\d-\d\dT[\d\-:.]+))?\.jsonl$")
#: In older logs that do not name their metrics: the ones that tell right from wrong, best known first.
_METRICS = ("exact_match", "acc", "acc_norm", "pass@1", "prompt_level_strict_acc", "f1", "em", "mc2", "bleu_acc")


def read(source: ImportSource) -> Iterator[OutcomeRecord]:
    """Yield the samples of one log of every model and task: that of most samples, among equals the newest.

    Raises:
        TableError: A log has no such metric, or no sample has the filter.
    """
    logs: dict[tuple[str, str], list[tuple[str, Path]]] = {}
    for path in source.files("samples_*.jsonl"):
        parts = _NAME.search(path.name)
        if parts is None:
            raise TableError(f"{path}: not named samples_<task>_<timestamp>.jsonl")
        key = (path.parent.name.replace("__", "/"), parts["task"])
        logs.setdefault(key, []).append((parts["stamp"] or "", path))
    # Chat templates and few-shot examples may differ between models; the first text seen stands for the document.
    texts: dict[str, str] = {}
    # One metric for all models of a task: scores of two metrics cannot be compared.
    metrics: dict[str, str] = {}
    filters: dict[str, int] = Counter()
    taken = 0
    for (model, task), runs in logs.items():
        path = _fullest(runs, source)
        seen: set[str] = set()
        for at, line in enumerate(read_jsonl(path), 1):
            where = f"{path.name}, line {at}"
            required(line, ("doc_id",), path)
            doc = text_of(line["doc_id"]) or ""
            if source.filter is not None and line.get("filter", source.filter) != source.filter:
                filters[str(line["filter"])] += 1
                continue
            if doc in seen:
                source.dropped["further answer filter of the same sample"] += 1
                continue
            seen.add(doc)
            taken += 1
            metric = _metric(line, source.metric, metrics.get(task), path)
            metrics.setdefault(task, metric)
            prompt_id = f"{task}/{doc}/{(text_of(line.get('doc_hash')) or '')[:12]}".rstrip("/")
            yield OutcomeRecord(
                prompt_id=prompt_id,
                prompt=texts.setdefault(prompt_id, _prompt(line)),
                model=model,
                score=source.score(metric, _single(line.get(metric)), where),
                dataset=task,
                category=task,
                answer=_answer(line),
                where=where,
            )
    if filters and not taken:
        raise TableError(f"no sample has the filter {source.filter}; there are {', '.join(sorted(filters))}")
    if filters:
        source.dropped[f"sample of another answer filter ({', '.join(sorted(filters))})"] += sum(filters.values())


def _fullest(runs: list[tuple[str, Path]], source: ImportSource) -> Path:
    """The log of most samples, among equals the newest: a later try with --limit does not stand for the whole run."""
    if len(runs) == 1:
        return runs[0][1]
    sizes = {path: len({text_of(line.get("doc_id")) for line in read_jsonl(path)}) for _, path in runs}
    _, best = max(runs, key=lambda run: (sizes[run[1]], run[0]))
    source.dropped["sample of an older or shorter run of the same model and task"] += sum(sizes.values()) - sizes[best]
    return best


def _metric(line: Mapping[str, Any], asked: str | None, known: str | None, path: Path) -> str:
    own = line.get("metrics")
    told = [str(name) for name in own] if isinstance(own, list | tuple) else []
    named = (asked,) if asked is not None else (*((known,) if known else ()), *told, *_METRICS)
    there = [name for name in named if name in line]
    # Some metrics have a value per instruction, or what a corpus score is made of; one figure comes first.
    for name in there:
        if name == known or grade(line[name]) is not None:
            return str(name)
    if there:
        return str(there[0])
    raise TableError(
        f"{path}: no metric {' or '.join(dict.fromkeys(named))}; name one of {', '.join(line)} with --metric"
    )


def _single(value: Any) -> Any:
    """One figure of a metric: of several truth values their share."""
    if isinstance(value, list | tuple) and value and all(one in (True, False) for one in value):
        return sum(map(bool, value)) / len(value)
    return value


def _prompt(line: Mapping[str, Any]) -> str:
    """The context the model was given; for a chat, its last user turn."""
    given = line.get("arguments")
    if isinstance(given, Mapping):  # newer logs: gen_args_0 -> arg_0
        given = next(iter(given.values()), None)
        text = given.get("arg_0") if isinstance(given, Mapping) else given
    else:
        text = given[0] if isinstance(given, list | tuple) and given else given
        text = text[0] if isinstance(text, list | tuple) and text else text
    while isinstance(text, list) and text and not isinstance(text[0], Mapping):
        text = text[0]
    return prompt_text(text) or text_of(line.get("doc")) or ""


def _answer(line: Mapping[str, Any]) -> str | None:
    """The filtered answer where the model wrote one; None where it only rated the choices."""
    answers = line.get("filtered_resps")
    while isinstance(answers, list) and len(answers) == 1:
        answers = answers[0]
    return answers if isinstance(answers, str) else None
