"""The ground of a simulation: a pool, a router, and prompts whose outcome is known for every expert."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pointsman.evals.errors import EvalError
from pointsman.evals.replay import requests
from pointsman.evals.tables import OutcomeTable
from pointsman.experts.spec import ExpertSpec
from pointsman.routers.protocols import RouterProtocol
from pointsman.routers.types import Assessment

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """What can be asked, and what would come of it: n prompts by m experts.

    Attributes:
        pool: The experts, m of them.
        router: Whose `select` decides.
        prompts: The texts.
        categories: Their labels.
        assessments: The router's, of each prompt: they depend on the prompt alone.
        scores: Quality of every expert's answer, shape (n, m).
        answer_tokens: Its length, shape (n, m).
        table: Name of the outcome table.
    """

    pool: tuple[ExpertSpec, ...]
    router: RouterProtocol
    prompts: tuple[str, ...]
    categories: tuple[str, ...]
    assessments: tuple[Assessment, ...]
    scores: Floats
    answer_tokens: Floats
    table: str


def make_world(
    table: OutcomeTable,
    pool: tuple[ExpertSpec, ...],
    router: RouterProtocol,
    progress: Callable[[float], None] = lambda _: None,
) -> World:
    """Assess every prompt of a table on which all experts of the pool are scored.

    Args:
        table: The prompts to ask; not those the router was fitted on.
        pool: Experts; those the table does not know are left out.
        router: Any router.
        progress: Told the share that is done.

    Raises:
        EvalError: Fewer than two experts are known, no prompt is scored by all, or an answer's length is unknown.
    """
    pool = tuple(spec for spec in pool if spec.artifact_name in table.experts)
    if len(pool) < 2:
        raise EvalError(f"{table.name} knows fewer than two experts of the pool; it has {', '.join(table.experts)}")
    table = table.pool([spec.artifact_name for spec in pool]).common()
    if not len(table):
        raise EvalError(f"{table.name}: no prompt is scored by every expert of the pool")
    if np.isnan(table.completion_tokens).any():
        raise EvalError(f"{table.name} does not say how long every answer is: nothing can be priced")
    assessments = []
    for i, request in enumerate(requests(table)):
        assessments.append(router.assess(request))
        if i % 100 == 0:
            progress(i / len(table))
    progress(1.0)
    return World(
        pool,
        router,
        table.prompts,
        table.categories,
        tuple(assessments),
        table.scores,
        table.completion_tokens,
        table.name,
    )
