"""Seeds, neighbours, entropy filter: labels spread where they are sure, and say nothing where they are not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from routers.errors import TrainingError
from routers.training.semi_supervised import propagate


def blobs(n: int = 300, spread: float = 0.25, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around three orthogonal directions, and which one each belongs to."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    vectors = np.eye(8)[truth] + spread * rng.normal(size=(n, 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), truth


def seeded(truth: np.ndarray, share: float, seed: int = 1) -> list[str | None]:
    keep = np.random.default_rng(seed).random(len(truth)) < share
    return [f"c{label}" if kept else None for label, kept in zip(truth, keep, strict=True)]


def test_a_few_labels_become_many_right_ones():
    vectors, truth = blobs()
    seeds = seeded(truth, 0.1)
    found = propagate(vectors, seeds)
    spread = [row for row, label in enumerate(seeds) if label is None and found.labels[row] is not None]
    right = np.mean([found.labels[row] == f"c{truth[row]}" for row in spread])
    assert found.added == len(spread) > 200
    assert right > 0.95
    assert found.seeds + found.added + found.unsure == len(truth)


def test_given_labels_are_never_changed():
    vectors, truth = blobs()
    seeds = seeded(truth, 0.1)
    # A seed that disagrees with all of its neighbours stays what its curator said.
    odd = next(row for row, label in enumerate(seeds) if label is not None)
    seeds[odd] = "c1" if seeds[odd] != "c1" else "c2"
    found = propagate(vectors, seeds)
    assert all(now == given for now, given in zip(found.labels, seeds, strict=True) if given is not None)
    assert math.isnan(found.entropy[odd])


def test_what_lies_between_the_seeds_stays_without_a_label():
    vectors, truth = blobs(spread=0.05)
    between = (np.eye(8)[[0]] + np.eye(8)[[1]]).astype(np.float32) / np.float32(np.sqrt(2))
    found = propagate(np.concatenate([vectors, between]), [*seeded(truth, 0.2), None], k=20, max_entropy=0.4)
    assert found.labels[-1] is None
    assert found.entropy[-1] == pytest.approx(math.log(2), abs=0.15)
    assert found.added > 0.9 * (len(truth) - found.seeds)


def test_the_filter_is_chosen_so_that_held_out_seeds_come_out_right():
    # Blobs that overlap: without a filter far fewer than nine in ten labels are right.
    vectors, truth = blobs(n=2000, spread=0.6)
    seeds = seeded(truth, 0.15)

    def accuracy(labels: tuple[str | None, ...]) -> float:
        spread = [row for row, label in enumerate(seeds) if label is None and labels[row] is not None]
        return float(np.mean([labels[row] == f"c{truth[row]}" for row in spread]))

    everything = propagate(vectors, seeds, max_entropy=10.0)
    filtered = propagate(vectors, seeds, precision=0.9)
    assert everything.unsure == 0
    assert accuracy(everything.labels) < 0.87
    assert accuracy(filtered.labels) > 0.87
    assert filtered.precision >= 0.9
    assert 0 < filtered.added < everything.added


def test_when_held_out_seeds_are_never_right_nothing_is_labelled():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    # Ten labels drawn by lot: nothing to learn.
    seeds = [f"c{rng.integers(0, 10)}" if row < 100 else None for row in range(200)]
    found = propagate(vectors, seeds, precision=0.95)
    assert found.added < 10
    assert found.unsure > 90


def test_seeds_of_one_category_propagate_nothing():
    vectors, _ = blobs(20)
    with pytest.raises(TrainingError, match="at least two categories"):
        propagate(vectors, ["c0", None] * 10)


def test_the_same_seed_gives_the_same_labels():
    vectors, truth = blobs(spread=0.5)
    seeds = seeded(truth, 0.1)
    assert propagate(vectors, seeds).labels == propagate(vectors, seeds).labels
