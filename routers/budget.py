"""Caps and weights: what a request may state of its routing. This file is the one place to add either.

A field of `Budget` with a `Cap`, or of `Weights` with a `Weight`, is all that is written down. From it come the field
of the body's `routing` object and its header, what is refused there, the setting under `budgets`, the option of
`pointsman route`, the field of `ChatPointsman`, the filter or the term of the utility, the sentence of a rejection, the
field that a refusal names, and the rows in the pages. docs/add-a-filter.md goes through an example.

Nothing here imports numpy: a check of the settings does not need it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Cap:
    """What there is to know of a cap.

    The sentences are completed with `str.format`: `{amount}` is the figure, `{cap}` what was stated, `{tokens}` the
    completion tokens of the worst case, `{source}` where the figure comes from, `{queue}` the calls in flight.

    Attributes:
        help: What it means, one sentence for pages, settings and options.
        figure: What is held against it: the path of a column of `CallFigures`.
        broken: Why an expert is over the cap, in words.
        unknown: Why an expert is rejected of which the figure is unknown; empty where it is always known.
        unknown_rule: The rule of that rejection.
        unit: Of the figure, as people read it; empty for a figure without one.
        source: Path in `Estimates` of where the figure comes from; empty where the sentence does not say.
        floor: Whether it is the least allowed rather than the most.
        zero: Whether 0 may be stated: it admits somebody.
        most: Largest value that may be stated; None for no end.
        idle_figure: The path of what the figure would be without calls in flight, so that waiting may help; empty
            where it does not follow the load.
        follows_length: Whether a shorter answer makes the figure smaller.
        rank: Where an expert breaks several caps, the lowest rank is told, but those that follow the load come last.
        name: Of the field, of the rule, and of the field of `routing`; `caps_of` fills it in.
    """

    help: str
    figure: str
    broken: str
    unknown: str = ""
    unknown_rule: str = ""
    unit: str = ""
    source: str = ""
    floor: bool = False
    zero: bool = False
    most: float | None = None
    idle_figure: str = ""
    follows_length: bool = False
    rank: int = 100
    name: str = ""

    @property
    def follows_load(self) -> bool:
        """Whether the figure grows with the calls in flight."""
        return bool(self.idle_figure)

    @property
    def path(self) -> str:
        """Where a request states it, as errors name it."""
        return f"routing.{self.name}"

    @property
    def header(self) -> str:
        """The header that states the same."""
        return f"x-pointsman-{self.name.replace('_', '-')}"

    @property
    def option(self) -> str:
        """The option that states the same."""
        return f"--{self.name.replace('_', '-')}"


class Scale(StrEnum):
    """How a figure becomes a constraint in [0, 1]; `scorers/weighted.py` has the functions."""

    SHARE_OF_LARGEST = "share_of_largest"
    AGE = "age"
    ONE_MINUS = "one_minus"


@dataclass(frozen=True, slots=True)
class Weight:
    """What there is to know of a weight.

    Attributes:
        help: What it means, one sentence for pages and settings.
        figure: What is priced: the path of a column of `CallFigures`. Empty for predicted quality, the one weight that
            is no price.
        scale: How the figure becomes a constraint in [0, 1].
        follows_load: Whether the figure grows with the calls in flight.
        name: Of the field, of the term, and of the field of `routing.weights`; `weights_of` fills it in.
    """

    help: str
    figure: str = ""
    scale: Scale = Scale.SHARE_OF_LARGEST
    follows_load: bool = False
    name: str = ""

    @property
    def header(self) -> str:
        """The header that states the same."""
        return f"x-pointsman-weight-{self.name}"


@dataclass(frozen=True, slots=True)
class Weights:
    """Prices λ_j of Tryage's objective: how much predicted quality one unit of a normalised constraint is worth.

    Every constraint is normalised to [0, 1] over the admissible candidates, so that a weight keeps its meaning when the
    pool changes. `quality` scales predicted quality itself (1 = as predicted). `verbosity` is paid for a long answer,
    `readability` for one that is hard to read, as the operator states it of each expert.
    """

    quality: float = field(default=1.0, metadata={"weight": Weight("Scales predicted quality itself.")})
    latency: float = field(
        default=0.0, metadata={"weight": Weight("Price of latency.", "latency_ms.expected", follows_load=True)}
    )
    energy: float = field(default=0.0, metadata={"weight": Weight("Price of energy.", "energy_j.expected")})
    cost: float = field(default=0.0, metadata={"weight": Weight("Price of cost.", "cost_usd.expected")})
    size: float = field(
        default=0.0, metadata={"weight": Weight("Price of the number of parameters.", "roster.params_b")}
    )
    recency: float = field(
        default=0.0,
        metadata={"weight": Weight("Price of age since the model's release.", "roster.released_day", Scale.AGE)},
    )
    verbosity: float = field(
        default=0.0,
        metadata={"weight": Weight("Price of the expected length of the answer.", "completion_tokens.expected")},
    )
    readability: float = field(
        default=0.0,
        metadata={
            "weight": Weight(
                "Price of an answer that is hard to read, as `readability` is stated of each expert.",
                "roster.readability",
                Scale.ONE_MINUS,
            )
        },
    )


@dataclass(frozen=True, slots=True)
class Prices:
    """Dual variables of average budgets: what a dollar, a joule or a millisecond costs now, in units of quality.

    Unlike `Weights` these are in natural units and not normalised over the candidates: an average over many requests
    is held by one price for all of them. An amount that is not known counts as the largest known one.
    """

    per_usd: float = 0.0
    per_j: float = 0.0
    per_ttft_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What a caller allows: a cap is a filter, a weight is a price.

    The caps come first, each with its `Cap`.

    Attributes:
        weights: What the caller makes of what is not capped.
        prices: What the operator's average budgets make of it; set by the gateway or the simulator, never by a caller.
        local_only: Keep the prompt on the operator's own hardware (Tryage's security flag: a mask, not a price).
    """

    max_ttft_ms: float | None = field(
        default=None,
        metadata={
            "cap": Cap(
                help="Hard cap on the worst-case time to first token in milliseconds.",
                figure="ttft_ms.worst",
                broken="worst-case time to first token {amount:.0f} ms ({source}){queue} is over the cap of {cap:g} ms",
                unknown="its speed is unknown, so the cap on time to first token of {cap:g} ms cannot hold",
                unknown_rule="latency_unknown",
                unit="ms",
                source="latency_source",
                idle_figure="ttft_ms.idle",
                rank=0,
            )
        },
    )
    max_latency_ms: float | None = field(
        default=None,
        metadata={
            "cap": Cap(
                help="Hard cap on the worst-case end-to-end latency in milliseconds.",
                figure="latency_ms.worst",
                broken="worst-case latency {amount:.0f} ms ({source}){queue} is over the cap of {cap:g} ms",
                unknown="its speed is unknown, so the cap on latency of {cap:g} ms cannot hold",
                unknown_rule="latency_unknown",
                unit="ms",
                source="latency_source",
                idle_figure="latency_ms.idle",
                follows_length=True,
                rank=1,
            )
        },
    )
    max_energy_j: float | None = field(
        default=None,
        metadata={
            "cap": Cap(
                help="Hard cap on the worst-case energy of a call in joules.",
                figure="energy_j.worst",
                broken="worst-case energy {amount:.3g} J ({source}) for {tokens:.0f} completion tokens "
                "is over the cap of {cap:g} J",
                unknown="its energy is unknown, so the cap of {cap:g} J cannot hold",
                unknown_rule="energy_unknown",
                unit="J",
                source="energy_source",
                follows_length=True,
                rank=2,
            )
        },
    )
    max_cost_usd: float | None = field(
        default=None,
        metadata={
            "cap": Cap(
                help="Hard cap on the worst-case cost of a call in US dollars; "
                "0 admits only experts that cost nothing.",
                figure="cost_usd.worst",
                broken="worst-case cost {amount:.3g} USD for {tokens:.0f} completion tokens "
                "is over the cap of {cap:g} USD",
                unknown="it has no price, so the cap of {cap:g} USD cannot hold",
                unknown_rule="cost_unknown",
                unit="US$",
                zero=True,
                follows_length=True,
                rank=1,
            )
        },
    )
    min_quality: float | None = field(
        default=None,
        metadata={
            "cap": Cap(
                help="Least predicted quality in [0, 1].",
                figure="quality",
                broken="predicted quality {amount:.3f} ({source}) is below the {cap:g} asked for",
                source="quality.source",
                floor=True,
                zero=True,
                most=1,
                rank=0,
            )
        },
    )
    weights: Weights = Weights()
    prices: Prices = Prices()
    local_only: bool = False


def caps_of(budget: type[Budget]) -> tuple[Cap, ...]:
    """The caps of a budget, in the order of its fields."""
    return tuple(replace(one.metadata["cap"], name=one.name) for one in fields(budget) if "cap" in one.metadata)


def weights_of(weights: type[Weights]) -> tuple[Weight, ...]:
    """All weights, in the order of their fields."""
    return tuple(replace(one.metadata["weight"], name=one.name) for one in fields(weights))


CAPS = caps_of(Budget)
WEIGHTS = weights_of(Weights)
