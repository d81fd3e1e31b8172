"""A router over a table: the same `assess` and `select` that the gateway calls, one prompt after the other.

A sweep over cost weights would call `select` once per prompt and weight. The utility is linear in the weight, so one
call per prompt yields the terms, and the sweep is an array expression with the picker's own tie-breaks. That shortcut
is checked against `select` itself on a sample of every replay, and abandoned for the direct way when they differ.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pointsman.evals.baselines import best_single_column
from pointsman.evals.metrics.selection import one_hot
from pointsman.evals.policies import COST_WEIGHTS, CostWeightSweep, Kind, Policy, Trial
from pointsman.evals.prices import fitted_prices
from pointsman.evals.tables import OutcomeTable
from pointsman.experts.spec import ExpertSpec, PoolView, Source
from pointsman.routers.protocols import RouterProtocol
from pointsman.routers.types import Assessment, Budget, Reason, RouteRequest, Weights

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: English text has about four characters per token; used only where the table counts none, and then an estimate.
_CHARACTERS_PER_TOKEN = 4
_CHECKED = 200


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What a router did on the test split.

    Attributes:
        policy: Its choices, curve and timings.
        assessments: Of each prompt of `Trial.test`, in order.
        known: Experts of the pool for which the router has a fitted prediction.
        absent: Experts it was fitted on that are not in the pool.
        swept: Whether the curve came from the array expression (and not from one `select` per weight).
    """

    policy: Policy
    assessments: tuple[Assessment, ...]
    known: frozenset[str]
    absent: frozenset[str]
    swept: bool


def expert_specs(trial: Trial, generalists: Sequence[str] = ()) -> PoolView:
    """The pool as an operator would state it: names and prices, everyone healthy and idle.

    Args:
        trial: Prices are fitted to the costs of its train split (of its test split when there is no train split); where
            costs are list price times tokens, that gives back the list prices.
        generalists: Experts to mark as generalists.
    """
    known = fitted_prices(trial.train if len(trial.train) else trial.test)
    return PoolView.of(
        *(
            ExpertSpec(name, "replay", name, price=known.get(name), generalist=name in generalists)
            for name in trial.test.experts
        )
    )


