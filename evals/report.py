"""The one schema of results; `docs/evaluation.schema.json` is its export, `pointsman eval --schema` prints it.

A value that is not defined is null, never 0: no cost known, nobody scored, no gap to close.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from evals.policies import Kind

SCHEMA_VERSION = 2

Interval = Annotated[
    tuple[float, float] | None,
    Field(description="95 % percentile bootstrap interval, [low, high]; null when undefined or not bootstrapped"),
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ExpertRow(_Model):
    """One expert of the pool on this table."""

    name: str
    quality: float | None = Field(description="Mean score on the evaluated prompts")
    quality_train: float | None = Field(description="Mean score on the train prompts: what choosing may see")
    cost_usd: float | None = Field(description="Mean cost per evaluated prompt in US dollars")
    coverage: float = Field(description="Share of the evaluated prompts on which the expert is scored")


class CurvePoint(_Model):
    """One setting of a router that trades quality for cost."""

    weight: float | None = Field(description="Price of normalised cost in units of quality; null for a single expert")
    quality: float = Field(description="Mean score on the prompts with known cost")
    cost_usd: float = Field(description="Mean cost per prompt in US dollars")
    cost_share: float | None = Field(description="Cost relative to always asking the best single expert")
    best_single_share: float | None = Field(description="Share of prompts that go to the best single expert")
    on_hull: bool = Field(description="Whether the point is a vertex of the router's non-decreasing convex hull")


class BandPoint(_Model):
    """How sure a deferral curve is at one cost."""

    cost_share: float = Field(description="Cost relative to always asking the best single expert")
    low: float = Field(description="Lower end of the 95 % interval of quality relative to that expert's")
    high: float


class CalibrationBin(_Model):
    """Predictions of about the same height, over all prompts and experts."""

    predicted: float = Field(description="Their mean")
    observed: float = Field(description="Mean score of those predictions' experts on those prompts")
    count: int = Field(description="How many predictions")


class RouterRow(_Model):
    """A router or a baseline. Intervals come from the same paired resamples of the prompts for all rows."""

    name: str
    kind: Kind
    quality: float | None = Field(
        description="Mean score of the picked experts; unscored picks are left out, see coverage"
    )
    quality_ci95: Interval = None
    quality_macro: float | None = Field(default=None, description="Mean over categories of the mean score")
    quality_minus_best_single: float | None = Field(
        default=None, description="Paired difference to the best single expert, on prompts where both are scored"
    )
    quality_minus_best_single_ci95: Interval = None
    cost_usd: float | None = Field(description="Mean cost per prompt in US dollars; null when a pick has no known cost")
    cost_usd_ci95: Interval = None
    regret: float | None = Field(description="Mean of the best score anybody got minus the pick's score")
    regret_ci95: Interval = None
    selection_accuracy: float | None = Field(
        description="Share of prompts whose pick scored as high as anybody did; ties count, prompts nobody solves too"
    )
    selection_accuracy_ci95: Interval = None
    selection_accuracy_strict: float | None = Field(
        default=None, description="The same over the prompts on which exactly one expert is best"
    )
    selection_accuracy_strict_ci95: Interval = None
    recall_rare: float | None = Field(
        default=None, description="Share of right picks on the prompts that only one or two experts get right"
    )
    recall_rare_ci95: Interval = None
    gain_over_single: float | None = Field(default=None, description="Gain@B: quality / best single - 1")
    gap_to_oracle: float | None = Field(default=None, description="Gap@O: 1 - quality / oracle")
    gap_closed: float | None = Field(description="(quality - best single) / (oracle - best single)")
    gap_closed_ci95: Interval = None
    aiq: float | None = Field(
        description="Mean height of the non-decreasing convex hull over the cost range of the single experts; the hull "
        "holds the row's curve and the cheapest single expert. null without costs"
    )
    aiq_ci95: Interval = None
    aiq_minus_zero_router: float | None = Field(default=None, description="AIQ above mixing single experts blindly")
    aiq_minus_zero_router_ci95: Interval = None
    cost_share_at_90: float | None = Field(
        default=None, description="Cost of reaching 90 % of the best single expert's quality, relative to its cost"
    )
    cost_share_at_95: float | None = Field(
        default=None, description="Cost of reaching 95 % of the best single expert's quality, relative to its cost"
    )
    cost_share_at_100: float | None = Field(default=None, description="The same for all of its quality; null if never")
    perf_gain: float | None = Field(
        default=None, description="PerfGain: best quality of any setting / best single - 1, on the prompts with cost"
    )
    cost_save: float | None = Field(
        default=None,
        description="CostSave: 1 - least cost of a setting no worse than best single / its cost; null if there is none",
    )
    pareto_distance: float | None = Field(
        default=None,
        description="ParetoDist: mean distance of the hull's vertices to the Pareto front of all rows but the oracle, "
        "cost and quality scaled to [0, 1]: comparable within one report",
    )
    hypervolume: float | None = Field(
        default=None,
        description="Area that the settings dominate in the plane of quality and cheapness, 1 - cost over the dearest "
        "single expert's mean cost, above (0, 0)",
    )
    r2: float | None = Field(
        default=None,
        description="R2 of the settings in the same plane over eleven wishes, utopia (1, 1); less is better",
    )
    arena_score: float | None = Field(default=None, description="RouterArena's score at no price on cost")
    opt_sel: float | None = Field(default=None, description="Opt.Sel: share of right picks that are the cheapest right")
    opt_cost: float | None = Field(
        default=None, description="Opt.Cost: oracle's cost over the router's, on right picks"
    )
    opt_acc: float | None = Field(
        default=None, description="Opt.Acc: prompts got right over prompts anybody gets right"
    )
    apgr: float | None = Field(default=None, description="RouteLLM's APGR; pools of two experts only")
    apgr_ci95: Interval = None
    cpt50: float | None = Field(default=None, description="Share of calls to the better expert for 50 % of the gap")
    cpt80: float | None = Field(default=None, description="Share of calls to the better expert for 80 % of the gap")
    calls_for_95: float | None = Field(
        default=None, description="Share of calls to the better expert for 95 % of its quality"
    )
    pair_curve: tuple[tuple[float, float], ...] = Field(
        default=(), description="Share of calls to the better of two experts, and mean quality there"
    )
    brier: float | None = Field(default=None, description="Mean squared error of predicted quality, all experts")
    calibration_error: float | None = Field(default=None, description="ECE of predicted quality, ten equal bins")
    calibration: tuple[CalibrationBin, ...] = ()
    flip_rates: dict[str, float] = Field(
        default_factory=dict, description="Rewording -> share of sampled prompts whose pick it changes"
    )
    coverage: float = Field(description="Share of prompts whose pick is scored")
    curve: tuple[CurvePoint, ...] = Field(default=(), description="Deferral curve: quality against cost")
    band: tuple[BandPoint, ...] = Field(default=(), description="Interval around the hull of the curve")
    quality_by_category: dict[str, float | None] = Field(default_factory=dict)
    choice_shares: dict[str, float] = Field(default_factory=dict, description="Expert -> share of prompts it gets")
    latency_p50_ms: float | None = Field(default=None, description="Measured time of one decision on this machine")
    latency_p99_ms: float | None = None
    artifact_hash: str | None = Field(default=None, description="Hash of the router's fitted parameters")
    notes: tuple[str, ...] = ()


class Comparison(_Model):
    """A router against another row, on the same resamples; positive is in the router's favour."""

    router: str
    against: str
    measure: str = Field(description="`quality`, `aiq` or `apgr`")
    difference: float
    ci95: Interval
    p: float = Field(description="Two-sided bootstrap p-value of no difference")
    p_holm: float = Field(description="Corrected by Holm over all comparisons of this measure in the report")


