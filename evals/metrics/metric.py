"""What a metric of the report is, and the two decorators that make one of a function.

The function's name is the metric's name in the JSON report, its docstring is the definition that readers see. The
report, the schema, the table in the terminal, the page and the table in `docs/evaluation.md` are made from them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pointsman.evals.router_result import RouterResult
    from pointsman.evals.tables import OutcomeTable

Floats = npt.NDArray[np.float64]

#: How a value is shown: as it is, a share as per cent, dollars per prompt as dollars per 1,000, milliseconds.
Unit = Literal["", "%", "$/1k", "ms"]
Better = Literal["higher", "lower"]

_FACTORS: dict[Unit, float] = {"": 1.0, "%": 1.0, "$/1k": 1000.0, "ms": 1.0}
_FORMATS: dict[Unit, str] = {"": ".4f", "%": ".1%", "$/1k": ".3f", "ms": ".2f"}
_INTERVAL_FORMATS: dict[Unit, str] = {"": ".3f", "%": ".1%", "$/1k": ".3f", "ms": ".2f"}


@dataclass(frozen=True, slots=True, eq=False)
class BootstrapEstimate:
    """A value with its bootstrap samples, from which the report takes the interval.

    Attributes:
        value: On the evaluated prompts; NaN where undefined.
        samples: On the resamples, in their order, shape (resamples,); NaN where undefined.
    """

    value: float
    samples: Floats


#: What a metric is worked out from, and what comes of it: NaN where it is not defined. A plain number has no interval.
MetricFunction = Callable[["RouterResult"], "float | BootstrapEstimate"]
#: The same prompt by prompt: outcomes of n prompts and m experts, and the probability of each pick (n, m) -> (n,).
PerPromptFunction = Callable[["OutcomeTable", Floats], Floats]


class MetricOptions(TypedDict, total=False):
    """How a metric is shown; see `Metric`."""

    title: str
    unit: Unit
    better: Better
    source: str
    legend: str
    signed: bool
    headline: bool
    terminal_rank: int | None
    terminal_interval: bool
    hidden_at: float


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the report.

    Attributes:
        name: Key in the JSON report.
        definition: What it is, in whole sentences.
        compute: The function behind it.
        per_prompt: Where its value is a mean over prompts, the function that gives each prompt's.
        title: Heading of its column; the name by default.
        unit: How it is shown. The JSON report holds shares as fractions and dollars per prompt.
        better: Which way is better; None where neither is.
        source: Who defined it, where that is a published benchmark.
        legend: A remark under the terminal's table, for a title that could mislead.
        signed: Whether it is a difference: shown with its sign, and coloured where its interval excludes 0.
        headline: Whether it stands in the page's first table; the others follow in a second one.
        terminal_rank: Columns of the highest rank leave a narrow terminal first, those of rank 0 stay; None for a
            metric that the terminal never shows.
        terminal_interval: Whether the terminal shows the interval too, where there is room.
        hidden_at: The column is left out where every row has this value.
    """

    name: str
    definition: str
    compute: MetricFunction
    per_prompt: PerPromptFunction | None = None
    title: str = ""
    unit: Unit = ""
    better: Better | None = None
    source: str = ""
    legend: str = ""
    signed: bool = False
    headline: bool = False
    terminal_rank: int | None = 9
    terminal_interval: bool = False
    hidden_at: float | None = None

    @property
    def heading(self) -> str:
        """Title of its column."""
        return self.title or self.name.replace("_", " ")

    def text(self, value: float) -> str:
        """A value as it is shown, without its unit but for the sign of per cent."""
        return f"{value * _FACTORS[self.unit]:{'+' if self.signed else ''}{_FORMATS[self.unit]}}"

    def interval_text(self, low: float, high: float, between: str) -> str:
        """An interval as it is shown, with fewer digits than a value.

        Args:
            low: Lower end.
            high: Upper end.
            between: What stands between the ends.
        """
        form = f"{'+' if self.signed else ''}{_INTERVAL_FORMATS[self.unit]}"
        return between.join(f"{end * _FACTORS[self.unit]:{form}}" for end in (low, high))

    def half_width_text(self, low: float, high: float) -> str:
        """Half the width of an interval as it is shown."""
        return f"{(high - low) / 2 * _FACTORS[self.unit]:{_INTERVAL_FORMATS[self.unit]}}"


def side_of_zero(metric: Metric, around: tuple[float, float] | None) -> Literal["good", "bad", ""]:
    """Whether a difference is surely on the better side of 0, or surely on the worse one.

    Args:
        metric: Only one that is `signed` has sides.
        around: Its interval.
    """
    if not metric.signed or around is None or around[0] <= 0 <= around[1]:
        return ""
    return "good" if (around[0] > 0) == (metric.better != "lower") else "bad"


def metric(**options: Unpack[MetricOptions]) -> Callable[[MetricFunction], Metric]:
    """Make a metric of a function from a router's result to a number, or to a `BootstrapEstimate`.

    Args:
        options: How it is shown; see `Metric`.
    """

    def made(function: MetricFunction) -> Metric:
        return Metric(_name(function), _definition(function), function, **options)

    return made


def per_prompt_metric(**options: Unpack[MetricOptions]) -> Callable[[PerPromptFunction], Metric]:
    """Make a metric of a function from outcomes and picks to one value per prompt.

    The report holds the mean over the prompts that have a value, and its interval.

    Args:
        options: How it is shown; see `Metric`.
    """

    def made(function: PerPromptFunction) -> Metric:
        name = _name(function)
        return Metric(name, _definition(function), lambda result: result.mean(name), function, **options)

    return made


def _name(function: Callable[..., Any]) -> str:
    return function.__name__


def _definition(function: Callable[..., Any]) -> str:
    """A docstring on one line.

    Raises:
        ValueError: There is none.
    """
    if not function.__doc__:
        raise ValueError(f"the metric {function.__name__} needs a docstring: it is what readers see of it")
    return " ".join(inspect.cleandoc(function.__doc__).split())
