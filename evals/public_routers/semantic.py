"""semantic-router (Aurelio Labs, MIT, 1.1): a query goes to the route whose example utterances it resembles.

A route per expert, its utterances the train prompts on which that expert is the best (ties to the better one on the
train split, as for LLMRouter). Similarity, aggregation (mean of the five nearest) and choice are the package's own; its
encoders ask services or download models, so it is given one that looks up the features at hand.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pointsman.evals.policies import Trial
from pointsman.evals.text_features import TextFeatures

Ints = npt.NDArray[np.int64]


def choose(trial: Trial, features: TextFeatures) -> Ints:
    """Index the train split and let the router choose for the test split.

    Returns:
        Column of the choice per test prompt, shape (n,); -1 where no route is chosen.

    Raises:
        ImportError: The package is not installed.
    """
    from semantic_router import Route
    from semantic_router.encoders import DenseEncoder
    from semantic_router.routers import IndexedRouter

    vectors = {f"train {i}": vector for i, vector in enumerate(features.train)}
    vectors |= {f"test {i}": vector for i, vector in enumerate(features.test)}

    class FixedEncoder(DenseEncoder):  # type: ignore[misc] # the package is not typed where it is absent
        def __call__(self, docs: list[str]) -> list[list[float]]:
            return [vectors[name].tolist() for name in docs]

    means = np.nanmean(trial.train.scores, axis=0)
    best_first = np.argsort(-means, kind="stable")
    scores = np.where(np.isfinite(trial.train.scores), trial.train.scores, -np.inf)[:, best_first]
    winner = best_first[scores.argmax(axis=1)]
    routes = [
        Route(name=name, utterances=[f"train {i}" for i in np.flatnonzero(winner == j)])
        for j, name in enumerate(trial.train.experts)
        if (winner == j).any()
    ]
    router = IndexedRouter(encoder=FixedEncoder(name="features"), routes=routes)
    columns = {name: j for j, name in enumerate(trial.test.experts)}
    chosen = [router(f"test {i}") for i in range(len(trial.test))]
    return np.array([columns.get(one.name, -1) if one is not None else -1 for one in chosen], dtype=np.int64)
