"""A collection: divided into shards, run anywhere, with a journal from which an interrupted one resumes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pointsman.evals.collect.calls import CollectedOutcome, CollectionQuestion, Shard, Target, ask
from pointsman.evals.errors import TableError
from pointsman.evals.importers.plain import read_rows
from pointsman.evals.importers.records import OutcomeRecord, read_jsonl
from pointsman.evals.importers.table_writer import ImportSummary, write_table
from pointsman.evals.parallel import Workers, each
from pointsman.evals.table_io import OUTCOMES, PARTS, PROMPTS
from pointsman.experts.spec import Price

JOURNAL = "collected.jsonl"
_SHARD = 64


@dataclass(frozen=True, slots=True)
class CollectionPrompt:
    """A prompt to collect outcomes for, with its labels where there are some."""

    question: CollectionQuestion
    dataset: str | None
    category: str | None
    split: str | None


def read_prompts(path: Path) -> list[CollectionPrompt]:
    """Prompts of a CSV, JSON Lines or Parquet file: `prompt`, and perhaps `prompt_id`, `reference` and labels.

    Raises:
        TableError: There is no column `prompt`, no prompt, or an id stands twice.
    """
    found: list[CollectionPrompt] = []
    for at, row in enumerate(read_rows(path)):
        if not row.get("prompt"):
            raise TableError(f"{path}: row {at} has no `prompt`; it has {', '.join(row)}")

        def text(name: str, row: Mapping[str, object] = row) -> str | None:
            return None if row.get(name) in (None, "") else str(row[name])

        question = CollectionQuestion(text("prompt_id") or f"{path.stem}/{at}", str(row["prompt"]), text("reference"))
        found.append(CollectionPrompt(question, text("dataset"), text("category"), text("split")))
    ids = Counter(one.question.prompt_id for one in found)
    if again := [name for name, count in ids.items() if count > 1]:
        raise TableError(f"{path}: prompt_id {again[0]!r} stands twice")
    if not found:
        raise TableError(f"{path}: holds no prompt")
    return found


def collect(
    prompts: Sequence[CollectionPrompt],
    targets: Sequence[Target],
    out: Path,
    like: Shard,
    *,
    prices: Mapping[str, Price],
    workers: Workers,
    told: Callable[[float], None] = lambda _: None,
) -> ImportSummary:
    """Ask every expert every prompt that the journal does not hold yet, then write the table.

    Args:
        prompts: What to ask.
        targets: The experts to ask.
        out: Folder of the journal and the table.
        like: A shard with the settings of all; its target and questions are replaced.
        prices: Model -> price; the cost of a model without one stays unknown.
        workers: Where the calls are made.
        told: Told the share that is done.

    Raises:
        TableError: No call succeeded, or the folder holds a table already.
    """
    out.mkdir(parents=True, exist_ok=True)
    journal = out / JOURNAL
    if (out / PROMPTS).exists() and not journal.exists():
        raise TableError(f"{out}: holds a table that was not collected here")
    _make_way(out, journal)
    done = {(one.prompt_id, one.model) for one in _journal(journal)}
    shards = [shard for target in targets for shard in _shards(prompts, target, like, done)]
    dropped: Counter[str] = Counter()
    with journal.open("a", encoding="utf-8") as file:
        for count, (_, answers) in enumerate(each(ask, shards, workers), 1):
            for one in answers:
                if one.failure:
                    dropped[f"{one.model}: call failed, to be asked again ({one.failure})"] += 1
                else:
                    file.write(json.dumps(asdict(one), ensure_ascii=False) + "\n")
            file.flush()
            told(count / len(shards))
    return write_table(_records(prompts, _journal(journal), prices), out, dropped)


def _make_way(out: Path, journal: Path) -> None:
    """Cut off a line that an interruption left half-written, and take away the table made from an earlier run."""
    if not journal.exists():
        return
    told = journal.read_bytes()
    whole = told.rfind(b"\n") + 1
    if whole < len(told):
        journal.write_bytes(told[:whole])
    for path in (out / PROMPTS, out / OUTCOMES, *(out / PARTS).glob("part-*.parquet")):
        path.unlink(missing_ok=True)
    if (out / PARTS).is_dir():
        (out / PARTS).rmdir()


def _shards(
    prompts: Sequence[CollectionPrompt], target: Target, like: Shard, done: set[tuple[str, str]]
) -> Iterator[Shard]:
    left = [one.question for one in prompts if (one.question.prompt_id, target.name) not in done]
    for start in range(0, len(left), _SHARD):
        yield replace(like, target=target, questions=tuple(left[start : start + _SHARD]))


def _journal(path: Path) -> Iterator[CollectedOutcome]:
    if path.exists():
        yield from (CollectedOutcome(**row) for row in read_jsonl(path))


def _records(
    prompts: Sequence[CollectionPrompt], answers: Iterator[CollectedOutcome], prices: Mapping[str, Price]
) -> Iterator[OutcomeRecord]:
    by_id = {one.question.prompt_id: one for one in prompts}
    for answer in answers:
        about = by_id.get(answer.prompt_id)
        if about is None:
            continue
        price, cost = prices.get(answer.model), None
        if price is not None and answer.prompt_tokens is not None and answer.completion_tokens is not None:
            cost = price.cost_usd(answer.prompt_tokens, answer.completion_tokens)
        yield OutcomeRecord(
            prompt_id=answer.prompt_id,
            prompt=about.question.prompt,
            model=answer.model,
            score=answer.score,
            dataset=about.dataset,
            category=about.category,
            split=about.split,
            cost_usd=cost,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            latency_ms=answer.latency_ms,
            answer=answer.answer,
        )
