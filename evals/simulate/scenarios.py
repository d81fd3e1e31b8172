"""What happens in the simulated hour, and the traffic that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pointsman.evals.errors import EvalError

if TYPE_CHECKING:
    import polars as pl

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, in seconds from the first arrival."""

    from_s: float
    until_s: float

    def holds(self, at_s: Floats) -> npt.NDArray[np.bool_]:
        """Which moments lie within it."""
        return (at_s >= self.from_s) & (at_s < self.until_s)


@dataclass(frozen=True, slots=True)
class Drift:
    """From some moment on, a share of the prompts is of some categories."""

    at_s: float
    categories: tuple[str, ...]
    share: float = 0.9


@dataclass(frozen=True, slots=True)
class Outage:
    """An expert whose every call fails."""

    expert: str
    span: Span


@dataclass(frozen=True, slots=True)
class Burst:
    """More of the same traffic: every arrival comes so many times, spread over the seconds around it."""

    span: Span
    factor: int = 10


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens in the hour.

    Attributes:
        name: For people.
        drift: The mix of prompts shifts.
        outage: An expert fails.
        burst: Traffic multiplies.
        silence: Replicas hear nothing of each other.
        energy_factor: What calls really take, over what the pool file says.
    """

    name: str
    drift: Drift | None = None
    outage: Outage | None = None
    burst: Burst | None = None
    silence: Span | None = None
    energy_factor: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """When requests come, and how long their prompts are; in order of time, shape (n,) each."""

    at_s: Floats
    prompt_tokens: Ints

    def __len__(self) -> int:
        return len(self.at_s)


@dataclass(frozen=True, slots=True, eq=False)
class TrafficTrace:
    """Arrivals, each with the row of the prompt it asks, shape (n,)."""

    arrivals: Arrivals
    rows: Ints


def read_arrivals(trace: Path, most_s: float | None = None) -> Arrivals:
    """Read a trace: parquet with `timestamp` and `prompt_tokens`, such as Azure's LLM inference trace of 2023.

    Args:
        trace: The file.
        most_s: Only so many seconds of it.

    Raises:
        EvalError: It cannot be read, or is empty.
    """
    import polars as pl

    try:
        table = pl.read_parquet(trace, columns=["timestamp", "prompt_tokens"]).sort("timestamp")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise EvalError(f"{trace}: {error}") from error
    if not len(table):
        raise EvalError(f"{trace} holds no arrivals")
    at_s = _seconds(table)
    keep = slice(None) if most_s is None else at_s < most_s
    return Arrivals(at_s[keep], table["prompt_tokens"].to_numpy().astype(np.int64)[keep])


def traffic(arrivals: Arrivals, categories: Sequence[str], scenario: Scenario, seed: int) -> TrafficTrace:
    """The hour's requests.

    Args:
        arrivals: Of a trace.
        categories: Of each prompt there is to ask.
        scenario: Its burst multiplies the arrivals, its drift shifts which prompts are asked.
        seed: Of the draw of prompts, and of where the burst's copies fall.

    Raises:
        EvalError: No prompt is of the categories that the mix shifts to.
    """
    rng = np.random.default_rng(seed)
    at_s, tokens = arrivals.at_s, arrivals.prompt_tokens
    if scenario.burst is not None:
        within = scenario.burst.span.holds(at_s)
        copies = np.where(within, scenario.burst.factor, 1)
        again = np.repeat(np.arange(len(at_s)), copies)
        spread = np.where(np.repeat(within, copies), rng.uniform(-5.0, 5.0, len(again)), 0.0)
        spread_s = np.clip(at_s[again] + spread, 0.0, None)
        order = np.argsort(spread_s, kind="stable")
        at_s, tokens = spread_s[order], tokens[again[order]]
    rows = rng.integers(0, len(categories), len(at_s))
    drift = scenario.drift
    if drift is not None:
        there = np.flatnonzero(np.isin(np.array(categories), drift.categories))
        if not len(there):
            raise EvalError(f"no prompt is of the categories {', '.join(drift.categories)}")
        moved = (at_s >= drift.at_s) & (rng.random(len(at_s)) < drift.share)
        rows = np.where(moved, there[rng.integers(0, len(there), len(at_s))], rows)
    return TrafficTrace(Arrivals(at_s, tokens), rows)


def _seconds(table: pl.DataFrame) -> Floats:
    stamps = table["timestamp"].dt.epoch("us").to_numpy()
    return np.asarray((stamps - stamps[0]) / 1e6, dtype=np.float64)


def parse_span(given: str) -> Span:
    """`FROM-UNTIL` in seconds.

    Raises:
        EvalError: It is not.
    """
    first, _, last = given.partition("-")
    try:
        span = Span(float(first), float(last))
    except ValueError as error:
        raise EvalError(f"{given!r}: say FROM-UNTIL in seconds, such as 1800-1980") from error
    if not 0 <= span.from_s < span.until_s:
        raise EvalError(f"{given!r}: the end comes before the beginning")
    return span


def parse_drift(given: str) -> Drift:
    """`S:CATEGORY[,CATEGORY]`.

    Raises:
        EvalError: It is not.
    """
    moment, _, names = given.partition(":")
    categories = tuple(name.strip() for name in names.split(",") if name.strip())
    try:
        return Drift(float(moment), _some(categories))
    except ValueError as error:
        raise EvalError(f"{given!r}: say S:CATEGORY[,CATEGORY], such as 1800:math,physics") from error


def parse_outage(given: str) -> Outage:
    """`EXPERT:FROM-UNTIL`.

    Raises:
        EvalError: It is not.
    """
    expert, _, span = given.rpartition(":")
    if not expert:
        raise EvalError(f"{given!r}: say EXPERT:FROM-UNTIL")
    return Outage(expert, parse_span(span))


def parse_burst(given: str) -> Burst:
    """`FACTOR:FROM-UNTIL`.

    Raises:
        EvalError: It is not.
    """
    factor, _, span = given.partition(":")
    if not factor.isdecimal() or int(factor) < 1:
        raise EvalError(f"{given!r}: say FACTOR:FROM-UNTIL, such as 10:1800-1980")
    return Burst(parse_span(span), int(factor))


def _some(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("no category")
    return names
