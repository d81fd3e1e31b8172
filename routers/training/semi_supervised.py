"""Labels for all from labels for few: seed set, neighbours, entropy filter.

    p_c(x) = vote share of the k nearest seeds,   H(x) = -Σ_c p_c ln p_c,   label argmax_c p_c where H(x) ≤ H_max

The recipe is that of Composition of Experts' sister paper (arXiv 2408.08808): embed everything, curate a few labels by
hand, let k-NN label the rest, drop what is uncertain. H_max, where it is not given, is the largest entropy up to which
the seeds themselves, each held out in turn, are labelled right as often as asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pointsman.routers.classifiers.knn import KnnClassifier
from pointsman.routers.classifiers.uncertainty import Thresholds
from pointsman.routers.embed import StorableEmbedder
from pointsman.routers.errors import TrainingError
from pointsman.routers.training.data import TrainingData
from pointsman.routers.types import FloatArray

#: Neighbours asked, and the temperature of their votes (see `KnnClassifier`).
NEIGHBOURS = 10
TEMPERATURE = 0.1

#: Sentence encoder that finds the neighbours; it comes in a package of the extra 'train'.
ENCODER = "all-MiniLM-L6-v2"

#: Share of held-out seeds that must be labelled right for the rest to be labelled at that entropy.
PRECISION = 0.9

#: Folds in which seeds are held out, and prompts labelled in one go.
FOLDS = 5
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class PropagatedLabels:
    """Labels after propagation.

    Attributes:
        labels: Seed labels as given, propagated ones where the neighbours agree, None where they do not.
        entropy: Of the votes in nats, NaN for seeds, shape (n,).
        max_entropy: Above which no label was given.
        precision: Share of held-out seeds below `max_entropy` that were labelled right; NaN when there were none.
        seeds: How many labels were given.
        added: How many were propagated.
        unsure: How many prompts stay without.
    """

    labels: tuple[str | None, ...]
    entropy: npt.NDArray[np.float64]
    max_entropy: float
    precision: float
    seeds: int
    added: int
    unsure: int


def propagate(
    vectors: FloatArray,
    seed_labels: Sequence[str | None],
    *,
    k: int = NEIGHBOURS,
    max_entropy: float | None = None,
    precision: float = PRECISION,
    seed: int = 0,
) -> PropagatedLabels:
    """Label the prompts without a label by their nearest seeds.

    Args:
        vectors: Unit rows of all prompts, shape (n, dim).
        seed_labels: Label of each prompt, None where there is none.
        k: Seeds asked.
        max_entropy: Entropy of the votes in nats above which a prompt stays without a label; None to choose it on
            held-out seeds.
        precision: Share of held-out seeds that must come out right when it is chosen.
        seed: Of the folds in which seeds are held out.

    Raises:
        TrainingError: Fewer than two labels are in use.
    """
    names = sorted({label for label in seed_labels if label is not None})
    if len(names) < 2:
        raise TrainingError("propagating labels needs seeds of at least two categories")
    index = {name: number for number, name in enumerate(names)}
    coded = np.array([-1 if label is None else index[label] for label in seed_labels])
    seeds, rest = np.flatnonzero(coded >= 0), np.flatnonzero(coded < 0)
    held_entropy, right = _held_out(vectors[seeds], coded[seeds], names, k, seed)
    limit = _largest_entropy(held_entropy, right, precision) if max_entropy is None else max_entropy
    posterior = _votes(vectors[seeds], coded[seeds], names, k, vectors[rest])
    entropy = np.full(len(vectors), np.nan)
    entropy[rest] = _entropies(posterior)
    labels = list(seed_labels)
    for row, best in zip(rest, posterior.argmax(axis=1), strict=True):
        if entropy[row] <= limit:
            labels[row] = names[best]
    sure = held_entropy <= limit
    added = int((entropy[rest] <= limit).sum())
    return PropagatedLabels(
        labels=tuple(labels),
        entropy=entropy,
        max_entropy=limit,
        precision=float(right[sure].mean()) if sure.any() else float("nan"),
        seeds=len(seeds),
        added=added,
        unsure=len(rest) - added,
    )


def label_the_rest(data: TrainingData, seed: int = 0, encoder: StorableEmbedder | None = None) -> TrainingData:
    """A router's training data with labels propagated; unchanged where no prompt lacks one, or none has one.

    Neighbours are found with a sentence encoder, whatever the router itself will embed with: what it knows of meaning
    is what the labels gain (measured in `docs/results/categories.md`). Out-of-scope prompts stay without a label.

    Args:
        data: With labels for some of the prompts.
        seed: As in `propagate`.
        encoder: Finds the neighbours; None for all-MiniLM-L6-v2.

    Raises:
        TrainingError: Fewer than two labels are in use.
        EmbedderError: The sentence encoder cannot be had.
    """
    outside = np.zeros(len(data), dtype=bool) if data.out_of_scope is None else data.out_of_scope
    inside = np.flatnonzero(~outside).tolist()
    known = [data.categories[row] for row in inside]
    if all(known) or not any(known):
        return data
    if encoder is None:
        from pointsman.routers.embed.sentence_transformers import SentenceTransformersEmbedder

        encoder = SentenceTransformersEmbedder(ENCODER)
    found = propagate(encoder.embed([data.texts[row] for row in inside]), known, seed=seed)
    categories = list(data.categories)
    for row, label in zip(inside, found.labels, strict=True):
        categories[row] = label
    note = {
        "seeds": found.seeds,
        "added": found.added,
        "unsure": found.unsure,
        "max_entropy": found.max_entropy,
        "held_out_precision": None if np.isnan(found.precision) else found.precision,
    }
    return replace(data, categories=categories, provenance={**data.provenance, "propagated_labels": note})


def _votes(
    known: FloatArray, labels: npt.NDArray[np.int64], names: Sequence[str], k: int, vectors: FloatArray
) -> FloatArray:
    """Posterior of the vectors by their nearest known neighbours, shape (n, C)."""
    nobody = Thresholds(max_entropy=float("inf"), min_scope=float("-inf"))
    voters = KnnClassifier(names, known, labels, k=k, temperature=TEMPERATURE, thresholds=nobody)
    blocks = [voters.posteriors(vectors[at : at + _BLOCK])[0] for at in range(0, len(vectors), _BLOCK)]
    return np.concatenate(blocks) if blocks else np.zeros((0, len(names)), dtype=np.float32)


def _held_out(
    known: FloatArray, labels: npt.NDArray[np.int64], names: Sequence[str], k: int, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Entropy of every seed's votes by the other folds' seeds, and whether they are right."""
    fold = np.random.default_rng(seed).permutation(len(known)) % FOLDS
    entropy = np.full(len(known), np.inf)
    right = np.zeros(len(known), dtype=bool)
    for number in range(FOLDS):
        here = fold == number
        if here.any() and not here.all():
            posterior = _votes(known[~here], labels[~here], names, k, known[here])
            entropy[here] = _entropies(posterior)
            right[here] = posterior.argmax(axis=1) == labels[here]
    return entropy, right


def _largest_entropy(entropy: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], precision: float) -> float:
    """The largest entropy up to which at least that share is right; below every entropy when there is none."""
    order = np.argsort(entropy, kind="stable")
    shares = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(shares >= precision)
    return float(entropy[order[enough[-1]]]) if len(enough) else -1.0


def _entropies(posterior: FloatArray) -> npt.NDArray[np.float64]:
    p = posterior.astype(np.float64)
    return -np.asarray((p * np.log(np.maximum(p, 1e-30))).sum(axis=1))