def requests(table: OutcomeTable) -> list[RouteRequest]:
    """One request per prompt: the text and its length, no caps and no weights but quality."""
    given = table.prompt_tokens
    known = np.isfinite(given)
    count = known.sum(axis=1)
    sums = np.where(known, given, 0.0).sum(axis=1)
    return [
        RouteRequest(
            id=prompt_id,
            text=text,
            prompt_tokens=round(sums[i] / count[i]) if count[i] else max(1, len(text) // _CHARACTERS_PER_TOKEN),
        )
        for i, (prompt_id, text) in enumerate(zip(table.prompt_ids, table.prompts, strict=True))
    ]


def replay(
    router: RouterProtocol,
    trial: Trial,
    view: PoolView,
    name: str,
    progress: Callable[[float], None] = lambda _: None,
) -> Replay:
    """Let a router decide on every test prompt.

    Args:
        router: Any router.
        trial: The ground.
        view: The pool, experts in the order of the table's columns.
        name: Of the policy in the report.
        progress: Told the share that is done.
    """
    asked = requests(trial.test)
    column = {expert: j for j, expert in enumerate(trial.test.experts)}
    assessments: list[Assessment] = []
    choices = np.full(len(asked), -1, dtype=np.int64)
    times = np.zeros(len(asked))
    for i, request in enumerate(asked):
        start = time.perf_counter_ns()
        assessment = router.assess(request)
        decision = router.select(assessment, request, view)
        times[i] = (time.perf_counter_ns() - start) / 1e6
        assessments.append(assessment)
        choices[i] = -1 if decision.expert is None else column[decision.expert]
        if i % 100 == 0:
            progress(i / len(asked) * (0.6 if trial.has_costs else 1.0))
    fitted = {name for assessment in assessments for name in assessment.quality}
    pool = {spec.name: spec.artifact_name for spec, _ in view.entries}
    curve, swept = None, False
    if trial.has_costs:
        names = [trial.test.experts[j] for j in trial.priced_experts]
        priced = PoolView(tuple(entry for entry in view.entries if entry[0].name in names))
        here = [int(i) for i in trial.priced_rows]
        curve, swept = sweep_cost(router, [assessments[i] for i in here], [asked[i] for i in here], priced, column)
    progress(1.0)
    return Replay(
        policy=Policy(
            name=name,
            kind=Kind.ROUTER,
            mix=one_hot(choices, len(column)),
            curve=curve,
            deferral_score=_deferral_score(trial, assessments, pool),
            latency_ms=times,
            predicted=predictions(assessments, [pool[expert] for expert in trial.test.experts]),
            artifact_hash=router.artifact_hash,
        ),
        assessments=tuple(assessments),
        known=frozenset(expert for expert, alias in pool.items() if alias in fitted),
        absent=frozenset(fitted - set(pool.values())),
        swept=swept,
    )


def predictions(assessments: Sequence[Assessment], names: Sequence[str]) -> Floats | None:
    """Predicted quality of the named experts, shape (n, m); NaN where a prediction does not rest on outcomes.

    Returns:
        None when no prediction does.
    """
    found = np.full((len(assessments), len(names)), np.nan)
    for row, assessment in zip(found, assessments, strict=True):
        quality = assessment.quality
        for j, name in enumerate(names):
            if name in quality and (one := quality[name]).source is Source.MEASURED:
                row[j] = one.mean
    return found if np.isfinite(found).any() else None


def sweep_cost(
    router: RouterProtocol,
    assessments: Sequence[Assessment],
    asked: Sequence[RouteRequest],
    view: PoolView,
    column: dict[str, int],
    weights: Sequence[float] = COST_WEIGHTS,
) -> tuple[CostWeightSweep, bool]:
    """The router's choices for every cost weight: equal to calling `select` for each.

    Args:
        router: Whose `select` decides.
        assessments: One per prompt.
        asked: One per prompt.
        view: The pool.
        column: Expert -> column of the choices.
        weights: Settings of `Weights.cost`.

    Returns:
        The curve, and whether the array expression held on the sample (else every setting was asked directly).
    """
    terms = _terms(router, assessments, asked, view)
    names = [spec.name for spec, _ in view.entries]
    columns = np.array([column[name] for name in names], dtype=np.int64)
    by_name = np.argsort(np.argsort(np.array(names)))
    choices = np.stack([_pick(terms, weight, by_name, columns) for weight in weights])

    def direct(i: int, weight: float) -> int:
        decision = router.select(assessments[i], _priced(asked[i], weight), view)
        return -1 if decision.expert is None else column[decision.expert]

    # Where the router did not go by utility alone, every weight is asked: the rule may depend on the weights.
    for i in np.flatnonzero(~terms.by_utility):
        for k, weight in enumerate(weights):
            choices[k, i] = direct(int(i), weight)
    sample = np.random.default_rng(0)
    rows, settings = sample.integers(0, len(asked), _CHECKED), sample.integers(0, len(weights), _CHECKED)
    held = all(choices[k, i] == direct(int(i), weights[k]) for i, k in zip(rows, settings, strict=True))
    if not held:
        choices = np.array([[direct(i, weight) for i in range(len(asked))] for weight in weights], dtype=np.int64)
    return CostWeightSweep(np.array(weights), choices), held


@dataclass(frozen=True, slots=True, eq=False)
class _Terms:
    """What one `select` per prompt tells of every candidate, shape (n, m); -inf quality where a filter dropped it."""

    quality: Floats
    dearness: Floats
    predicted: Floats
    cost: Floats
    by_utility: npt.NDArray[np.bool_]


def _priced(request: RouteRequest, weight: float) -> RouteRequest:
    return RouteRequest(
        id=request.id,
        text=request.text,
        prompt_tokens=request.prompt_tokens,
        budget=Budget(weights=Weights(cost=weight)),
    )


def _terms(
    router: RouterProtocol, assessments: Sequence[Assessment], asked: Sequence[RouteRequest], view: PoolView
) -> _Terms:
    shape = (len(asked), len(view))
    quality, dearness, predicted, cost = (np.zeros(shape) for _ in range(4))
    by_utility = np.ones(len(asked), dtype=np.bool_)
    for i, (assessment, request) in enumerate(zip(assessments, asked, strict=True)):
        decision = router.select(assessment, _priced(request, 1.0), view)
        by_utility[i] = decision.reason in (Reason.BEST_UTILITY, Reason.ONLY_CANDIDATE, Reason.INFEASIBLE)
        for j, candidate in enumerate(decision.candidates):
            admissible = candidate.utility is not None
            quality[i, j] = candidate.terms.get("quality", 0.0) if admissible else -math.inf
            dearness[i, j] = -candidate.terms.get("cost", 0.0) if admissible else 0.0
            predicted[i, j] = candidate.estimates.quality.mean
            known = candidate.estimates.cost_usd
            cost[i, j] = math.inf if known is None else known
    return _Terms(quality, dearness, predicted, cost, by_utility)


def _pick(terms: _Terms, weight: float, by_name: Ints, columns: Ints) -> Ints:
    """Highest utility; ties to the higher predicted quality, the lower cost, the name: the router's picker."""
    utility = terms.quality - weight * terms.dearness
    left = utility == utility.max(axis=1, keepdims=True)
    left &= terms.predicted == np.where(left, terms.predicted, -np.inf).max(axis=1, keepdims=True)
    left &= terms.cost == np.where(left, terms.cost, np.inf).min(axis=1, keepdims=True)
    rank = np.where(left, by_name[None, :], len(by_name))
    return np.where(np.isfinite(utility).any(axis=1), columns[rank.argmin(axis=1)], -1)


def _deferral_score(trial: Trial, assessments: Sequence[Assessment], pool: dict[str, str]) -> Floats | None:
    """Predicted advantage of the better of two experts; None for other pools, or where a prediction is missing."""
    strong = best_single_column(trial.train)
    if len(trial.test.experts) != 2 or strong is None:
        return None
    good, bad = pool[trial.test.experts[strong]], pool[trial.test.experts[1 - strong]]
    if not all(good in one.quality and bad in one.quality for one in assessments):
        return None
    return np.array([one.quality[good].mean - one.quality[bad].mean for one in assessments])
