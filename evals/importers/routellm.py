"""RouteLLM's evaluation data (github.com/lm-sys/RouteLLM, routellm/evals; arXiv 2406.18665).

- `mmlu/responses/mmlu_<subject>.csv` and `gsm8k/gsm8k_responses.csv`: `prompt`, one column of truth values per model,
  and for GSM8K `<model>_response` columns of texts.
- `mt_bench/question.jsonl` and `judgements.jsonl`: judged 1 to 10 per turn; the score is the mean over turns / 10.
- `contaminated_prompts.jsonl` beside each: prompts its authors drop (`eval_prompt`), kept here and marked.

Only the first turn of an MT-Bench question is the prompt, because it is the only one that its authors route on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pointsman.evals.errors import TableError
from pointsman.evals.importers.reading import read_csv, read_jsonl
from pointsman.evals.importers.records import ImportSource, OutcomeRecord, number, required, text_of

_TRUTH = {"True", "False", "0", "1", "0.0", "1.0", ""}


def read(source: ImportSource) -> Iterator[OutcomeRecord]:
    """Yield the outcomes of every table found below the path."""
    for path in source.files("mmlu_*.csv", "gsm8k_responses.csv", "judgements.jsonl"):
        yield from _judgements(path, source) if path.name == "judgements.jsonl" else _responses(path)


def _responses(path: Path) -> Iterator[OutcomeRecord]:
    dataset, subject = ("gsm8k", "math") if path.stem == "gsm8k_responses" else ("mmlu", path.stem[len("mmlu_") :])
    contaminated = _contaminated(path.parent) | _contaminated(path.parent.parent)
    rows = list(read_csv(path))
    if not rows:
        return
    required(rows[0], ("prompt",), path)
    models = [name for name in rows[0] if name != "prompt" and all(row.get(name, "") in _TRUTH for row in rows)]
    for at, row in enumerate(rows):
        for model in models:
            yield OutcomeRecord(
                prompt_id=f"{dataset}/{subject}/{at}",
                prompt=row.get("prompt", ""),
                model=model,
                score=number(row.get(model)),
                dataset=dataset,
                category=subject,
                split="test",
                answer=row.get(f"{model}_response"),
                contaminated=row.get("prompt") in contaminated,
            )


def _judgements(path: Path, source: ImportSource) -> Iterator[OutcomeRecord]:
    contaminated = _contaminated(path.parent)
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in read_jsonl(path):
        required(row, ("question_id", "model", "score"), path)
        judged = number(row["score"])
        if judged is None or judged < 0:
            source.dropped["judgement without a score"] += 1
        else:
            scores[str(row["question_id"]), text_of(row["model"]) or ""].append(judged)
    beside = path.with_name("question.jsonl")
    if not beside.is_file():
        raise TableError(f"{beside}: no such file; the judgements are of its questions")
    questions = {str(row.get("question_id")): row for row in read_jsonl(beside)}
    for (question, model), turns in scores.items():
        asked = questions.get(question)
        turns_asked = [] if asked is None else [text_of(one) or "" for one in _list(asked.get("turns"))]
        if asked is None or not turns_asked:
            source.dropped["judgement of a question that is not in question.jsonl"] += len(turns)
            continue
        yield OutcomeRecord(
            prompt_id=f"mt_bench/{question}",
            prompt=turns_asked[0],
            model=model,
            score=sum(turns) / len(turns) / 10,
            dataset="mt_bench",
            category=text_of(asked.get("category")),
            split="test",
            contaminated=not contaminated.isdisjoint(turns_asked),
        )


def _contaminated(folder: Path) -> set[str]:
    path = folder / "contaminated_prompts.jsonl"
    return {str(row.get("eval_prompt")) for row in read_jsonl(path)} if path.is_file() else set()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
