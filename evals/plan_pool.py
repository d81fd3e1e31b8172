"""The pool of `pointsman plan` and `pointsman simulate`: a YAML file of experts, a gateway's configuration for one.

    experts:                        # or, as in the gateway's configuration, pool: {experts: [...]}
      - name: llama-8b
        known_as: Meta-Llama-3.1-8B-Instruct      # the name in the table and in router artefacts, when it differs
        params_total_b: 8.0
        params_active_b: 8.0                      # the same as the total when not stated
        latency: {base_ms: 40, prefill_ms_per_token: 0.1, tpot_ms: 8, p95_factor: 1.2}
        energy: {base_j: 0, j_per_prompt_token: 0, j_per_completion_token: 0.26}
        # Read by the simulator:
        price: {input_usd_per_mtok: 0.2, output_usd_per_mtok: 0.2}
        context_window_tokens: 131072
        max_concurrency: 64
        generalist: false

Other keys are left alone, so that one file serves the gateway, the planner and the simulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pointsman.evals.errors import EvalError
from pointsman.experts.spec import EnergyModel, ExpertSpec, LatencyModel, Price, Source


class PlanError(EvalError):
    """The plan cannot be made as asked; the message says why and what would help."""


class _Latency(BaseModel):
    base_ms: float = Field(0.0, ge=0)
    prefill_ms_per_token: float = Field(0.0, ge=0)
    tpot_ms: float = Field(gt=0)
    p95_factor: float = Field(1.5, ge=1)


class _Energy(BaseModel):
    base_j: float = Field(0.0, ge=0)
    j_per_prompt_token: float = Field(0.0, ge=0)
    j_per_completion_token: float = Field(0.0, ge=0)


class _Price(BaseModel):
    input_usd_per_mtok: float = Field(ge=0)
    output_usd_per_mtok: float = Field(ge=0)
    cached_input_usd_per_mtok: float | None = Field(None, ge=0)
    cache_write_usd_per_mtok: float | None = Field(None, ge=0)
    reasoning_usd_per_mtok: float | None = Field(None, ge=0)


class _Expert(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str
    known_as: str | None = None
    params_total_b: float | None = Field(None, gt=0)
    params_active_b: float | None = Field(None, gt=0)
    latency: _Latency | None = None
    energy: _Energy | None = None
    price: _Price | None = None
    context_window_tokens: int | None = Field(None, gt=0)
    max_concurrency: int = Field(64, gt=0)
    generalist: bool = False

    def spec(self) -> ExpertSpec:
        return ExpertSpec(
            name=self.name,
            backend="plan",
            model=self.name,
            known_as=self.known_as,
            params_total_b=self.params_total_b,
            params_active_b=self.params_active_b or self.params_total_b,
            latency=None if self.latency is None else LatencyModel(**self.latency.model_dump(), source=Source.STATED),
            energy=None if self.energy is None else EnergyModel(**self.energy.model_dump(), source=Source.STATED),
            price=None if self.price is None else Price(**self.price.model_dump()),
            context_window_tokens=self.context_window_tokens,
            max_concurrency=self.max_concurrency,
            generalist=self.generalist,
        )


class _Pool(BaseModel):
    model_config = ConfigDict(extra="ignore")

    experts: list[_Expert] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, given: Any) -> Any:
        return given["pool"] if isinstance(given, Mapping) and "pool" in given else given


def read_pool(path: Path) -> tuple[ExpertSpec, ...]:
    """Read a pool file.

    Raises:
        PlanError: It cannot be read, states no expert, or names one twice; each problem with its place.
    """
    import yaml

    try:
        given = yaml.safe_load(path.read_text("utf-8"))
        pool = _Pool.model_validate(given)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PlanError(f"{path}: cannot be read ({error})") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise PlanError(f"{path}: {problems}") from error
    specs = tuple(expert.spec() for expert in pool.experts)
    names = [spec.artifact_name for spec in specs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PlanError(f"{path}: stands twice: {', '.join(twice)}")
    return specs
