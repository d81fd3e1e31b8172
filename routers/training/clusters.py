"""Categories for data without labels: k-means clusters of the vectors (Avengers, arXiv 2505.19797)."""

from __future__ import annotations

import numpy as np

from pointsman.routers.types import FloatArray

#: About this many prompts a cluster, between 2 and 32 clusters.
PROMPTS_PER_CLUSTER = 100
MAX_CLUSTERS = 32


def cluster_labels(vectors: FloatArray, seed: int) -> list[str]:
    """Name of each prompt's cluster, `cluster-00` and so on."""
    from sklearn.cluster import KMeans

    clusters = int(np.clip(len(vectors) // PROMPTS_PER_CLUSTER, 2, MAX_CLUSTERS))
    found = KMeans(clusters, random_state=seed, n_init=3).fit_predict(vectors)
    return [f"cluster-{index:02d}" for index in found]
