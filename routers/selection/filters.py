"""Hard rules. One filter per rule; a filter is made only for a request it can bite, so that no cap costs nothing.

Lasting reasons come before passing ones: an expert that is both too dear and unhealthy is rejected as too dear, since
waiting would not help (`Rejection.transient` is what separates a 503 from a 4xx).
"""

from __future__ import annotations

from dataclasses import dataclass

from routers.protocols import Filter
from routers.types import Candidate, Rejection, RouteRequest, Rule


@dataclass(frozen=True, slots=True)
class Allowed:
    """The caller may use only some experts."""

    names: frozenset[str]

    def reject(self, request: RouteRequest, candidate: Candidate) -> Rejection | None:
        """Rule `not_allowed`."""
        name = candidate.spec.name
        if name in self.names:
            return None
        return Rejection(name, Rule.NOT_ALLOWED, "this caller may not use it")


@dataclass(frozen=True, slots=True)
class Capable:
    """The expert must do all that the request needs."""

    def reject(self, request: RouteRequest, candidate: Candidate) -> Rejection | None:
        """Rule `capability`."""
        missing = request.required - candidate.spec.capabilities
        if not missing:
            return None
        return Rejection(
            candidate.spec.name, Rule.CAPABILITY, f"it lacks {', '.join(sorted(missing))}, which the request needs"
        )


@dataclass(frozen=True, slots=True)
class FitsContext:
    """Prompt plus the caller's completion limit (one token where none is stated) must fit into the context window."""

    def reject(self, request: RouteRequest, candidate: Candidate) -> Rejection | None:
        """Rule `context_window`."""
        window = candidate.spec.context_window_tokens
        if window is None:
            return None
        completion = 1 if request.max_completion_tokens is None else request.max_completion_tokens
        if request.prompt_tokens + completion <= window:
            return None
        return Rejection(
            candidate.spec.name,
            Rule.CONTEXT_WINDOW,
            f"about {request.prompt_tokens} prompt and {completion} completion tokens do not fit its "
            f"window of {window}",
        )


@dataclass(frozen=True, slots=True)
class Local:
    """The prompt must stay on the operator's own hardware."""

    def reject(self, request: RouteRequest, candidate: Candidate) -> Rejection | None:
        """Rule `not_local`."""
        if candidate.spec.local:
            return None
        return Rejection(
            candidate.spec.name,
            Rule.NOT_LOCAL,
            "it runs elsewhere, and the prompt must stay on the operator's hardware",
        )


@dataclass(frozen=True, slots=True)
class MinQuality:
    """The predicted quality must reach a floor."""

    floor: float

    def reject(self, request: RouteRequest, candidate: Candidate) -> Rejection | None:
        """Rule `min_quality`."""
        quality = candidate.estimates.quality
        if quality.mean >= self.floor:
            return None
        return Rejection(
            candidate.spec.name,
            Rule.MIN_QUALITY,
            f"predicted quality {quality.mean:.3f} ({quality.source}) is below the {self.floor:g} asked for",
        )


@dataclass(frozen=True, slots=True)
class CostCap:
    """The worst-case cost must stay within a cap."""

    cap_usd: float

    def reject(self, request: RouteRequest, candidate: Candidate) -> Rejection | None:
        """Rule `max_cost_usd` or `cost_unknown`."""
        worst = candidate.estimates.cost_usd_worst
        if worst is None:
            return Rejection(
                candidate.spec.name,
                Rule.COST_UNKNOWN,
                f"it has no price, so the cap of {self.cap_usd:g} USD cannot hold",
            )
        if worst <= self.cap_usd:
            return None
        return Rejection(
            candidate.spec.name,
            Rule.MAX_COST_USD,
            f"worst-case cost {worst:.3g} USD for {candidate.estimates.completion_tokens_worst:.0f} completion tokens "
            f"is over the cap of {self.cap_usd:g} USD",
        )


@dataclass(frozen=True, slots=True)
class EnergyCap:
    """The worst-case energy must stay within a cap."""

    cap_j: float

    def reject(self, request: RouteRequest, candidate: Candidate) -> Rejection | None:
        """Rule `max_energy_j` or `energy_unknown`."""
        estimates = candidate.estimates
        worst = estimates.energy_j_worst
        if worst is None:
            return Rejection(
                candidate.spec.name,
                Rule.ENERGY_UNKNOWN,
                f"its energy is unknown, so the cap of {self.cap_j:g} J cannot hold",
            )
        if worst <= self.cap_j:
            return None
        return Rejection(
            candidate.spec.name,
            Rule.MAX_ENERGY_J,
            f"worst-case energy {worst:.3g} J ({estimates.energy_source}) for "
            f"{estimates.completion_tokens_worst:.0f} completion tokens is over the cap of {self.cap_j:g} J",
        )


