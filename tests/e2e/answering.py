"""A router trained on answers: two cheap experts that err independently, and a dear one that is mostly right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pointsman.routers.artifacts import RouterParts, save_router
from pointsman.routers.classifiers.linear import LinearClassifier
from pointsman.routers.classifiers.uncertainty import Thresholds
from pointsman.routers.estimators.quality import BlendedQuality, BlendWeights
from pointsman.routers.training.evidence import fit_evidence
from tests.e2e.running import fake
from tests.unit.routers.tiny import tiny_embedder

EXPERTS = ("cheap", "twin", "judge")
ACCURACY = (0.7, 0.7, 0.92)
QUESTION = "which recipe is it"
PRICES = {"cheap": 1.0, "twin": 1.0, "judge": 10.0}


def answering_router(folder: Path) -> Path:
    """Write its artefact."""
    rng = np.random.default_rng(0)
    n, options = 2000, 8
    truth = rng.integers(0, options, (n, 1))
    right = rng.random((n, 3)) < np.array(ACCURACY)
    answers = np.where(right, truth, (truth + rng.integers(1, options, (n, 3))) % options)
    cost = np.tile(list(PRICES.values()), (n, 1))
    evidence = fit_evidence(EXPERTS, np.tile(ACCURACY, (n, 1)), right.astype(float), answers, None, cost, 0)
    assert evidence is not None
    assert set(evidence.members) == set(EXPERTS)
    embedder = tiny_embedder()
    categories = ("food", "other")
    parts = RouterParts(
        name="answering",
        embedder=embedder,
        classifier=LinearClassifier(
            categories,
            np.zeros((2, embedder.dim), dtype=np.float32),
            np.array([1.0, 0.0], dtype=np.float32),
            np.array([0, 1]),
            temperature=1.0,
            thresholds=Thresholds(max_entropy=9.0, min_scope=-9.0),
        ),
        quality=BlendedQuality(EXPERTS, categories, np.array(ACCURACY, dtype=np.float32), BlendWeights()),
        evidence=evidence,
    )
    save_router(folder, parts)
    return folder


def answering_tree(artifact: Path, replies: dict[str, str], **options: dict[str, Any]) -> dict[str, Any]:
    """Settings of a gateway with that router, whose experts reply what they are told.

    Args:
        artifact: From `answering_router`.
        replies: Expert -> its answer.
        options: Expert -> more of its script.
    """
    experts = [
        fake(
            name,
            price={"input_usd_per_mtok": PRICES[name], "output_usd_per_mtok": PRICES[name]},
            options={"reply": replies[name], **options.get(name, {})},
            default_max_tokens=50,
        )
        for name in EXPERTS
    ]
    weights = {"cost": 0.2}
    return {
        "pool": {"experts": experts},
        "router": {"artifact": str(artifact)},
        "budgets": {"weights": weights},
        "evidence": {"enabled": True},
    }
