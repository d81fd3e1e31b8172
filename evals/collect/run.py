"""A collection: divided into shards, run anywhere, with a journal from which an interrupted one resumes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pointsman.evals.collect.calls import JUDGE_FAILED, CollectedOutcome, CollectionQuestion, Shard, Target, ask
from pointsman.evals.collect.journal import (
    JOURNAL,
    JournalEntry,
    JournalKey,
    asked_hash,
    expert_hash,
    latest,
    read_journal,
    scorer_hash,
)
from pointsman.evals.collect.scorers import READERS
from pointsman.evals.errors import TableError
from pointsman.evals.importers.prompts import chat_turns, prompt_text
from pointsman.evals.importers.reading import read_rows
from pointsman.evals.importers.records import NOTE, OutcomeRecord, text_of
from pointsman.evals.importers.table_writer import ImportSummary, write_table
from pointsman.evals.parallel import Workers, each
from pointsman.evals.table_io import OUTCOMES, PARTS, PROMPTS
from pointsman.experts.spec import Price

_SHARD = 64


@dataclass(frozen=True, slots=True)
class CollectionPrompt:
    """A prompt to collect outcomes for, with its labels where there are some.

    Attributes:
        question: What is asked.
        asked: Hash of it, as the journal knows it.
    """

    question: CollectionQuestion
    asked: str
    dataset: str | None
    category: str | None
    split: str | None


def read_prompts(path: Path) -> list[CollectionPrompt]:
    """Prompts of a table: `prompt` (a text or a chat), and perhaps `prompt_id`, `reference` and labels.

    Without a `prompt_id` the text makes one.

    Raises:
        TableError: There is no column `prompt`, a prompt is empty, there is none, or an id stands twice.
    """
    found: list[CollectionPrompt] = []
    seen: Counter[str] = Counter()
    for at, row in enumerate(read_rows(path), 1):
        if "prompt" not in row:
            raise TableError(f"{path}, row {at}: no column `prompt`; there are {', '.join(map(str, row))}")
        prompt = prompt_text(row["prompt"]) or ""
        if not prompt.strip():
            raise TableError(f"{path}, row {at}: the column `prompt` is empty")
        turns = chat_turns(row["prompt"])
        question = CollectionQuestion("", prompt, text_of(row.get("reference")), tuple(turns or ()))
        occurrence = seen[asked_hash(question, 0)]
        seen[asked_hash(question, 0)] += 1
        made = hashlib.sha1(prompt.encode(), usedforsecurity=False).hexdigest()[:16]
        name = text_of(row.get("prompt_id")) or f"{path.stem}/{made}{f'/{occurrence}' if occurrence else ''}"
        labels = (text_of(row.get(label)) for label in ("dataset", "category", "split"))
        found.append(CollectionPrompt(replace(question, prompt_id=name), asked_hash(question, occurrence), *labels))
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
    """Ask every expert every prompt that the journal does not hold yet, score what is not scored so, write the table.

    Args:
        prompts: What to ask.
        targets: The experts to ask.
        out: Folder of the journal and the table.
        like: A shard with the settings of all; its target and questions are replaced.
        prices: Model -> price; the cost of a model without one stays unknown.
        workers: Where the calls are made.
        told: Told the share that is done.

    Raises:
        TableError: Nothing can be scored (nobody is asked then), no call succeeded, or the folder holds something else.
    """
    names = Counter(target.name for target in targets)
    if again := [name for name, count in names.items() if count > 1]:
        raise TableError(f"--expert: two experts are named {again[0]!r}; a table tells them apart by their names")
    dropped: Counter[str] = Counter()
    prompts = _scorable(prompts, like, dropped)
    out.mkdir(parents=True, exist_ok=True)
    journal = out / JOURNAL
    if not journal.exists() and any((out / name).exists() for name in (PROMPTS, OUTCOMES, PARTS)):
        raise TableError(f"{out}: holds a table that was not collected here")
    known = latest(read_journal(_whole(journal)))
    _make_way(out)
    questions = {one.asked: one for one in prompts}
    shards = [shard for target in targets for shard in _shards(prompts, target, like, known)]
    by_id = {one.question.prompt_id: one for one in prompts}
    experts = {target.name: expert_hash(target, like) for target in targets}
    with journal.open("a", encoding="utf-8") as file:
        for count, (_, answers) in enumerate(each(ask, shards, workers), 1):
            for one in answers:
                if one.failure:
                    dropped[f"{one.model}: call failed, to be asked again ({one.failure})"] += 1
                    continue
                asked = by_id[one.prompt_id]
                scored_by = "" if one.unscored.startswith(JUDGE_FAILED) else scorer_hash(asked.question, like)
                file.write(JournalEntry(JournalKey(asked.asked, one.model, experts[one.model]), scored_by, one).line())
            file.flush()
            told(count / len(shards))
    entries = _wanted(latest(read_journal(journal)), questions, experts, like, dropped)
    return write_table(_records(entries, questions, prices, like, dropped), out, dropped)


def _scorable(prompts: Sequence[CollectionPrompt], like: Shard, dropped: Counter[str]) -> Sequence[CollectionPrompt]:
    """The prompts whose answers can be scored: nobody pays for an answer that nothing can be compared with."""
    if like.rule is None:
        return prompts
    read = READERS[like.rule]
    unreadable = [one for one in prompts if one.question.reference is not None and read(one.question.reference) is None]
    missing = [one for one in prompts if one.question.reference is None]
    if len(unreadable) + len(missing) == len(prompts):
        what = f"{len(missing)} of {len(prompts)} prompts have no `reference`"
        if unreadable:
            example = str(unreadable[0].question.reference)[:60]
            what += f", and {len(unreadable)} have one that {like.rule} cannot read, such as {example!r}"
        raise TableError(f"nothing can be scored by {like.rule}: {what}. Nobody was asked")
    if missing:
        dropped["prompt without a `reference`: not asked"] += len(missing)
    if unreadable:
        example = str(unreadable[0].question.reference)[:60]
        dropped[f"prompt whose reference {like.rule} cannot read, such as {example!r}: not asked"] += len(unreadable)
    left = {one.asked for one in (*unreadable, *missing)}
    return [one for one in prompts if one.asked not in left]


def _whole(journal: Path) -> Path:
    """Cut off a line that an interruption left half-written."""
    if journal.exists():
        told = journal.read_bytes()
        whole = told.rfind(b"\n") + 1
        if whole < len(told):
            journal.write_bytes(told[:whole])
    return journal


def _make_way(out: Path) -> None:
    """Take away the table made from an earlier run."""
    for path in (out / PROMPTS, out / OUTCOMES, *(out / PARTS).glob("part-*.parquet")):
        path.unlink(missing_ok=True)
    if (out / PARTS).is_dir():
        (out / PARTS).rmdir()


def _shards(
    prompts: Sequence[CollectionPrompt], target: Target, like: Shard, known: Mapping[JournalKey, JournalEntry]
) -> Iterator[Shard]:
    left: list[CollectionQuestion] = []
    for one in prompts:
        entry = known.get(JournalKey(one.asked, target.name, expert_hash(target, like)))
        if entry is None:
            left.append(one.question)
        elif entry.scored_by != scorer_hash(one.question, like):
            answered = replace(entry.outcome, prompt_id=one.question.prompt_id)
            left.append(replace(one.question, known_answer=answered))
    for start in range(0, len(left), _SHARD):
        yield replace(like, target=target, questions=tuple(left[start : start + _SHARD]))


def _wanted(
    known: Mapping[JournalKey, JournalEntry],
    questions: Mapping[str, CollectionPrompt],
    experts: Mapping[str, str],
    like: Shard,
    dropped: Counter[str],
) -> list[JournalEntry]:
    """The answers that belong into the table: to these prompts, and scored so; of experts of earlier runs too."""
    kept: dict[tuple[str, str], JournalEntry] = {}
    for key, entry in known.items():
        about = questions.get(key.asked)
        if about is None:
            dropped["noted answer to a prompt that is not asked now"] += 1
        elif key.model in experts and experts[key.model] != key.of:
            dropped["noted answer of the expert at another URL, of another model, or with other parameters"] += 1
        elif entry.scored_by not in (scorer_hash(about.question, like), ""):
            dropped["noted answer that another scorer scored, of an expert that is not named now"] += 1
        else:
            kept[key.asked, key.model] = entry
    return list(kept.values())


def _records(
    entries: Sequence[JournalEntry],
    questions: Mapping[str, CollectionPrompt],
    prices: Mapping[str, Price],
    like: Shard,
    dropped: Counter[str],
) -> Iterator[OutcomeRecord]:
    for entry in entries:
        about, answer = questions[entry.key.asked], entry.outcome
        if answer.score is None:
            dropped[f"score of an answer: {answer.unscored or 'it is to be scored again'}"] += 1
        elif like.rule is not None and READERS[like.rule](answer.answer or "") is None:
            dropped[f"{NOTE}scored 0: no {_READ_AS[like.rule]} found in an answer of {answer.model}"] += 1
        yield OutcomeRecord(
            prompt_id=about.question.prompt_id,
            prompt=about.question.prompt,
            model=answer.model,
            score=answer.score,
            dataset=about.dataset,
            category=about.category,
            split=about.split,
            cost_usd=_cost_usd(answer, prices.get(answer.model)),
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            latency_ms=answer.latency_ms,
            answer=answer.answer,
        )


_READ_AS = {"exact": "text", "choice": "letter", "number": "number"}


def _cost_usd(answer: CollectedOutcome, price: Price | None) -> float | None:
    if price is None or answer.prompt_tokens is None or answer.completion_tokens is None:
        return None
    return price.cost_usd(answer.prompt_tokens, answer.completion_tokens)
