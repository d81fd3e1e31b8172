"""The one schema of results; `docs/evaluation.schema.json` is its export, `pointsman eval --schema` prints it.

A value that is not defined is null, never 0: no cost known, nobody scored, no gap to close.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from pointsman.evals.metrics.catalog import METRICS
from pointsman.evals.policies import Kind

SCHEMA_VERSION = 3

Interval = Annotated[tuple[float, float], Field(description="95 % percentile bootstrap interval, [low, high]")]

#: Schema of each metric's value, as `evals/metrics/definitions` has it.
_METRICS_SCHEMA: JsonDict = {
    one.name: {
        "anyOf": [{"type": "number"}, {"type": "null"}],
        "title": one.heading,
        "description": f"{one.source}: {one.definition}" if one.source else one.definition,
    }
    for one in METRICS
}


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
    metrics: dict[str, float | None] = Field(
        description="Metric -> value; null where it is not defined", json_schema_extra={"properties": _METRICS_SCHEMA}
    )
    intervals: dict[str, Interval] = Field(
        default_factory=dict, description="Metric -> interval, of those that have a value and were bootstrapped"
    )
    pair_curve: tuple[tuple[float, float], ...] = Field(
        default=(), description="Share of calls to the better of two experts, and mean quality there"
    )
    calibration: tuple[CalibrationBin, ...] = ()
    flip_rates: dict[str, float] = Field(
        default_factory=dict, description="Rewording -> share of sampled prompts whose pick it changes"
    )
    curve: tuple[CurvePoint, ...] = Field(default=(), description="Deferral curve: quality against cost")
    band: tuple[BandPoint, ...] = Field(default=(), description="Interval around the hull of the curve")
    quality_by_category: dict[str, float | None] = Field(default_factory=dict)
    choice_shares: dict[str, float] = Field(default_factory=dict, description="Expert -> share of prompts it gets")
    artifact_hash: str | None = Field(default=None, description="Hash of the router's fitted parameters")
    notes: tuple[str, ...] = ()


class Comparison(_Model):
    """A router against another row, on the same resamples; positive is in the router's favour."""

    router: str
    against: str
    measure: str = Field(description="`quality`, `aiq` or `apgr`")
    difference: float
    ci95: Interval | None
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
    """JSON schema of `EvaluationReport`, indented, with a final newline."""
    return json.dumps(EvaluationReport.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


class EvaluationReport(_Model):
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
