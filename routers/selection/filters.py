"""Hard rules. One filter per rule; a filter is made only for a request it can bite, so that no cap costs nothing.

Lasting reasons come before passing ones: an expert that is both too dear and unhealthy is rejected as too dear, since
waiting would not help (`Rejection.transient` is what separates a 503 from a 4xx). An unknown figure is NaN, which is
not within any cap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from experts.spec import Capability
from routers.arrays import Mask
from routers.estimators.call import CallFigures, Estimate
from routers.null_experts.filters import Blocked, Offered
from routers.protocols import Filter
from routers.types import Rejection, RouteRequest, Rule


@dataclass(frozen=True, slots=True)
class Allowed:
    """The caller may use only some experts."""

    names: frozenset[str]

    def passes(self, figures: CallFigures) -> Mask:
        """Its name is among the allowed ones."""
        return np.array([name in self.names for name in figures.roster.names], dtype=np.bool_)

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `not_allowed`."""
        return Rejection(figures.roster.names[index], Rule.NOT_ALLOWED, "this caller may not use it")


@dataclass(frozen=True, slots=True)
class Capable:
    """The expert must do all that the request needs."""

    required: frozenset[Capability]

    def passes(self, figures: CallFigures) -> Mask:
        """Nothing required is missing."""
        return figures.roster.capable(self.required)

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `capability`."""
        missing = ", ".join(sorted(self.required - figures.roster.specs[index].capabilities))
        return Rejection(figures.roster.names[index], Rule.CAPABILITY, f"it lacks {missing}, which the request needs")


@dataclass(frozen=True, slots=True)
class FitsContext:
    """Prompt plus the caller's completion limit (one token where none is stated) must fit into the context window."""

    prompt_tokens: int
    completion_tokens: int

    def passes(self, figures: CallFigures) -> Mask:
        """It fits, or the window is unknown."""
        return self.prompt_tokens + self.completion_tokens <= figures.roster.window_tokens

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `context_window`."""
        return Rejection(
            figures.roster.names[index],
            Rule.CONTEXT_WINDOW,
            f"about {self.prompt_tokens} prompt and {self.completion_tokens} completion tokens do not fit its "
            f"window of {figures.roster.specs[index].context_window_tokens}",
        )


@dataclass(frozen=True, slots=True)
class Local:
    """The prompt must stay on the operator's own hardware."""

    def passes(self, figures: CallFigures) -> Mask:
        """The expert is local."""
        return figures.roster.local

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `not_local`."""
        return Rejection(
            figures.roster.names[index],
            Rule.NOT_LOCAL,
            "it runs elsewhere, and the prompt must stay on the operator's hardware",
        )


@dataclass(frozen=True, slots=True)
class MinQuality:
    """The predicted quality must reach a floor."""

    floor: float

    def passes(self, figures: CallFigures) -> Mask:
        """The predicted quality reaches the floor."""
        return figures.quality >= self.floor

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `min_quality`."""
        quality = figures.estimates(index).quality
        return Rejection(
            figures.roster.names[index],
            Rule.MIN_QUALITY,
            f"predicted quality {quality.mean:.3f} ({quality.source}) is below the {self.floor:g} asked for",
        )


@dataclass(frozen=True, slots=True)
class CostCap:
    """The worst-case cost must stay within a cap."""

    cap_usd: float

    def passes(self, figures: CallFigures) -> Mask:
        """The worst-case cost is known and within the cap."""
        return figures.cost_usd.worst <= self.cap_usd

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `max_cost_usd` or `cost_unknown`."""
        name, worst = figures.roster.names[index], figures.cost_usd.worst[index]
        if math.isnan(worst):
            return Rejection(
                name, Rule.COST_UNKNOWN, f"it has no price, so the cap of {self.cap_usd:g} USD cannot hold"
            )
        return Rejection(
            name,
            Rule.MAX_COST_USD,
            f"worst-case cost {worst:.3g} USD for {figures.completion_tokens.worst[index]:.0f} completion tokens "
            f"is over the cap of {self.cap_usd:g} USD",
        )


@dataclass(frozen=True, slots=True)
class EnergyCap:
    """The worst-case energy must stay within a cap."""

    cap_j: float

    def passes(self, figures: CallFigures) -> Mask:
        """The worst-case energy is known and within the cap."""
        return figures.energy_j.worst <= self.cap_j

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `max_energy_j` or `energy_unknown`."""
        name, estimates = figures.roster.names[index], figures.estimates(index)
        if estimates.energy_j_worst is None:
            return Rejection(
                name, Rule.ENERGY_UNKNOWN, f"its energy is unknown, so the cap of {self.cap_j:g} J cannot hold"
            )
        return Rejection(
            name,
            Rule.MAX_ENERGY_J,
            f"worst-case energy {estimates.energy_j_worst:.3g} J ({estimates.energy_source}) for "
            f"{estimates.completion_tokens_worst:.0f} completion tokens is over the cap of {self.cap_j:g} J",
        )


