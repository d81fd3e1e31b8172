"""Plan a pool: which experts to keep awake, who serves which category, and what other budgets would buy.

Quality is what is predicted of the traffic that the table's prompts stand for: the mean of their category, or what a
router artefact predicts of each. Never what happened on a single prompt: choosing by that is choosing by luck.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pointsman.evals.plan_pool import PlanError
from pointsman.evals.tables import OutcomeTable
from pointsman.experts.spec import ExpertSpec
from pointsman.routers.selection.subsets import Selection, best_subset
from pointsman.routers.selection.worst_case import AwakeSetLimits, SharedResource, WorstCaseEnergyCap, slow_pairs
from pointsman.routers.training.mapping import CategoryMapping, MappingInfeasible, MappingProblem, map_categories

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

#: Points of each frontier.
POINTS = 12


@dataclass(frozen=True, slots=True, eq=False)
class TrafficProfile:
    """What is asked and who is good at it: p kinds of prompt in C categories, n experts.

    Attributes:
        experts: Names as in the pool file.
        categories: C names.
        category: Of each kind of prompt, shape (p,).
        weights: Share of each kind of prompt, sums to 1, shape (p,).
        quality: Predicted, in [0, 1], shape (p, n).
        worst_ms: Worst-case latency, shape (C, n); NaN where unknown.
        worst_j: Worst-case joules of a call in any category, shape (n,); NaN where unknown.
        total_b, active_b: Parameters in billions, shape (n,); NaN where unknown.
    """

    experts: tuple[str, ...]
    categories: tuple[str, ...]
    category: Ints
    weights: Floats
    quality: Floats
    worst_ms: Floats
    worst_j: Floats
    total_b: Floats
    active_b: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Caps:
    """What the operator allows; infinite for no cap.

    Attributes:
        energy_j: Worst case of one request that asks k experts.
        k: Experts a request may ask.
        latency_ms: Worst case per category, shape (C,).
        resident_b: Parameters of the awake experts together.
        active_b: Active parameters of a request on average, for the mapping.
    """

    latency_ms: Floats
    energy_j: float = np.inf
    k: int = 1
    resident_b: float = np.inf
    active_b: float = np.inf


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """One point of a frontier: the cap, and what the best awake set reaches under it."""

    cap: float
    quality: float
    upper_bound: float
    awake: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What to do.

    Attributes:
        awake: Names of the experts to keep awake.
        selection: The awake set with its value and proven bound.
        resident_b: Their parameters, in billions.
        energy_j: Worst case of a request under it, joules; NaN where one is unknown.
        serving: Category -> expert; None where no awake expert is fast enough.
        mapped: What the mapping reaches and uses; None where no mapping keeps to the caps.
        why_not: Why there is no mapping.
        by_energy, by_latency: Frontiers over either cap with the others as given; empty where nothing is known of it.
    """

    awake: tuple[str, ...]
    selection: Selection
    resident_b: float
    energy_j: float
    serving: dict[str, str | None]
    mapped: CategoryMapping | None
    why_not: str
    by_energy: tuple[FrontierPoint, ...]
    by_latency: tuple[FrontierPoint, ...]


