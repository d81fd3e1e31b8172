"""Logs of inspect-ai (UK AI Security Institute): `.json`, and `.eval`, a zip with `header.json` and `samples/*.json`.

A sample has `input`, `scores` (scorer -> value), `output` and `model_usage`. Values are read as inspect itself reads
them: C is 1, P 0.5, I and N 0, truth values and numbers as they are. Epochs of one sample are averaged.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pointsman.evals.errors import TableError
from pointsman.evals.importers.prompts import content_text, prompt_text
from pointsman.evals.importers.reading import objects, parse_json, read_json
from pointsman.evals.importers.records import ImportSource, OutcomeRecord, grade, is_nothing, part, text_of

_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "no": 0.0}


def read(source: ImportSource) -> Iterator[OutcomeRecord]:
    """Yield one outcome per sample of every log; of several logs of a task and model the best comes first.

    The best is one that succeeded, then that of most samples, then the newest: a failed run does not stand in the way
    of its retry. The others give the samples that it lacks.

    Raises:
        TableError: A log is broken, or its scores are neither letters nor numbers.
    """
    runs: dict[tuple[str, str], list[_Run]] = defaultdict(list)
    for path in source.files("*.eval", "*.json"):
        header, samples = _open(path)
        if header is None:
            source.dropped["log of a run that did not finish: no header.json in it"] += 1
            continue
        about = part(header.get("eval"))
        if not text_of(about.get("model")):
            raise TableError(f"{path}: not a log of inspect-ai (no eval.model)")
        run = _Run(about, str(header.get("status")), objects(path, samples, "samples"), path)
        runs[text_of(about.get("task")) or path.stem, str(text_of(about["model"]))].append(run)
    for (dataset, model), logs in runs.items():
        held: set[str] = set()
        for run in sorted(logs, key=_Run.rank, reverse=True):
            epochs: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
            for at, sample in enumerate(run.samples, 1):
                name = text_of(sample.get("id")) or str(at)
                if sample.get("error"):
                    source.dropped["sample ended in an error"] += 1
                elif name in held:
                    _score(sample, source, run.path)  # a log of another kind of score is refused in any case
                    source.dropped["sample that a better log of the same task and model has too"] += 1
                else:
                    epochs[name].append(sample)
            held.update(epochs)
            for sample_id, tries in epochs.items():
                yield _record(dataset, model, sample_id, tries, source, run.path)


@dataclass(frozen=True, slots=True)
class _Run:
    """One log."""

    about: Mapping[str, Any]
    status: str
    samples: list[Mapping[str, Any]]
    path: Path

    def rank(self) -> tuple[bool, int, str]:
        """The best log is the greatest."""
        whole = sum(not sample.get("error") for sample in self.samples)
        return self.status == "success", whole, str(self.about.get("created") or self.path.name)


def _open(path: Path) -> tuple[Mapping[str, Any] | None, Any]:
    """Header and samples; no header where the run did not finish."""
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
                return None, []
            parts = [name for name in names if name.startswith("samples/") and name.endswith(".json")]
            samples = [parse_json(archive.read(name), f"{path}, {name}") for name in parts]
            header = parse_json(archive.read("header.json"), f"{path}, header.json")
    except NotImplementedError as error:
        raise TableError(
            f"{path}: packed with Zstandard: pip install zipfile-zstd, or convert it with "
            "`inspect log convert --to json --output-dir DIR LOG`"
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError, OverflowError) as error:
        raise TableError(f"{path}: not a zip file that can be read ({error})") from error
    return part(header), samples


def _record(
    dataset: str, model: str, sample_id: str, runs: list[Mapping[str, Any]], source: ImportSource, path: Path
) -> OutcomeRecord:
    where = f"{path.name}, sample {sample_id}"
    scores = [score for run in runs if (score := _score(run, source, path)) is not None]
    # A grader's tokens stand beside the model's own.
    usage = [part(part(run.get("model_usage")).get(model)) for run in runs]
    if not any(usage) and any(part(run.get("model_usage")) for run in runs):
        source.dropped["tokens that are only of another model, such as a grader"] += 1
    return OutcomeRecord(
        prompt_id=f"{dataset}/{sample_id}",
        prompt=_prompt(runs[0]),
        model=model,
        score=sum(scores) / len(scores) if scores else None,
        dataset=dataset,
        category=text_of(part(runs[0].get("metadata")).get("category")) or dataset,
        prompt_tokens=_mean([source.figure("input_tokens", one.get("input_tokens"), where) for one in usage]),
        completion_tokens=_mean([source.figure("output_tokens", one.get("output_tokens"), where) for one in usage]),
        answer=_answer(runs[0], source) or _output(runs[0]),
        where=where,
    )


def _score(run: Mapping[str, Any], source: ImportSource, path: Path) -> float | None:
    scores = part(run.get("scores"))
    if not scores:
        return None
    name = source.metric or next(iter(scores))
    if name not in scores:
        raise TableError(f"{path}: no scorer {name}; name one of {', '.join(scores)} with --metric")
    value = part(scores[name]).get("value")
    found = _LETTERS.get(value) if isinstance(value, str) else None
    found = grade(value) if found is None else found
    if found is None and not is_nothing(value):
        raise TableError(f"{path}: scorer {name} gave {str(value)[:80]!r}, which is no number")
    return found


def _answer(run: Mapping[str, Any], source: ImportSource) -> str | None:
    scores = part(run.get("scores"))
    return text_of(part(scores.get(source.metric or next(iter(scores), ""))).get("answer"))


def _output(run: Mapping[str, Any]) -> str | None:
    choices = part(run.get("output")).get("choices")
    first = part(choices[0]) if isinstance(choices, list) and choices else {}
    return content_text(part(first.get("message")).get("content"))


def _prompt(run: Mapping[str, Any]) -> str:
    """What was asked: the text, or the last user turn; of a multiple choice with its options, as inspect shows them."""
    text = prompt_text(run.get("input")) or ""
    choices = run.get("choices")
    options = [text_of(one) or "" for one in choices] if isinstance(choices, list) else []
    if not options or all(one in text for one in options):
        return text
    return "\n".join([text, "", *(f"{chr(ord('A') + at)}) {one}" for at, one in enumerate(options[:26]))])


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