@dataclass(frozen=True, slots=True)
class TtftCap:
    """The worst-case time to first token must stay within a cap."""

    cap_ms: float

    def passes(self, figures: CallFigures) -> Mask:
        """The worst-case time is known and within the cap."""
        return figures.ttft_ms.worst <= self.cap_ms

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `max_ttft_ms` or `latency_unknown`."""
        return _too_slow(figures, index, Rule.MAX_TTFT_MS, "time to first token", figures.ttft_ms, self.cap_ms)


@dataclass(frozen=True, slots=True)
class LatencyCap:
    """The worst-case end-to-end latency must stay within a cap."""

    cap_ms: float

    def passes(self, figures: CallFigures) -> Mask:
        """The worst-case latency is known and within the cap."""
        return figures.latency_ms.worst <= self.cap_ms

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `max_latency_ms` or `latency_unknown`."""
        return _too_slow(figures, index, Rule.MAX_LATENCY_MS, "latency", figures.latency_ms, self.cap_ms)


def _too_slow(figures: CallFigures, index: int, rule: Rule, what: str, estimate: Estimate, cap_ms: float) -> Rejection:
    name, worst_ms = figures.roster.names[index], float(estimate.worst[index])
    if math.isnan(worst_ms):
        return Rejection(
            name, Rule.LATENCY_UNKNOWN, f"its speed is unknown, so the cap on {what} of {cap_ms:g} ms cannot hold"
        )
    # Without the calls in flight it would pass: then waiting helps.
    transient = worst_ms / float(figures.live.load[index]) <= cap_ms
    in_flight = figures.live.states[index].in_flight
    queue = f" with {in_flight} calls in flight" if in_flight else ""
    source = figures.estimates(index).latency_source
    return Rejection(
        name, rule, f"worst-case {what} {worst_ms:.0f} ms ({source}){queue} is over the cap of {cap_ms:g} ms", transient
    )


@dataclass(frozen=True, slots=True)
class Awake:
    """The expert must not be asleep."""

    def passes(self, figures: CallFigures) -> Mask:
        """It is awake."""
        return figures.live.awake

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `asleep`."""
        return Rejection(figures.roster.names[index], Rule.ASLEEP, "it has been put to sleep", transient=True)


@dataclass(frozen=True, slots=True)
class Healthy:
    """The expert must be healthy."""

    def passes(self, figures: CallFigures) -> Mask:
        """It is healthy."""
        return figures.live.healthy

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `unhealthy`."""
        detail = figures.live.states[index].detail or "its recent calls or its probe failed"
        return Rejection(figures.roster.names[index], Rule.UNHEALTHY, detail, transient=True)


@dataclass(frozen=True, slots=True)
class Unsaturated:
    """The expert must have room for one more call."""

    def passes(self, figures: CallFigures) -> Mask:
        """It has room."""
        return figures.live.in_flight < figures.roster.most

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `saturated`."""
        in_flight, most = figures.live.states[index].in_flight, figures.roster.max_concurrency[index]
        detail = f"{in_flight} calls are in flight and it takes {most}"
        return Rejection(figures.roster.names[index], Rule.SATURATED, detail, transient=True)


#: Filters that need no figure of the request, in the order they are asked; all of them passing reasons.
STATE_FILTERS: tuple[Filter, ...] = (Awake(), Healthy(), Unsaturated())


def filters_for(request: RouteRequest, figures: CallFigures) -> list[Filter]:
    """The filters that can bite this request in this pool, lasting reasons first."""
    if request.offers.blocked_by is not None:
        return [Blocked(request.offers)]
    budget = request.budget
    chain: list[Filter] = []
    if request.allowed is not None:
        chain.append(Allowed(request.allowed))
    if request.required:
        chain.append(Capable(request.required))
    if figures.roster.null_positions:
        chain.append(Offered(request.offers))
    completion = 1 if request.max_completion_tokens is None else request.max_completion_tokens
    if request.prompt_tokens + completion > figures.roster.least_window_tokens:
        chain.append(FitsContext(request.prompt_tokens, completion))
    if budget.local_only:
        chain.append(Local())
    if budget.min_quality is not None:
        chain.append(MinQuality(budget.min_quality))
    if budget.max_cost_usd is not None:
        chain.append(CostCap(budget.max_cost_usd))
    if budget.max_energy_j is not None:
        chain.append(EnergyCap(budget.max_energy_j))
    if budget.max_ttft_ms is not None:
        chain.append(TtftCap(budget.max_ttft_ms))
    if budget.max_latency_ms is not None:
        chain.append(LatencyCap(budget.max_latency_ms))
    if not figures.live.all_ready:
        chain.extend(STATE_FILTERS)
    return chain
