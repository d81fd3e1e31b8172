"""Seeds, neighbours, entropy filter: labels spread where they are sure, and say nothing where they are not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pointsman.routers.errors import TrainingError
from pointsman.routers.training.data import TrainingData
from pointsman.routers.training.fit import make_embedder
from pointsman.routers.training.semi_supervised import label_the_rest, propagate


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


TOPICS = {
    "weather": "will it rain snow storm sunny cloudy windy tomorrow forecast umbrella",
    "kitchen": "bake fry boil roast oven flour butter recipe dinner soup",
    "money": "bank account balance transfer loan interest credit card payment bill",
}


def requests(n: int = 150, share: float = 0.2) -> tuple[TrainingData, list[str | None]]:
    """Requests on three topics, most of them without their label, and two that belong nowhere."""
    rng = np.random.default_rng(0)
    truth: list[str | None] = [list(TOPICS)[at] for at in rng.integers(0, 3, n)]
    texts = [" ".join(rng.choice(TOPICS[str(topic)].split(), 5)) for topic in truth]
    labels = [topic if rng.random() < share else None for topic in truth]
    outside = np.array([False] * n + [True] * 2)
    data = TrainingData(
        [*texts, "zebra violin", "qwerty"], [*labels, None, None], (), np.zeros((n + 2, 0)), out_of_scope=outside
    )
    return data, [*truth, None, None]


def test_training_data_gets_its_labels_and_a_note_of_them():
    data, truth = requests()
    found = label_the_rest(data, encoder=make_embedder(None))
    added = [
        row for row, (now, given) in enumerate(zip(found.categories, data.categories, strict=True)) if now != given
    ]
    note = found.provenance["propagated_labels"]
    assert len(added) == note["added"] > 60
    assert np.mean([found.categories[row] == truth[row] for row in added]) > 0.9
    assert found.categories[-2:] == [None, None]


def test_data_without_holes_or_without_labels_comes_back_as_it_was():
    data, truth = requests()
    for categories in (truth, [None] * len(data)):
        whole = TrainingData(data.texts, categories, (), data.scores, out_of_scope=data.out_of_scope)
        assert label_the_rest(whole, encoder=make_embedder(None)) is whole
