"""Does the train split hold what is evaluated? Same text, a shared run of twelve words, or nearly the same words."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from evals.near_duplicates import near_duplicate_clusters, shingles

Bools = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]

_WORDS = re.compile(r"\w+")
_RUN = 12
_NONE = np.empty(0, dtype=np.uint64)


@dataclass(frozen=True, slots=True, eq=False)
class Leaks:
    """Which prompts of two splits stand in both.

    Attributes:
        same_text: Test prompts with the same text in the train split, but for case, blanks and punctuation, shape (n,).
        shared_run: Test prompts that share a run of twelve words with it, shape (n,). A run found in more than ten
            prompts, and 0.2 % of them, is a template and does not count; passages that go with several questions do.
        near_duplicate: Test prompts with a near-duplicate in it, shape (n,).
        train: Train prompts that any of these concern, shape (n_train,).
        clusters: Cluster of near-duplicates of each test prompt, shape (n,).
    """

    same_text: Bools
    shared_run: Bools
    near_duplicate: Bools
    train: Bools
    clusters: npt.NDArray[np.int64]

    @property
    def test(self) -> Bools:
        """Test prompts that leak in any of the three ways, shape (n,)."""
        return self.same_text | self.shared_run | self.near_duplicate


def find_leaks(train: Sequence[str], test: Sequence[str]) -> Leaks:
    """Compare two splits.

    Args:
        train: Texts of the train split.
        test: Texts of the evaluated split.
    """
    clusters = near_duplicate_clusters((*test, *train))
    ours, theirs = clusters[: len(test)], clusters[len(test) :]
    plain = [" ".join(_WORDS.findall(text.lower())) or text for text in (*test, *train)]
    same = _in_both([_digest(text) for text in plain], len(test))
    # A text shorter than a run has no run, only its own text.
    runs = [shingles(text, _RUN) if text.count(" ") >= _RUN - 1 else _NONE for text in plain]
    shared = _in_both(runs, len(test), most=max(10, 0.002 * len(plain)))
    near = np.concatenate([np.isin(ours, theirs), np.isin(theirs, ours)])
    concerned = (same | shared | near)[len(test) :]
    return Leaks(same[: len(test)], shared[: len(test)], near[: len(test)], concerned, ours)


def _digest(text: str) -> Hashes:
    return np.frombuffer(blake2b(text.encode(), digest_size=8).digest(), dtype=np.uint64)


def _in_both(marks: Sequence[Hashes], test: int, most: float = math.inf) -> Bools:
    """Which texts share a mark with one on the other side: the first `test` texts, or the others.

    Marks that stand in more than `most` texts do not count.
    """
    owner = np.repeat(np.arange(len(marks)), [len(one) for one in marks])
    _, mark, texts_with = np.unique(np.concatenate(marks), return_inverse=True, return_counts=True)
    here = np.bincount(mark[owner < test], minlength=len(texts_with))
    telling = (here > 0) & (here < texts_with) & (texts_with <= most)
    found = np.zeros(len(marks), dtype=np.bool_)
    found[owner[telling[mark]]] = True
    return found
