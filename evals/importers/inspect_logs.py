"""Logs of inspect-ai (UK AI Security Institute): `.json`, and `.eval`, a zip with `header.json` and `samples/*.json`.

A sample has `input`, `scores` (scorer -> value), `output` and `model_usage`. Values are read as inspect itself reads
them: C is 1, P 0.5, I and N 0, truth values and numbers as they are. Epochs of one sample are averaged.
"""

from __future__ import annotations

import json
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pointsman.evals.errors import TableError
from pointsman.evals.importers.records import ImportSource, OutcomeRecord, number, read_json

_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "no": 0.0}


def read(source: ImportSource) -> Iterator[OutcomeRecord]:
    """Yield one outcome per sample of every finished log.

    Raises:
        TableError: A log is broken, or its scores are neither letters nor numbers.
    """
    for path in source.files("*.eval", "*.json"):
        header, samples = _open(path)
        about = header.get("eval") or {}
        if "model" not in about:
            raise TableError(f"{path}: not a log of inspect-ai (no eval.model)")
        epochs: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for sample in samples:
            if sample.get("error"):
                source.dropped["sample ended in an error"] += 1
            else:
                epochs[str(sample["id"])].append(sample)
        for sample_id, runs in epochs.items():
            yield _record(about, sample_id, runs, source, path)


def _open(path: Path) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    if path.suffix != ".eval":
        log = read_json(path)
        if not isinstance(log, Mapping):
            raise TableError(f"{path}: not a log of inspect-ai")
        return log, log.get("samples") or []
    with suppress(ImportError):
        # Newer logs are packed with Zstandard, which `zipfile` itself knows from Python 3.14 on.
        import zipfile_zstd  # noqa: F401
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "header.json" not in names:
                raise TableError(f"{path}: the run did not finish: no header.json in it")
            samples = [json.loads(archive.read(name)) for name in names if name.startswith("samples/")]
            return json.loads(archive.read("header.json")), samples
    except zipfile.BadZipFile as error:
        raise TableError(f"{path}: not a zip file ({error})") from error
    except NotImplementedError as error:
        raise TableError(
            f"{path}: packed with Zstandard: pip install zipfile-zstd, or convert it with "
            "`inspect log convert --to json --output-dir DIR LOG`"
        ) from error


def _record(
    about: Mapping[str, Any], sample_id: str, runs: list[Mapping[str, Any]], source: ImportSource, path: Path
) -> OutcomeRecord:
    dataset = str(about.get("task", path.stem))
    scores = [score for run in runs if (score := _score(run, source, path)) is not None]
    usage: list[Mapping[str, Any]] = [next(iter((run.get("model_usage") or {}).values()), {}) for run in runs]
    choices = (runs[0].get("output") or {}).get("choices") or []
    return OutcomeRecord(
        prompt_id=f"{dataset}/{sample_id}",
        prompt=_text(runs[0]["input"]),
        model=str(about["model"]),
        score=sum(scores) / len(scores) if scores else None,
        dataset=dataset,
        category=(runs[0].get("metadata") or {}).get("category") or dataset,
        prompt_tokens=_mean([number(one.get("input_tokens")) for one in usage]),
        completion_tokens=_mean([number(one.get("output_tokens")) for one in usage]),
        answer=_answer(runs[0], source) or (_content(choices[0]["message"]["content"]) if choices else None),
    )


def _score(run: Mapping[str, Any], source: ImportSource, path: Path) -> float | None:
    scores = run.get("scores") or {}
    if not scores:
        return None
    name = source.metric or next(iter(scores))
    if name not in scores:
        raise TableError(f"{path}: no scorer {name}; name one of {', '.join(scores)} with --metric")
    value = scores[name].get("value")
    found = _LETTERS.get(value) if isinstance(value, str) else None
    found = number(value) if found is None else found
    if found is None and value is not None and value == value:
        raise TableError(f"{path}: scorer {name} gave {str(value)[:80]!r}, which is no number")
    return found


def _answer(run: Mapping[str, Any], source: ImportSource) -> str | None:
    scores = run.get("scores") or {}
    chosen = scores.get(source.metric or next(iter(scores), ""), {})
    answer = chosen.get("answer")
    return None if answer is None else str(answer)


def _text(given: Any) -> str:
    """The prompt: the text, or the last user turn of a conversation."""
    if isinstance(given, str):
        return given
    users = [_content(turn["content"]) for turn in given if turn.get("role") == "user"]
    return users[-1] if users else _content(given[-1]["content"])


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("type") == "text")


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