@dataclass(frozen=True, slots=True)
class TtftCap:
    """The worst-case time to first token must stay within a cap."""

    cap_ms: float

    def reject(self, request: RouteRequest, candidate: Candidate) -> Rejection | None:
        """Rule `max_ttft_ms` or `latency_unknown`."""
        worst = candidate.estimates.ttft_ms_worst
        if worst is None:
            return _latency_unknown(candidate, f"time to first token of {self.cap_ms:g} ms")
        if worst <= self.cap_ms:
            return None
        return _too_slow(candidate, Rule.MAX_TTFT_MS, "time to first token", worst, self.cap_ms)


@dataclass(frozen=True, slots=True)
class LatencyCap:
    """The worst-case end-to-end latency must stay within a cap."""

    cap_ms: float

    def reject(self, request: RouteRequest, candidate: Candidate) -> Rejection | None:
        """Rule `max_latency_ms` or `latency_unknown`."""
        worst = candidate.estimates.latency_ms_worst
        if worst is None:
            return _latency_unknown(candidate, f"latency of {self.cap_ms:g} ms")
        if worst <= self.cap_ms:
            return None
        return _too_slow(candidate, Rule.MAX_LATENCY_MS, "latency", worst, self.cap_ms)


def _latency_unknown(candidate: Candidate, cap: str) -> Rejection:
    return Rejection(
        candidate.spec.name, Rule.LATENCY_UNKNOWN, f"its speed is unknown, so the cap on {cap} cannot hold"
    )


def _too_slow(candidate: Candidate, rule: Rule, what: str, worst_ms: float, cap_ms: float) -> Rejection:
    spec, state = candidate.spec, candidate.state
    load = 1.0 + state.in_flight / spec.max_concurrency
    # Without the calls in flight it would pass: then waiting helps.
    transient = worst_ms / load <= cap_ms
    queue = f" with {state.in_flight} calls in flight" if state.in_flight else ""
    return Rejection(
        spec.name,
        rule,
        f"worst-case {what} {worst_ms:.0f} ms ({candidate.estimates.latency_source}){queue} "
        f"is over the cap of {cap_ms:g} ms",
        transient,
    )


@dataclass(frozen=True, slots=True)
class Awake:
    """The expert must not be asleep."""

    def reject(self, request: RouteRequest, candidate: Candidate) -> Rejection | None:
        """Rule `asleep`."""
        if candidate.state.awake:
            return None
        return Rejection(candidate.spec.name, Rule.ASLEEP, "it has been put to sleep", transient=True)


@dataclass(frozen=True, slots=True)
class Healthy:
    """The expert must be healthy."""

    def reject(self, request: RouteRequest, candidate: Candidate) -> Rejection | None:
        """Rule `unhealthy`."""
        if candidate.state.healthy:
            return None
        detail = candidate.state.detail or "its recent calls or its probe failed"
        return Rejection(candidate.spec.name, Rule.UNHEALTHY, detail, transient=True)


@dataclass(frozen=True, slots=True)
class Unsaturated:
    """The expert must have room for one more call."""

    def reject(self, request: RouteRequest, candidate: Candidate) -> Rejection | None:
        """Rule `saturated`."""
        in_flight, most = candidate.state.in_flight, candidate.spec.max_concurrency
        if in_flight < most:
            return None
        return Rejection(
            candidate.spec.name, Rule.SATURATED, f"{in_flight} calls are in flight and it takes {most}", transient=True
        )


#: Filters that need no figure of the request, in the order they are asked; all of them passing reasons.
STATE_FILTERS: tuple[Filter, ...] = (Awake(), Healthy(), Unsaturated())


def filters_for(request: RouteRequest) -> tuple[Filter, ...]:
    """The filters that can bite this request, lasting reasons first."""
    budget = request.budget
    chain: list[Filter] = []
    if request.allowed is not None:
        chain.append(Allowed(request.allowed))
    if request.required:
        chain.append(Capable())
    chain.append(FitsContext())
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
    chain.extend(STATE_FILTERS)
    return tuple(chain)
