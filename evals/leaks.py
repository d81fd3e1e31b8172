"""Does the train split hold what is evaluated? Same text, a shared run of twelve words, or nearly the same words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pointsman.evals.near_duplicates import SHINGLE, clusters_of
from pointsman.evals.shingles import ShingleHashes, hashed_words, shingles

Bools = npt.NDArray[np.bool_]

_RUN = 12


@dataclass(frozen=True, slots=True, eq=False)
class SplitLeakage:
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


def find_leaks(train: Sequence[str], test: Sequence[str]) -> SplitLeakage:
    """Compare two splits.

    Args:
        train: Texts of the train split.
        test: Texts of the evaluated split.
    """
    words = hashed_words((*test, *train), SHINGLE)
    clusters = clusters_of(words)
    ours, theirs = clusters[: len(test)], clusters[len(test) :]
    same = _in_both(_whole(words), len(test))
    # A text shorter than a run has no run, only its own text.
    shared = _in_both(shingles(words, _RUN), len(test), most=max(10, 0.002 * words.texts))
    near = np.concatenate([np.isin(ours, theirs), np.isin(theirs, ours)])
    concerned = (same | shared | near)[len(test) :]
    return SplitLeakage(same[: len(test)], shared[: len(test)], near[: len(test)], concerned, ours)


def _whole(words: ShingleHashes) -> ShingleHashes:
    """One hash per text, of all its words in order."""
    bounds = words.bounds()
    digests = b"".join(
        blake2b(words.values[start:end].tobytes(), digest_size=8).digest() for start, end in pairwise(bounds)
    )
    return ShingleHashes(np.frombuffer(digests, dtype=np.uint64), np.arange(words.texts), words.texts)


def _in_both(marks: ShingleHashes, test: int, most: float = math.inf) -> Bools:
    """Which texts share a mark with one on the other side: the first `test` texts, or the others.

    Marks that stand in more than `most` texts do not count.
    """
    _, mark, texts_with = np.unique(marks.values, return_inverse=True, return_counts=True)
    here = np.bincount(mark[marks.owner < test], minlength=len(texts_with))
    telling = (here > 0) & (here < texts_with) & (texts_with <= most)
    found = np.zeros(marks.texts, dtype=np.bool_)
    found[marks.owner[telling[mark]]] = True
    return found