def traffic_of(
    table: OutcomeTable, pool: Sequence[ExpertSpec], predicted: Callable[[OutcomeTable], Floats] | None = None
) -> TrafficProfile:
    """What a table says of a pool's experts.

    Args:
        table: Prompts that stand for the traffic.
        pool: The experts; each must be a column of the table, by its artefact name.
        predicted: Gives the quality of every expert on every prompt, shape (n prompts, n experts). Without it the
            quality of a prompt is the mean of its category, drawn to the expert's own where there is little evidence.

    Raises:
        PlanError: The table has no prompts, or nothing on an expert.
    """
    from pointsman.routers.training.heads import fit_category_means

    if not len(table):
        raise PlanError(f"{table.name} has no prompts in that split")
    if unknown := [spec.artifact_name for spec in pool if spec.artifact_name not in table.experts]:
        raise PlanError(
            f"{table.name} has no outcomes of {', '.join(unknown)}; known_as names an expert as the table does"
        )
    table = table.pool([spec.artifact_name for spec in pool])
    unscored = np.flatnonzero(~table.scored.any(axis=0))
    if empty := [table.experts[index] for index in unscored]:
        raise PlanError(f"{table.name} has no outcomes of {', '.join(empty)} in that split")
    names, category = np.unique(np.array(table.categories), return_inverse=True)
    shares = np.bincount(category) / len(table)
    if predicted is None:
        means = fit_category_means(table.scores, np.eye(len(names))[category]).mean.T.astype(np.float64)
        kinds, weights, quality = np.arange(len(names)), shares, means
    else:
        kinds, weights, quality = category, np.full(len(table), 1 / len(table)), predicted(table)
    worst_ms, worst_j = _worst(table, pool, category)
    return TrafficProfile(
        tuple(spec.name for spec in pool),
        tuple(str(name) for name in names),
        kinds,
        weights,
        quality,
        worst_ms,
        worst_j,
        np.array([np.nan if spec.params_total_b is None else spec.params_total_b for spec in pool]),
        np.array([np.nan if spec.params_active_b is None else spec.params_active_b for spec in pool]),
    )


def _worst(table: OutcomeTable, pool: Sequence[ExpertSpec], category: Ints) -> tuple[Floats, Floats]:
    """Latency per category (C, n) and joules (n,), from the 95 % quantiles of prompt and answer lengths."""
    groups = int(category.max()) + 1
    worst_ms, joules = np.full((groups, len(pool)), np.nan), np.full((groups, len(pool)), np.nan)
    for group in range(groups):
        rows = category == group
        for at, spec in enumerate(pool):
            prompt, answer = _high(table.prompt_tokens[rows, at]), _high(table.completion_tokens[rows, at])
            # A length that is not known matters only where something depends on it.
            if (times := spec.latency) is not None:
                given = prompt if times.prefill_ms_per_token else 0.0
                worst_ms[group, at] = times.latency_ms(given, answer) * times.p95_factor
            if (energy := spec.energy) is not None:
                given = prompt if energy.j_per_prompt_token else 0.0
                joules[group, at] = energy.energy_j(given, answer if energy.j_per_completion_token else 0.0)
    return worst_ms, joules.max(axis=0)


def _high(tokens: Floats) -> float:
    known = tokens[np.isfinite(tokens)]
    return float(np.quantile(known, 0.95)) if len(known) else float("nan")


def make_plan(
    traffic: TrafficProfile,
    caps: Caps,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[float], None] = lambda _: None,
) -> PoolPlan:
    """Choose the awake set, map categories to it, and trace the frontiers.

    Args:
        traffic: The prompts, and the experts that answer them.
        caps: What is allowed.
        should_stop: Ends the search for the awake set early; its gap is then what is left unproven.
        progress: Told the share that is done.

    Raises:
        PlanError: No expert keeps to the caps by itself.
    """
    selection = _select(traffic, caps, should_stop)
    progress(0.4)
    if not selection.members:
        raise PlanError(_nobody(traffic, caps))
    members = np.array(selection.members, dtype=np.intp)
    serving, mapped, why_not = _map(traffic, caps, members)
    energies = _steps(traffic.worst_j * caps.k)
    latencies = _steps(traffic.worst_ms)
    by_energy = _frontier(traffic, [(cap, replace(caps, energy_j=cap)) for cap in energies])
    progress(0.7)
    by_latency = _frontier(
        traffic, [(cap, replace(caps, latency_ms=np.minimum(caps.latency_ms, cap))) for cap in latencies]
    )
    progress(1.0)
    return PoolPlan(
        awake=tuple(traffic.experts[at] for at in members),
        selection=selection,
        resident_b=float(traffic.total_b[members].sum()),
        energy_j=WorstCaseEnergyCap(traffic.worst_j, caps.energy_j, caps.k).of(members),
        serving=serving,
        mapped=mapped,
        why_not=why_not,
        by_energy=by_energy,
        by_latency=by_latency,
    )


