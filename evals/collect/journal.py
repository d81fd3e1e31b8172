"""The journal of a collection: every answer with the content it is an answer to, so that it is never taken for another.

A line is known by what was asked (the prompt's text, and the how-manieth of equal prompts), of whom (name, URL, model
id), and with which parameters; its score by scorer and reference. The row of a file plays no part: prompts may be
inserted, moved or renamed between two runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pointsman.evals.collect.calls import CollectedOutcome, CollectionQuestion, Shard, Target
from pointsman.evals.errors import TableError
from pointsman.evals.importers.reading import read_jsonl

JOURNAL = "collected.jsonl"
_FIELDS = ("answer", "score", "prompt_tokens", "completion_tokens", "latency_ms", "unscored")


@dataclass(frozen=True, slots=True)
class JournalKey:
    """What an answer is an answer to.

    Attributes:
        asked: Hash of the prompt.
        model: Name of the expert.
        of: Hash of the expert's address and model id, and of the parameters.
    """

    asked: str
    model: str
    of: str


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """An answer on record.

    Attributes:
        key: What it is an answer to.
        scored_by: Hash of the scorer and the reference behind its score; empty where it is to be scored again.
        outcome: The answer.
    """

    key: JournalKey
    scored_by: str
    outcome: CollectedOutcome

    def line(self) -> str:
        """As it stands in the file."""
        told = {name: value for name, value in asdict(self.outcome).items() if name in ("prompt_id", *_FIELDS)}
        return json.dumps({**asdict(self.key), "scored_by": self.scored_by, **told}, ensure_ascii=False) + "\n"


def asked_hash(question: CollectionQuestion, occurrence: int) -> str:
    """Hash of what is asked; equal prompts are told apart by their occurrence, counted from 0."""
    return _hash([question.prompt, [dict(turn) for turn in question.messages], occurrence])


def expert_hash(target: Target, like: Shard) -> str:
    """Hash of who is asked, and how."""
    return _hash([target.url, target.model, like.max_tokens])


def scorer_hash(question: CollectionQuestion, like: Shard) -> str:
    """Hash of what decides on a score."""
    judge = None if like.judge is None else [like.judge.url, like.judge.model]
    return _hash([like.rule, judge, question.reference])


def read_journal(path: Path) -> Iterator[JournalEntry]:
    """The answers on record, oldest first.

    Raises:
        TableError: A line was not written here.
    """
    if not path.exists():
        return
    for at, row in enumerate(read_jsonl(path), 1):
        try:
            yield _entry(row)
        except (KeyError, TypeError) as error:
            raise TableError(
                f"{path}, answer {at}: not written by this version of `pointsman collect` ({error}); move the file away"
            ) from None


def latest(entries: Iterable[JournalEntry]) -> dict[JournalKey, JournalEntry]:
    """The last entry of each key."""
    return {entry.key: entry for entry in entries}


def _entry(row: Mapping[str, Any]) -> JournalEntry:
    key = JournalKey(*(_text(row, name) for name in ("asked", "model", "of")))
    answer, unscored = row["answer"], row.get("unscored", "")
    if not (isinstance(answer, str) and isinstance(unscored, str)):
        raise TypeError("`answer` is no text")
    figures: dict[str, Any] = {}
    for name in ("score", "prompt_tokens", "completion_tokens", "latency_ms"):
        value = row.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0):
            raise TypeError(f"`{name}` is {str(value)[:40]!r}")
        figures[name] = value
    outcome = CollectedOutcome(_text(row, "prompt_id"), key.model, answer, unscored=unscored, **figures)
    return JournalEntry(key, _text(row, "scored_by"), outcome)


def _text(row: Mapping[str, Any], name: str) -> str:
    if not isinstance(row[name], str):
        raise TypeError(f"`{name}` is no text")
    return str(row[name])


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
