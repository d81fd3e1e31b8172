"""The uncertain category is chosen by what it is worth, not by how often the classifier errs."""

from __future__ import annotations

import numpy as np

from pointsman.routers.training.uncertain import choose_max_entropy


def world(n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Routing pays where entropy is low; above 1 nat the generalist is better."""
    rng = np.random.default_rng(seed)
    entropy = rng.uniform(0.0, 2.0, n)
    routed = (rng.random(n) < np.where(entropy < 1.0, 0.8, 0.4)).astype(float)
    generalist = (rng.random(n) < 0.6).astype(float)
    return entropy, routed, generalist


def test_the_threshold_lies_where_the_generalist_takes_the_lead():
    assert 0.85 < choose_max_entropy(*world()) < 1.15


def test_it_gains_on_prompts_it_was_not_chosen_on():
    threshold = choose_max_entropy(*world())
    entropy, routed, generalist = world(seed=1)
    assert np.where(entropy > threshold, generalist, routed).mean() > max(routed.mean(), generalist.mean()) + 0.05


def test_nobody_is_uncertain_where_routing_is_never_worse():
    entropy, _, generalist = world()
    assert choose_max_entropy(entropy, np.maximum(generalist, 0.5), generalist) == np.inf


def test_noise_moves_no_threshold():
    # No difference but luck, forty times over: the plain argmax finds a threshold nearly every time.
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        draws = (rng.random((2, 1000)) < 0.6).astype(float)
        found.append(np.isfinite(choose_max_entropy(rng.uniform(0, 2, 1000), draws[0], draws[1])))
    assert np.mean(found) < 0.25


def test_unscored_prompts_say_nothing():
    entropy, routed, generalist = world()
    holes = np.random.default_rng(2).random(len(routed)) < 0.3
    spoiled = np.where(holes, np.nan, routed)
    assert choose_max_entropy(entropy, spoiled, generalist) == choose_max_entropy(
        entropy[~holes], routed[~holes], generalist[~holes]
    )
    assert choose_max_entropy(entropy, np.full(len(entropy), np.nan), generalist) == np.inf
