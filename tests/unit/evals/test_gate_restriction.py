"""MoE²'s central claim as a test: gates trained once on the full pool stay right on its subsets, hard labels do not."""

import numpy as np
import pytest

from pointsman.evals.studies.gate_restriction import EPSILON, hard_gate, heads, random_subsets, restrict, soft_gate
from pointsman.routers.training.data import TrainingData
from pointsman.routers.training.fit import fit_router


@pytest.fixture(scope="module")
def pool():
    """Twelve experts in two tiers: every strong one is better at everything than any weak one."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(6000, 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    taste = rng.normal(size=(6, 12)) * 0.9
    tier = np.where(np.arange(12) < 3, 2.2, -1.2)
    chance = 1 / (1 + np.exp(-(vectors @ taste * 1.6 + tier)))
    scores = (rng.random(chance.shape) < chance).astype(float)
    # Judged by the chance of being right: the noise of single outcomes is not the question here.
    return (vectors[:3000], scores[:3000]), (vectors[3000:], chance[3000:])


WEAK = [np.array(members) for members in ([3, 4, 5], [6, 7], [8, 9, 10, 11], [3, 7, 11], [4, 9])]


@pytest.mark.parametrize("gate", [heads, soft_gate])
def test_a_gate_trained_once_loses_no_more_than_epsilon_on_any_kind_of_subset(pool, gate):
    subsets = [*random_subsets(12, 15, seed=1), *WEAK]
    found = restrict(gate, *pool, subsets)
    assert abs(found.lost.mean()) <= EPSILON
    assert found.lost.max() <= 3 * EPSILON
    # It would be easy to lose nothing by learning nothing.
    assert (found.masked - found.single).mean() > 2 * EPSILON


def test_independent_heads_lose_nothing_at_all(pool):
    assert np.abs(restrict(heads, *pool, WEAK).lost).max() < 1e-12


def test_hard_labels_fail_where_the_strong_sleep(pool):
    hard, soft = (restrict(gate, *pool, WEAK).lost.mean() for gate in (hard_gate, soft_gate))
    assert hard > EPSILON
    assert hard > 3 * soft


def test_the_fitted_router_is_not_worse_on_a_subset_than_one_fitted_on_it():
    rng = np.random.default_rng(0)
    topics = {"code": "function loop variable compile stack", "law": "court contract appeal clause breach"}
    names = list(topics)
    label = rng.integers(0, 2, 600)
    texts = [f"{at} " + " ".join(rng.choice(topics[names[topic]].split(), 6)) for at, topic in enumerate(label)]
    # Expert n is right more often on the topic n % 2; the first two are better overall.
    chance = np.array([[0.9 - 0.1 * (n // 2) if n % 2 == topic else 0.3 for n in range(6)] for topic in label])
    scores = (rng.random(chance.shape) < chance).astype(float)
    experts = tuple("abcdef")
    train, test = np.arange(400), np.arange(400, 600)

    def routed(columns: list[int], among: list[int]) -> float:
        """Fit on some experts, pick among others; mean chance of being right."""
        parts = fit_router(
            TrainingData(
                [texts[i] for i in train],
                [names[label[i]] for i in train],
                tuple(experts[n] for n in columns),
                scores[np.ix_(train, columns)],
            )
        )
        vectors = parts.embedder.embed([texts[i] for i in test])
        posteriors = np.eye(2, dtype=np.float32)[label[test]]
        known = [parts.quality.experts.index(experts[n]) for n in among]
        best = parts.quality.predict(vectors, posteriors)[:, known].argmax(axis=1)
        return float(np.mean([chance[i, among[pick]] for i, pick in zip(test, best, strict=True)]))

    for members in ([2, 3], [3, 4, 5]):
        assert routed(members, members) - routed(list(range(6)), members) <= EPSILON
