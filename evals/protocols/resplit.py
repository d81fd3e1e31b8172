"""Another split of the same prompts: how much of a result is the luck of the split?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pointsman.evals.near_duplicates import near_duplicate_clusters
from pointsman.evals.tables import OutcomeTable

#: The seeds of LLMRouterBench (arXiv 2601.07206), so that spreads can be told beside theirs.
SEEDS = (42, 999, 2024, 2025, 3407)

_TRAIN_SHARE = 0.7


def resplit(table: OutcomeTable, splits: tuple[str, str], seed: int, train_share: float = _TRAIN_SHARE) -> OutcomeTable:
    """Divide the prompts of two splits again at random; near-duplicates stay together (LLMRouterBench: 70 to 30).

    Args:
        table: Prompts of other splits stay where they are.
        splits: Names of the train and of the test split.
        seed: Of the division.
        train_share: Share of the clusters of near-duplicates that go to the train split.
    """
    rows = np.flatnonzero([split in splits for split in table.splits])
    _, cluster = np.unique(near_duplicate_clusters([table.prompts[i] for i in rows]), return_inverse=True)
    count = int(cluster.max()) + 1 if cluster.size else 0
    rank = np.random.default_rng(seed).permutation(count)
    into_train = rank[cluster] < round(train_share * count)
    found = list(table.splits)
    for i, train in zip(rows, into_train, strict=True):
        found[i] = splits[0] if train else splits[1]
    return replace(table, splits=tuple(found))
