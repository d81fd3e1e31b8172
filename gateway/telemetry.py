"""Every metric, in one file. Names and labels here are what dashboards and alerts rely on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from experts.spec import Source
from gateway.cache import Hit
from routers.types import CallOutcome, Decision, Outcome, Reason

_OVERHEAD_BUCKETS_S = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
_LATENCY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Telemetry:
    """The gateway's metrics, on a registry of their own.

    With several workers Prometheus's own multi-process mode adds them up: `PROMETHEUS_MULTIPROC_DIR` is set by the
    parent before the workers start.
    """

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        counter, histogram = partial(Counter, registry=registry), partial(Histogram, registry=registry)
        self._children: dict[tuple[Counter | Histogram, tuple[str, ...]], Any] = {}
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
        self.tokens = counter("pointsman_tokens", "Tokens as the experts reported them.", ["expert", "kind"])
        self.cost = counter("pointsman_cost_usd", "Dollars by list price and reported tokens.", ["expert"])
        self.energy = counter(
            "pointsman_energy_joules", "Joules, measured or estimated as the label says.", ["expert", "source"]
        )
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
        self.in_flight = Gauge(
            "pointsman_in_flight",
            "Calls in flight per expert.",
            ["expert"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.expert_healthy = Gauge(
            "pointsman_expert_healthy",
            "1 when the expert's circuit is closed, as this process sees it.",
            ["expert"],
            registry=registry,
            multiprocess_mode="min",
        )

        self.budget_allowed = self._budget_gauge("allowed", "What an average budget allows, by resource.")
        self.budget_average = self._budget_gauge("average", "The average over the sliding window, by resource.")
        self.budget_price = self._budget_gauge("price", "Price of the whole budget in quality, by resource.")

    def budget(self, resource: str, *, allowed: float, average: float, price: float) -> None:
        """Show how an average budget fares."""
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

    def _child(self, metric: Counter | Histogram, *labels: str) -> Any:
        """`metric.labels(...)` remembered: the look-up in the library takes a lock and checks every label."""
        key = (metric, labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child

    def decided(self, decision: Decision, hit: Hit) -> None:
        """Count a decision, its hard rejections and how the cache fared."""
        kind = decision.classification
        self._child(
            self.decisions, kind.category if kind is not None else "", decision.expert or "", decision.reason.value
        ).inc()
        self._child(self.cache, hit.value).inc()
        if decision.reason is Reason.NAMED:
            return
        for expert, rule in decision.explanation.barred.items():
            self._child(self.rejections, expert, rule.value).inc()

    def finished(self, endpoint: str, outcome: Outcome) -> None:
        """Count a request that reached an expert."""
        expert = outcome.expert
        self._child(self.requests, endpoint, expert, str(outcome.status)).inc()
        if outcome.latency_ms is not None:
            self._child(self.latency, expert).observe(outcome.latency_ms / 1e3)
        if outcome.ttft_ms is not None:
            self._child(self.ttft, expert).observe(outcome.ttft_ms / 1e3)
        for call in outcome.calls:
            self._child(self.evidence_calls, call.expert, call.verdict.value).inc()
        for spender in outcome.calls or (outcome,):
            self._spent(spender, outcome.energy_source)

    def shadowed(self, call: CallOutcome) -> None:
        """Count a call that was made to learn."""
        self._child(self.shadow_calls, call.expert, call.verdict.value).inc()
        # However an energy model was fitted, applied to this call it is an estimate.
        self._spent(call, Source.ESTIMATED)

    def _spent(self, call: Outcome | CallOutcome, energy_source: Source | None) -> None:
        expert = call.expert
        if call.prompt_tokens is not None:
            self._child(self.tokens, expert, "prompt").inc(call.prompt_tokens)
        if call.completion_tokens is not None:
            self._child(self.tokens, expert, "completion").inc(call.completion_tokens)
        if call.cost_usd is not None:
            self._child(self.cost, expert).inc(call.cost_usd)
        if call.energy_j is not None and energy_source is not None:
            self._child(self.energy, expert, energy_source.value).inc(call.energy_j)

    def render(self, experts: Iterable[tuple[str, int, bool]]) -> bytes:
        """The exposition text; `experts` are (name, calls in flight, healthy) now."""
        for name, in_flight, healthy in experts:
            self.in_flight.labels(name).set(in_flight)
            self.expert_healthy.labels(name).set(1 if healthy else 0)
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(self._registry)
