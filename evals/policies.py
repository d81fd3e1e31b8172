"""What is evaluated: a policy picks an expert for every prompt, and perhaps trades quality for cost along a curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from pointsman.evals.tables import OutcomeTable

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: What one unit of cost, normalised over the pool, is worth in quality, along every curve: free, then 0.001 to 1000.
COST_WEIGHTS: tuple[float, ...] = (0.0, *np.geomspace(1e-3, 1e3, 61).tolist())


class Kind(StrEnum):
    """Whether a row of the results is under test, somebody else's router, or a yardstick."""

    ROUTER = "router"
    PUBLIC = "public"
    BASELINE = "baseline"


@dataclass(frozen=True, slots=True, eq=False)
class CostWeightSweep:
    """One choice per prompt for every setting of the cost weight.

    Attributes:
        weights: The settings, shape (k,), rising.
        choices: Column of the pick, shape (k, n) over the prompts of `Trial.priced`; -1 for nobody.
    """

    weights: Floats
    choices: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A router or a baseline, as the choices it made.

    Attributes:
        name: Unique in a report.
        kind: Router or baseline.
        mix: Probability of each expert on each prompt of `Trial.test`, shape (n, m); rows of zeros where nobody is
            picked (everywhere for the zero router, which is a hull and not a choice).
        curve: The same router at falling willingness to pay; None when it has a single setting, or costs are unknown.
        deferral_score: For a pool of two: belief that the better expert is worth it, shape (n,); None otherwise.
        latency_ms: Measured time of each decision, shape (n,); None for baselines.
        predicted: Quality it predicts of each expert, shape (n, m), NaN where it has no fitted prediction; None for one
            that predicts nothing.
        flips: Kind of rewording -> share of prompts whose pick it changes.
        artifact_hash: Of the fitted parameters; empty for baselines.
        notes: What a reader must know.
    """

    name: str
    kind: Kind
    mix: Floats
    curve: CostWeightSweep | None = None
    deferral_score: Floats | None = None
    latency_ms: Floats | None = None
    predicted: Floats | None = None
    flips: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    artifact_hash: str = ""
    notes: tuple[str, ...] = ()

    @property
    def chooses(self) -> bool:
        """Whether it picks anybody anywhere."""
        return bool(self.mix.any())

    def noting(self, *notes: str) -> Policy:
        """The same policy with more notes."""
        return replace(self, notes=(*self.notes, *notes))


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """The ground on which policies meet: same pool, same prompts, same costs for all.

    Attributes:
        train: What choosing and fitting may see.
        test: What is evaluated.
        priced: The part of `test` on which cost is known for every priced expert; its columns are those of `test`.
        priced_rows: Rows of `test` that make up `priced`.
        priced_experts: Columns with a known cost. Fewer than two: there are no curves.
        clusters: Cluster of near-duplicates of each test prompt, shape (n,).
        leaked: Way of leaking -> how many test prompts stand in the train split that way; `any` for all of them.
        dropped: How many train prompts were left out for it.
    """

    train: OutcomeTable
    test: OutcomeTable
    priced: OutcomeTable
    priced_rows: Ints
    priced_experts: Ints
    clusters: Ints
    leaked: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    dropped: int = 0

    @property
    def has_costs(self) -> bool:
        """Whether cost-quality curves can be drawn."""
        return self.priced_experts.size >= 2 and len(self.priced) > 0


def _missing_costs(test: OutcomeTable) -> list[str]:
    """Experts whose cost is known on some prompts and not on all: said, because it takes them off every cost curve."""
    holes = (np.isfinite(test.scores) & ~np.isfinite(test.cost_usd)).sum(axis=0)
    scored = np.isfinite(test.scores).sum(axis=0)
    return [
        f"{name}: cost_usd is missing on {hole:,} of {of:,} scored prompts, so it is on no cost curve"
        for name, hole, of in zip(test.experts, holes.tolist(), scored.tolist(), strict=True)
        if 0 < hole < of
    ]


def make_trial(
    table: OutcomeTable,
    split: str = "test",
    train_split: str = "train",
    sparse: bool = False,
    drop_leaks: bool = False,
) -> Trial:
    """Split a table into what may be learned from and what is evaluated.

    Args:
        table: With its pool and prices already chosen.
        split: Name of the evaluated split.
        train_split: Name of the split that best single, the category mapping and fitted routers may see.
        sparse: Evaluate every prompt with at least one score, instead of those on which all experts are scored.
        drop_leaks: Leave out the train prompts that stand in the evaluated split too.

    Raises:
        EvalError: The evaluated split is empty, or no prompt of it is scored by every expert.
    """
    from pointsman.evals.errors import EvalError
    from pointsman.evals.leaks import find_leaks

    train, test = table.split(train_split), table.split(split)
    if not len(test):
        raise EvalError(f"{table.name} has no prompt in split {split!r}; it has {', '.join(sorted(set(table.splits)))}")
    if sparse:
        train, test = (part.rows(np.asarray(part.scored.any(axis=1))) for part in (train, test))
    else:
        train, test = train.common(), test.common()
    if not len(test):
        raise EvalError(
            f"{table.name}: no prompt of split {split!r} is scored by all {len(table.experts)} experts; "
            "choose fewer with --models, raise --min-coverage, or evaluate a sparse table with --prompts any"
        )
    test = replace(test, notes=(*test.notes, *_missing_costs(test)))
    leaks = find_leaks(train.prompts, test.prompts)
    leaked = {
        "same text": int(leaks.same_text.sum()),
        "twelve words in a row": int(leaks.shared_run.sum()),
        "near-duplicate": int(leaks.near_duplicate.sum()),
        "any": int(leaks.test.sum()),
    }
    if drop_leaks:
        train = train.rows(~leaks.train)
    priced_experts = np.flatnonzero(test.priced)
    known = np.isfinite(test.cost_usd[:, priced_experts]) & np.isfinite(test.scores[:, priced_experts])
    rows = np.flatnonzero(known.all(axis=1)) if priced_experts.size else np.array([], dtype=np.int64)
    return Trial(
        train=train,
        test=test,
        priced=test.rows(rows),
        priced_rows=rows,
        priced_experts=priced_experts,
        clusters=leaks.clusters,
        leaked=MappingProxyType(leaked),
        dropped=int(leaks.train.sum()) if drop_leaks else 0,
    )
