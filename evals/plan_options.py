"""What the options of `pointsman plan` mean: caps per category, and quality as a router predicts it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pointsman.evals.plan import TrafficProfile
from pointsman.evals.plan_pool import PlanError
from pointsman.evals.replay import requests
from pointsman.evals.tables import OutcomeTable
from pointsman.experts.spec import ExpertSpec
from pointsman.routers.artifacts import load_router


def latency_caps(given: tuple[str, ...], traffic: TrafficProfile) -> npt.NDArray[np.float64]:
    """Cap on the latency per category, in milliseconds, shape (C,); a category's own goes before that for all.

    Args:
        given: `MS` or `CATEGORY=MS`, each.
        traffic: Names the categories.

    Raises:
        PlanError: One is no positive number, or names no category.
    """
    caps = np.full(len(traffic.categories), np.inf)
    # Python sorts stably: caps without a category come first.
    for item in sorted(given, key=lambda item: "=" in item):
        name, _, amount = item.rpartition("=")
        try:
            cap = float(amount)
        except ValueError:
            raise PlanError(f"--max-latency-ms {item}: {amount!r} is not a number of milliseconds") from None
        if not cap > 0:
            raise PlanError(f"--max-latency-ms {item}: must be positive")
        if not name:
            caps[:] = cap
        elif name in traffic.categories:
            caps[traffic.categories.index(name)] = cap
        else:
            raise PlanError(f"--max-latency-ms {item}: the categories are {', '.join(traffic.categories)}")
    return caps


def predictions(artefact: str, pool: tuple[ExpertSpec, ...]) -> Callable[[OutcomeTable], npt.NDArray[np.float64]]:
    """What a router predicts of each expert on each prompt of a table, shape (n, m).

    Raises:
        ArtifactError: The artefact cannot be loaded.
        PlanError: It does not know one of the experts (when called).
    """
    loaded = load_router(artefact)

    def predict(table: OutcomeTable) -> npt.NDArray[np.float64]:
        assessed = [loaded.assess(request).quality for request in requests(table)]
        if missing := [spec.artifact_name for spec in pool if spec.artifact_name not in assessed[0].experts]:
            raise PlanError(f"the router {artefact} knows nothing of {', '.join(missing)}")
        columns = [assessed[0].experts.index(spec.artifact_name) for spec in pool]
        return np.array([quality.mean[columns] for quality in assessed], dtype=np.float64)

    return predict
