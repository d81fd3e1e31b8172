"""What happens in the simulated hour, and the traffic that comes of it."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.evals.errors import EvalError
from pointsman.evals.importers.reading import read_rows
from pointsman.evals.importers.records import number

#: What traces call the moment of a request, and the length of its prompt.
_TIMES = ("timestamp", "time", "arrived_at", "arrival_time", "arrival_timestamp", "arrival", "ts", "at_s")
_TOKENS = ("prompt_tokens", "contexttokens", "context_tokens", "input_tokens", "input_length", "num_prefill_tokens")

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
    """Read a trace: a table with `timestamp` and `prompt_tokens`, such as Azure's LLM inference traces.

    Parquet, CSV or JSON Lines; times as dates, their text, or seconds. Other usual names of the two columns are known.

    Args:
        trace: The file.
        most_s: Only so many seconds of it.

    Raises:
        EvalError: It cannot be read, or is empty.
    """
    times: list[float] = []
    tokens: list[int] = []
    names: tuple[str, str] | None = None
    for at, row in enumerate(read_rows(trace), 1):
        names = names or (_column(trace, row, _TIMES), _column(trace, row, _TOKENS))
        moment, counted = _moment_s(row.get(names[0])), number(row.get(names[1]))
        if moment is None:
            raise EvalError(f"{trace}, row {at}, column {names[0]}: {str(row.get(names[0]))[:40]!r} is no time")
        if counted is None or not 0 <= counted < 2**31:
            raise EvalError(
                f"{trace}, row {at}, column {names[1]}: {str(row.get(names[1]))[:40]!r} is no count of tokens"
            )
        times.append(moment)
        tokens.append(int(counted))
    if not times:
        raise EvalError(f"{trace} holds no arrivals")
    order = np.argsort(times, kind="stable")
    at_s = np.array(times)[order]
    at_s -= at_s[0]
    keep = slice(None) if most_s is None else at_s < most_s
    return Arrivals(at_s[keep], np.array(tokens, dtype=np.int64)[order][keep])


def _column(trace: Path, row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    by_case = {name.lower(): name for name in row}
    for name in names:
        if name in by_case:
            return by_case[name]
    raise EvalError(f"{trace}: no column {names[0]} (nor {', '.join(names[1:])}); the file has {', '.join(row)}")


def _moment_s(value: Any) -> float | None:
    """A moment in seconds: a time of day and date, its text in ISO 8601, or a number of seconds."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            # Azure's traces have seven digits of a second, of which six are read.
            value = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value.strip()))
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    found = number(value) if not isinstance(value, bool) else None
    return found if found is not None and math.isfinite(found) else None


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
