"""Pairs of questions that say the same, and pairs that do not: what the semantic cache is judged on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pointsman.evals.table_io import read_prompts
from pointsman.routers.artifacts import load_router
from pointsman.routers.embed import plain_embedder
from pointsman.routers.null_experts.examples import unit
from pointsman.routers.null_experts.guards import Signature, difference, signature
from pointsman.routers.types import FloatArray

#: Least cosine of the shipped setting `null_experts.answers.threshold`.
THRESHOLD = 0.7

#: Intent of the questions that belong to none.
_OUTSIDE = "oos"

_PLACES = ("france", "japan", "italy", "mexico", "spain", "london", "paris", "chicago", "texas", "china", "germany")
_OPPOSITES = (
    ("on", "off"),
    ("up", "down"),
    ("increase", "decrease"),
    ("add", "remove"),
    ("high", "low"),
    ("open", "close"),
    ("before", "after"),
    ("first", "last"),
    ("next", "previous"),
    ("more", "less"),
    ("start", "stop"),
)
_OTHER_NUMBER = {"one": "two", "two": "three", "three": "four", "four": "five", "five": "six", "ten": "twelve"}


def _number(text: str) -> str:
    grown = re.sub(r"\d+", lambda found: str(int(found[0]) + 1), text, count=1)
    words = "|".join(_OTHER_NUMBER)
    return grown if grown != text else re.sub(rf"\b({words})\b", lambda found: _OTHER_NUMBER[found[1]], text, count=1)


def _negation(text: str) -> str:
    return re.sub(r"\b(is|are|can|do|does|should|will|did|was)\b (?!you\b|not\b)", r"\1 not ", text, count=1)


def _place(text: str) -> str:
    def other(found: re.Match[str]) -> str:
        return _PLACES[(_PLACES.index(found[1]) + 1) % len(_PLACES)]

    return re.sub(rf"\b({'|'.join(_PLACES)})\b", other, text, count=1)


def _direction(text: str) -> str:
    swapped = re.sub(r"\bfrom (\w+) to (\w+)\b", r"from \2 to \1", text)
    # At the end of a sentence, where what stands after "to" is a goal and not a verb's object.
    start, goal = (
        r"(?!(?:able|going|want|need|have|like)\b)(\w{4,})",
        r"(?!(?:that|this|them|there|what|with)\b)(\w{4,})",
    )
    end = rf"\b{start} (to|into) {goal}$"
    return swapped if swapped != text else re.sub(end, r"\3 \2 \1", text)


def _opposite(text: str) -> str:
    other = {one: two for pair in _OPPOSITES for one, two in (pair, pair[::-1])}
    return re.sub(rf"\b({'|'.join(other)})\b", lambda found: other[found[1]], text, count=1)


def _person(text: str) -> str:
    return re.sub(r"\b(my|your)\b", lambda found: "your" if found[1] == "my" else "my", text, count=1)


def _tense(text: str) -> str:
    return re.sub(r"\b(do|did) (i|we|they)\b", lambda f: f"{'did' if f[1] == 'do' else 'do'} {f[2]}", text, count=1)


#: What changes the meaning; a prompt that it does not touch has no such pair.
CHANGES: Mapping[str, Callable[[str], str]] = {
    "another number": _number,
    "negated": _negation,
    "another place": _place,
    "direction turned round": _direction,
    "the opposite": _opposite,
    "my for your": _person,
    "past for present": _tense,
}

_QUESTION = r"(what|where|when|how|why|who)\b"
#: What leaves it as it is.
REPEATS: Mapping[str, Callable[[str], str]] = {
    "case and punctuation": lambda text: text[:1].upper() + text[1:] + ("?" if re.match(_QUESTION, text) else "."),
    "please": lambda text: f"please {text}" if not re.match(_QUESTION, text) else f"{text} please",
    "a greeting": lambda text: f"hey, {text}",
    "can you tell me": lambda text: f"can you tell me {text}" if re.match(_QUESTION, text) else text,
    "contracted": lambda text: re.sub(r"\b(what|where|how|who) is\b", r"\1's", text, count=1),
    "spelt out": lambda text: re.sub(r"\b(what|where|how|who)'s\b", r"\1 is", text, count=1),
}


@dataclass(frozen=True, slots=True)
class Count:
    """So many of so many."""

    hits: int
    of: int


@dataclass(frozen=True, slots=True)
class RecognitionResult:
    """The results of one method to recognise questions.

    Attributes:
        changed: Kind of change -> pairs that are taken for the same, all of them wrong.
        repeated: Kind of repeat -> pairs that are taken for the same, all of them right.
        answered: Real questions for which a stored one is taken for the same.
        wrong: Of these, those whose stored question has another intent.
    """

    changed: Mapping[str, Count]
    repeated: Mapping[str, Count]
    answered: Count
    wrong: Count


@dataclass(frozen=True, slots=True, eq=False)
class _Questions:
    texts: tuple[str, ...]
    intents: tuple[str, ...]
    vectors: FloatArray
    said: tuple[Signature, ...]


class NearQuestions:
    """clinc150's questions: those of its train split are stored, the others are asked.

    Args:
        data: Folder of the tables.
        most: Questions asked at most; None for all.
    """

    def __init__(self, data: Path, most: int | None = None) -> None:
        self._embedder = plain_embedder(load_router("default").embedder)
        rows = read_prompts(data / "clinc150").to_dicts()
        stored = [row for row in rows if row["split"] == "train"]
        asked = [row for row in rows if row["split"] != "train"][:most]
        self._stored, self._asked = self._read(stored), self._read(asked)
        # The nearest stored questions of each: more than one, because the nearest may fail the guards.
        self._near = np.argsort(-(self._asked.vectors @ self._stored.vectors.T), axis=1)[:, :10]
        self._changed = {name: self._pairs(change) for name, change in CHANGES.items()}
        self._repeated = {name: self._pairs(change) for name, change in REPEATS.items()}

    @property
    def stored(self) -> int:
        """How many questions are stored."""
        return len(self._stored.texts)

    def judge(self, least: float, *, guarded: bool) -> RecognitionResult:
        """Count what a cosine of at least `least` takes for the same, with or without the guards."""

        def count(pairs: tuple[npt.NDArray[np.int64], _Questions]) -> Count:
            rows, others = pairs
            cosine = np.einsum("nd,nd->n", self._asked.vectors[rows], others.vectors)
            same = [
                near >= least and (not guarded or difference(self._asked.said[row], said) is None)
                for row, near, said in zip(rows.tolist(), cosine.tolist(), others.said, strict=True)
            ]
            return Count(sum(same), len(same))

        answered = wrong = 0
        for row in range(len(self._asked.texts)):
            found = self._first(row, least, guarded=guarded)
            if found is not None:
                answered += 1
                wrong += self._stored.intents[found] != self._asked.intents[row]
        return RecognitionResult(
            {name: count(pairs) for name, pairs in self._changed.items()},
            {name: count(pairs) for name, pairs in self._repeated.items()},
            Count(answered, len(self._asked.texts)),
            Count(wrong, answered),
        )

    def blocked(self, examples: int, least: float) -> tuple[Count, Count]:
        """Block each intent in turn by so many examples of it, as `null_experts.refusal` does.

        Returns:
            Questions of the blocked intent that are not refused, and questions of others that are.
        """
        leaked = refused = of_blocked = of_others = 0
        stored, asked = np.array(self._stored.intents), np.array(self._asked.intents)
        for intent in np.unique(stored[stored != _OUTSIDE]):
            topic = self._stored.vectors[np.flatnonzero(stored == intent)[:examples]]
            stopped = (self._asked.vectors @ topic.T).max(axis=1) >= least
            own = asked == intent
            leaked += int((own & ~stopped).sum())
            refused += int((~own & stopped).sum())
            of_blocked += int(own.sum())
            of_others += int((~own).sum())
        return Count(leaked, of_blocked), Count(refused, of_others)

    def _first(self, row: int, least: float, *, guarded: bool) -> int | None:
        for near in self._near[row].tolist():
            if self._asked.vectors[row] @ self._stored.vectors[near] < least:
                return None
            if not guarded or difference(self._asked.said[row], self._stored.said[near]) is None:
                return int(near)
        return None

    def _pairs(self, change: Callable[[str], str]) -> tuple[npt.NDArray[np.int64], _Questions]:
        pairs = [(row, change(text)) for row, text in enumerate(self._asked.texts)]
        kept = [(row, other) for row, other in pairs if other != self._asked.texts[row]]
        rows = np.array([row for row, _ in kept], dtype=np.int64)
        return rows, self._read([{"prompt": other, "intent": ""} for _, other in kept])

    def _read(self, rows: Sequence[Mapping[str, str]]) -> _Questions:
        texts = tuple(row["prompt"] for row in rows)
        vectors = unit(self._embedder.embed(texts)) if texts else np.zeros((0, self._embedder.dim), np.float32)
        return _Questions(texts, tuple(row["intent"] for row in rows), vectors, tuple(map(signature, texts)))