class LostPrompt(_Model):
    """A prompt on which a router's pick is worse than the best expert's answer."""

    router: str
    prompt_id: str
    excerpt: str = Field(description="The beginning of the prompt")
    category: str
    picked: str
    picked_score: float
    predicted: float | None = Field(description="Quality the router expected of its pick")
    best: tuple[str, ...] = Field(description="Experts that did best, at most three")
    best_score: float
    predicted_best: float | None = Field(description="Quality it expected of the first of them")


class Provenance(_Model):
    """What was run on what."""

    table: str = Field(description="Name of the table's folder")
    sha256: dict[str, str] = Field(description="File name -> hash of every file read")
    split: str
    train_split: str
    prompts: int = Field(description="Prompts evaluated")
    prompts_in_split: int = Field(
        description="Prompts of the split before those without a full set of scores were left out"
    )
    prompts_with_cost: int = Field(description="Prompts behind the curves and AIQ")
    train_prompts: int
    prompts_mode: str = Field(description="`common`: prompts scored by every expert; `any`: prompts with any score")
    experts: int
    left_out: dict[str, str] = Field(description="Expert -> why it is not in the pool")
    unpriced: tuple[str, ...] = Field(description="Experts without a known cost: not on any cost curve")
    cost_basis: str
    cost_range_usd: tuple[float, float] | None = Field(description="Range over which AIQ is taken")
    near_duplicate_clusters: int = Field(description="Clusters of near-duplicate prompts, resampled together")
    leaked_prompts: int = Field(description="Evaluated prompts that stand in the train split in any of these ways")
    leaks: dict[str, int] = Field(description="Way of standing in the train split -> evaluated prompts that do")
    dropped_train_prompts: int = Field(default=0, description="Train prompts left out for that, by --drop-leaks")
    bootstrap: int = Field(description="Resamples behind every interval; 0 for none")
    seed: int
    command: str
    date: str = Field(description="As passed in, ISO 8601")
    git_commit: str | None = None
    git_dirty: bool | None = None
    versions: dict[str, str]
    notes: tuple[str, ...] = ()


def schema_text() -> str:
    """JSON schema of `Report`, indented, with a final newline."""
    return json.dumps(Report.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


class Report(_Model):
    """Results of one evaluation."""

    schema_version: int = SCHEMA_VERSION
    provenance: Provenance
    pool: tuple[ExpertRow, ...]
    categories: dict[str, int] = Field(description="Category -> number of evaluated prompts")
    routers: tuple[RouterRow, ...]
    comparisons: tuple[Comparison, ...] = ()
    lost: tuple[LostPrompt, ...] = Field(default=(), description="Examples of where a router loses to the oracle")

    def row(self, name: str) -> RouterRow:
        """The row of this name.

        Raises:
            KeyError: There is none.
        """
        for row in self.routers:
            if row.name == name:
                return row
        raise KeyError(name)

    def write_json(self, path: Path) -> None:
        """Write the report, indented, with a final newline."""
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
