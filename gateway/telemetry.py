"""Every metric, in one file. Names and labels here are what dashboards and alerts rely on."""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from pointsman.experts.spec import Source
from pointsman.gateway.pauses import LoopWatchdog
from pointsman.gateway.wire.caching import CacheStatus
from pointsman.routers.outcomes import CallOutcome, Outcome
from pointsman.routers.types import Decision, Reason

_OVERHEAD_BUCKETS_S = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
_FLUSH_S: Final = 1.0
_LATENCY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class _Histogram(Histogram):
    """A histogram that takes many observations at once."""

    def observe_all(self, values: Iterable[float]) -> None:
        """As `observe` of each."""
        counts = [0] * len(self._upper_bounds)
        total = 0.0
        for value in values:
            counts[bisect_left(self._upper_bounds, value)] += 1
            total += value
        if any(counts):
            self._sum.inc(total)
            for bucket, count in zip(self._buckets, counts, strict=True):
                if count:
                    bucket.inc(count)


@dataclass(slots=True)
class _Account:
    """Requests of one endpoint, expert and status since the last flush."""

    requests: int = 0
    latencies_s: list[float] = field(default_factory=list)
    ttfts_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class _Spent:
    """What one expert spent since the last flush."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float = 0.0
    energy_j: dict[Source, float] = field(default_factory=dict)


class Telemetry:
    """The gateway's metrics, on a registry of their own.

    With several workers Prometheus's own multi-process mode adds them up: `PROMETHEUS_MULTIPROC_DIR` is set by the
    parent before the workers start.
    """

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        counter, histogram = partial(Counter, registry=registry), partial(_Histogram, registry=registry)
        gauge = partial(Gauge, registry=registry)
        self._decided: dict[tuple[str, str, Reason, CacheStatus], int] = {}
        self._rejected: dict[tuple[str, str], int] = {}
        self._overheads: list[float] = []
        self._accounts: dict[tuple[str, str, int], _Account] = {}
        self._spendings: dict[str, _Spent] = {}
        self._charges: dict[tuple[str, str], int] = {}
        self.requests = counter("pointsman_requests", "Finished requests.", ["endpoint", "expert", "status"])
        self.refusals = counter(
            "pointsman_refusals", "Requests refused by the gateway itself, by error code.", ["code"]
        )
        self.decisions = counter(
            "pointsman_decisions", "Decisions by category, chosen expert and reason.", ["category", "expert", "reason"]
        )
        self.rejections = counter(
            "pointsman_rejections", "Experts kept out of a decision, by hard rule.", ["expert", "rule"]
        )
        self.cache = counter("pointsman_decision_cache", "Look-ups in the decision cache, by result.", ["result"])
        self.fallbacks = counter(
            "pointsman_fallbacks", "Attempts given up for the next expert, by cause.", ["expert", "cause"]
        )
        self.shed = counter("pointsman_shed", "Requests turned away because experts were full, by reason.", ["reason"])
        self.retries_refused = counter(
            "pointsman_retries_refused", "Failures passed on because too much was asked again.", ["expert"]
        )
        self.hedges = counter("pointsman_hedges", "Second experts asked because the first was late.", ["outcome"])
        self.disconnects = counter("pointsman_client_disconnects", "Clients that left before the end.")
        self.broken_streams = counter(
            "pointsman_broken_streams", "Streams that an expert broke off after the first byte.", ["expert"]
        )
        self.redis_errors = counter("pointsman_redis_errors", "Failed Redis operations, by kind.", ["kind"])
        self.evidence_calls = counter(
            "pointsman_evidence_calls",
            "Calls made to compare answers, by what each was to the accepted one.",
            ["expert", "verdict"],
        )
        self.shadow_calls = counter(
            "pointsman_shadow_calls",
            "Calls made to learn after the client had its answer, by what each was to that answer.",
            ["expert", "verdict"],
        )
        self.feedback = counter("pointsman_feedback", "Judgements received by POST /v1/feedback.", ["expert"])
        self.lessons = counter("pointsman_lessons", "Judgements that corrected predictions.", ["expert"])
        self._spending_counters(counter)
        self.overhead = histogram(
            "pointsman_overhead_seconds",
            "From the last byte of the request to its dispatch.",
            buckets=_OVERHEAD_BUCKETS_S,
        )
        self.ttft = histogram(
            "pointsman_ttft_seconds",
            "From dispatch to the first byte of the answer.",
            ["expert"],
            buckets=_LATENCY_BUCKETS_S,
        )
        self.latency = histogram(
            "pointsman_latency_seconds",
            "From the last byte of the request to the last byte of the answer.",
            ["expert"],
            buckets=_LATENCY_BUCKETS_S,
        )
        self.in_flight = gauge(
            "pointsman_in_flight",
            "Calls in flight per expert.",
            ["expert"],
            multiprocess_mode="livesum",
        )
        self.waiting = gauge("pointsman_waiting", "Requests that wait for room.", multiprocess_mode="livesum")
        self.expert_healthy = gauge(
            "pointsman_expert_healthy",
            "1 when the expert's circuit is closed, as this process sees it.",
            ["expert"],
            multiprocess_mode="min",
        )
        self.pauses = LoopWatchdog()
        self.loop_pause = gauge(
            "pointsman_loop_pause_seconds",
            "Longest pause of the event loop within the last minute; of several workers the longest.",
            multiprocess_mode="livemax",
        )
        self.loop_pauses = counter("pointsman_loop_pauses", "Times that the event loop stood still for over 100 ms.")
        self.config_version = gauge(
            "pointsman_config_version",
            "Version of the settings that serve; of several workers the oldest.",
            multiprocess_mode="livemin",
        )
        self.config_reloads = counter(
            "pointsman_config_reloads", "Wishes to change the settings, by what became of them.", ["outcome"]
        )

        self.budget_allowed = self._budget_gauge("allowed", "What an average budget allows, by resource.")
        self.budget_average = self._budget_gauge("average", "The average over the sliding window, by resource.")
        self.budget_price = self._budget_gauge("price", "Price of the whole budget in quality, by resource.")

    def _spending_counters(self, counter: Callable[..., Counter]) -> None:
        """What calls took, and by what that is known."""
        self.implausible_usage = counter(
            "pointsman_implausible_usage",
            "Calls whose expert reported more tokens than there can be, or counts that are none.",
            ["expert"],
        )
        self.charges = counter(
            "pointsman_charges", "Calls of callers with limits, by what their charge went by.", ["expert", "basis"]
        )
        self.tokens = counter("pointsman_tokens", "Tokens as the experts reported them.", ["expert", "kind"])
        self.token_details = counter(
            "pointsman_token_details",
            "Of these tokens: prompt tokens out of and into the expert's cache, and completion tokens of reasoning.",
            ["expert", "kind"],
        )
        self.cost = counter("pointsman_cost_usd", "Dollars by list price and reported tokens.", ["expert"])
        self.energy = counter(
            "pointsman_energy_joules", "Joules, measured or estimated as the label says.", ["expert", "source"]
        )

    def budget(self, resource: str, *, allowed: float, average: float, price: float) -> None:
        """Show the state of an average budget."""
        self.budget_allowed.labels(resource).set(allowed)
        self.budget_average.labels(resource).set(average)
        self.budget_price.labels(resource).set(price)

    def _budget_gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(
            f"pointsman_average_budget_{name}",
            meaning,
            ["resource"],
            registry=self._registry,
            multiprocess_mode="livemostrecent",
        )

    def overhead_of(self, overhead_s: float) -> None:
        """Count how long a decision took."""
        self._overheads.append(overhead_s)

    def decided(self, decision: Decision, hit: CacheStatus) -> None:
        """Count a decision, its hard rejections and how the cache fared."""
        kind = decision.classification
        key = (kind.category if kind is not None else "", decision.expert or "", decision.reason, hit)
        self._decided[key] = self._decided.get(key, 0) + 1
        if decision.reason is Reason.NAMED:
            return
        for rejection in decision.explanation.barred.items():
            self._rejected[rejection] = self._rejected.get(rejection, 0) + 1

    def finished(self, endpoint: str, outcome: Outcome) -> None:
        """Count a request that reached an expert."""
        key = (endpoint, outcome.expert, outcome.status)
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = _Account()
        account.requests += 1
        if outcome.latency_ms is not None:
            account.latencies_s.append(outcome.latency_ms / 1e3)
        if outcome.ttft_ms is not None:
            account.ttfts_s.append(outcome.ttft_ms / 1e3)
        for call in outcome.calls:
            self.evidence_calls.labels(call.expert, call.verdict.value).inc()
        for spender in outcome.calls or (outcome,):
            self._spent(spender, outcome.energy_source)

    def charged(self, expert: str, basis: str) -> None:
        """Count a call of a caller with limits."""
        key = (expert, basis)
        self._charges[key] = self._charges.get(key, 0) + 1

    def shadowed(self, call: CallOutcome) -> None:
        """Count a call that was made to learn."""
        self.shadow_calls.labels(call.expert, call.verdict.value).inc()
        # However an energy model was fitted, applied to this call it is an estimate.
        self._spent(call, Source.ESTIMATED)

    def _spent(self, call: Outcome | CallOutcome, energy_source: Source | None) -> None:
        spent = self._spendings.get(call.expert)
        if spent is None:
            spent = self._spendings[call.expert] = _Spent()
        if call.prompt_tokens is not None:
            spent.prompt_tokens += call.prompt_tokens
        if call.completion_tokens is not None:
            spent.completion_tokens += call.completion_tokens
        if call.cached_tokens or call.cache_write_tokens or call.reasoning_tokens:
            spent.cached_tokens += call.cached_tokens or 0
            spent.cache_write_tokens += call.cache_write_tokens or 0
            spent.reasoning_tokens += call.reasoning_tokens or 0
        if call.cost_usd is not None:
            spent.cost_usd += call.cost_usd
        if call.energy_j is not None and energy_source is not None:
            spent.energy_j[energy_source] = spent.energy_j.get(energy_source, 0.0) + call.energy_j

    def flush(self) -> None:
        """Put what was counted since into the metrics. The library's own counting costs a request ten times as much."""
        decided, self._decided = self._decided, {}
        for (category, expert, reason, hit), count in decided.items():
            self.decisions.labels(category, expert, reason.value).inc(count)
            self.cache.labels(hit.value).inc(count)
        rejected, self._rejected = self._rejected, {}
        for (expert, rule), count in rejected.items():
            self.rejections.labels(expert, str(rule)).inc(count)
        overheads, self._overheads = self._overheads, []
        self.overhead.observe_all(overheads)
        accounts, self._accounts = self._accounts, {}
        for (endpoint, expert, status), account in accounts.items():
            self.requests.labels(endpoint, expert, str(status)).inc(account.requests)
            self.latency.labels(expert).observe_all(account.latencies_s)
            self.ttft.labels(expert).observe_all(account.ttfts_s)
        charges, self._charges = self._charges, {}
        for (expert, basis), count in charges.items():
            self.charges.labels(expert, str(basis)).inc(count)
        spendings, self._spendings = self._spendings, {}
        for expert, spent in spendings.items():
            self.tokens.labels(expert, "prompt").inc(spent.prompt_tokens)
            self.tokens.labels(expert, "completion").inc(spent.completion_tokens)
            for kind, tokens in (
                ("cached", spent.cached_tokens),
                ("cache_write", spent.cache_write_tokens),
                ("reasoning", spent.reasoning_tokens),
            ):
                if tokens:
                    self.token_details.labels(expert, kind).inc(tokens)
            self.cost.labels(expert).inc(spent.cost_usd)
            for source, energy_j in spent.energy_j.items():
                self.energy.labels(expert, source.value).inc(energy_j)
        long, self.pauses.long = self.pauses.long, 0
        self.loop_pauses.inc(long)
        self.loop_pause.set(self.pauses.longest_s)

    async def run(self) -> None:
        """Flush once a second until cancelled, for the scrapes that other workers answer."""
        while True:
            await asyncio.sleep(_FLUSH_S)
            self.flush()

    def render(self, experts: Iterable[tuple[str, int, bool]]) -> bytes:
        """The exposition text; `experts` are (name, calls in flight, healthy) now."""
        self.flush()
        for name, in_flight, healthy in experts:
            self.in_flight.labels(name).set(in_flight)
            self.expert_healthy.labels(name).set(1 if healthy else 0)
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(self._registry)
