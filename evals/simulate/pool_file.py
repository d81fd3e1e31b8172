"""The pool file: which experts there are, what they cost, and on how many machines each runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evals.errors import EvalError
from experts.spec import EnergyModel, ExpertSpec, LatencyModel, Price, Source

#: The pool where none is given.
DEFAULT_POOL = Path(__file__).parent / "pool.yaml"


class _Node(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PriceEntry(_Node):
    """List price."""

    input_usd_per_mtok: float = Field(ge=0)
    output_usd_per_mtok: float = Field(ge=0)


class LatencyEntry(_Node):
    """Linear latency of the unloaded machine."""

    base_ms: float = Field(ge=0)
    prefill_ms_per_token: float = Field(ge=0)
    tpot_ms: float = Field(ge=0)
    p95_factor: float = Field(default=1.5, ge=1)


class EnergyEntry(_Node):
    """Linear energy of a call, at one stated operating point."""

    base_j: float = Field(default=0.0, ge=0)
    j_per_prompt_token: float = Field(ge=0)
    j_per_completion_token: float = Field(ge=0)
    source: Source = Source.ESTIMATED


class ExpertEntry(_Node):
    """One expert, in the words of the gateway's settings, and its machines."""

    name: str = Field(min_length=1)
    params_total_b: float | None = Field(default=None, gt=0)
    params_active_b: float | None = Field(default=None, gt=0)
    context_window_tokens: int | None = Field(default=None, gt=0)
    generalist: bool = False
    machines: int = Field(default=1, gt=0)
    max_batch: int = Field(default=64, gt=0)
    price: PriceEntry | None = None
    latency: LatencyEntry
    energy: EnergyEntry | None = None


class PoolFile(_Node):
    """All of it."""

    experts: tuple[ExpertEntry, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Deployed:
    """An expert and the machines it runs on.

    Attributes:
        spec: The expert; its `max_concurrency` is what all its machines hold together.
        machines: Equal machines, each with a queue of its own for prompts.
    """

    spec: ExpertSpec
    machines: int


def read_pool(path: Path) -> tuple[Deployed, ...]:
    """Read a pool file.

    Raises:
        EvalError: It cannot be read, or is no pool file; or two experts have one name.
    """
    try:
        given = PoolFile.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise EvalError(f"{path}: {error}") from error
    names = [entry.name for entry in given.experts]
    if len(set(names)) != len(names):
        raise EvalError(f"{path}: an expert is named twice")
    return tuple(_deployed(entry) for entry in given.experts)


def of_names(pool: Sequence[Deployed], names: Sequence[str]) -> tuple[Deployed, ...]:
    """The experts of those names, in the pool's order."""
    return tuple(expert for expert in pool if expert.spec.name in names)


def _deployed(entry: ExpertEntry) -> Deployed:
    energy, latency, price = entry.energy, entry.latency, entry.price
    spec = ExpertSpec(
        entry.name,
        "replay",
        entry.name,
        context_window_tokens=entry.context_window_tokens,
        params_total_b=entry.params_total_b,
        params_active_b=entry.params_active_b or entry.params_total_b,
        price=None if price is None else Price(price.input_usd_per_mtok, price.output_usd_per_mtok),
        latency=LatencyModel(latency.base_ms, latency.prefill_ms_per_token, latency.tpot_ms, latency.p95_factor),
        energy=None
        if energy is None
        else EnergyModel(energy.base_j, energy.j_per_prompt_token, energy.j_per_completion_token, energy.source),
        generalist=entry.generalist,
        max_concurrency=entry.machines * entry.max_batch,
    )
    return Deployed(spec, entry.machines)