def _limits(traffic: TrafficProfile, caps: Caps) -> AwakeSetLimits:
    resources = [SharedResource("resident_b", traffic.total_b, caps.resident_b)] if np.isfinite(caps.resident_b) else []
    energy = WorstCaseEnergyCap(traffic.worst_j, caps.energy_j, caps.k) if np.isfinite(caps.energy_j) else None
    return AwakeSetLimits(resources, energy)


def _select(traffic: TrafficProfile, caps: Caps, should_stop: Callable[[], bool], max_nodes: int = 20_000) -> Selection:
    slow = slow_pairs(traffic.worst_ms, caps.latency_ms)
    quality = np.where(slow[traffic.category], 0.0, traffic.quality)
    return best_subset(quality, traffic.weights, _limits(traffic, caps), max_nodes=max_nodes, should_stop=should_stop)


def _nobody(traffic: TrafficProfile, caps: Caps) -> str:
    """Which cap keeps everybody out."""
    alone = (
        ("--resident-b", replace(Caps(np.full_like(caps.latency_ms, np.inf)), resident_b=caps.resident_b)),
        ("--max-energy-j", replace(Caps(np.full_like(caps.latency_ms, np.inf)), energy_j=caps.energy_j, k=caps.k)),
        ("--max-latency-ms", Caps(caps.latency_ms)),
    )
    for name, cap in alone:
        if not _select(traffic, cap, lambda: False, 1).members:
            return f"no expert of the pool is known to keep to {name}"
    return "each cap can be kept, but no expert keeps to all of them"


def _map(
    traffic: TrafficProfile, caps: Caps, members: Ints
) -> tuple[dict[str, str | None], CategoryMapping | None, str]:
    """Serve every category by one awake expert (CoE), as far as one is fast enough."""
    categories = len(traffic.categories)
    scores, shares = np.full((categories, len(members)), np.nan), np.zeros(categories)
    for row in range(categories):
        own = traffic.category == row
        shares[row] = traffic.weights[own].sum()
        scores[row] = np.average(traffic.quality[own][:, members], axis=0, weights=traffic.weights[own])
    slow = slow_pairs(traffic.worst_ms[:, members], caps.latency_ms)
    served = np.flatnonzero(~slow.all(axis=1))
    serving: dict[str, str | None] = dict.fromkeys(traffic.categories)
    problem = MappingProblem(
        scores=scores[served],
        shares=shares[served],
        total_b=traffic.total_b[members],
        active_b=traffic.active_b[members],
        worst_ms=traffic.worst_ms[served][:, members],
        max_active_b=caps.active_b,
        max_latency_ms=caps.latency_ms[served],
    )
    try:
        mapped = map_categories(problem)
    except MappingInfeasible as refusal:
        return serving, None, str(refusal)
    for row, expert in zip(served.tolist(), mapped.experts, strict=True):
        serving[traffic.categories[row]] = traffic.experts[members[expert]]
    return serving, mapped, ""


def _steps(amounts: Floats) -> Floats:
    """Caps worth trying: amounts at which somebody comes in."""
    known = np.unique(amounts[np.isfinite(amounts)])
    if len(known) <= POINTS:
        return known
    return np.unique(np.quantile(known, np.linspace(0, 1, POINTS), method="higher"))


def _frontier(traffic: TrafficProfile, tried: Sequence[tuple[float, Caps]]) -> tuple[FrontierPoint, ...]:
    found = []
    for cap, caps in tried:
        selection = _select(traffic, caps, lambda: False, max_nodes=300)
        if selection.members:
            awake = tuple(traffic.experts[at] for at in selection.members)
            found.append(FrontierPoint(float(cap), selection.value, selection.upper_bound, awake))
    return tuple(found)
