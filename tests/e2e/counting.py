"""What a gateway counts and does for its requests, read from outside: from its metrics, its ledger, its limits.

How often a request is parsed and authorised no metric says. That is seen by a profile function, which knows functions
by their qualified names alone, in whichever module of the gateway they live and whoever calls them.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from pointsman.experts.backends.openai_http import OpenAIHttpExpert
from pointsman.gateway.access.limits import Resource
from tests.e2e.running import Running

#: A counter, or a counter by label.
Counts = dict[str, int | dict[str, int]]

#: Qualified names of the gateway's functions that are called once for a request.
_PARSES: Final = "parse_inbound"
_AUTHORISES: Final = "Keyring.caller"
#: What each request lets the retries and the races have, and what they take of it: one `RetryBudget` for each.
_DEPOSITS: Final = "RetryBudget.request"
_TAKES: Final = "RetryBudget.take"
_WATCHED: Final = frozenset((_PARSES, _AUTHORISES, _DEPOSITS, _TAKES))

#: Counters of `docs/metrics.md` without labels that matter here.
_METRICS: Final[Mapping[str, str]] = {
    "pointsman_decisions_total": "decisions",
    "pointsman_overhead_seconds_count": "overheads",
    "pointsman_fallbacks_total": "fallbacks",
    "pointsman_client_disconnects_total": "disconnects",
}
#: Those by a label.
_LABELLED: Final[Mapping[str, tuple[str, str]]] = {
    "pointsman_requests_total": ("outcomes", "status"),
    "pointsman_refusals_total": ("refusals", "code"),
    "pointsman_hedges_total": ("hedges", "outcome"),
}

#: What is one for every request that an expert answers, whatever its kind.
ONCE: Final = (
    "parsed",
    "authorised",
    "decisions",
    "overheads",
    "ledger entries",
    "deposits for retries",
)
#: What is none once all is over.
NOTHING: Final = (
    "ledger entries without outcome",
    "retries and races",
    "fallbacks",
    "disconnects",
    "calls in flight",
    "busy connections",
    "held",
)


@dataclass
class Seen:
    """Calls of the watched functions, by the object whose method it is; None for plain functions."""

    calls: Counter[tuple[str, int | None]] = field(default_factory=Counter)

    def profile(self, frame: FrameType, event: str, arg: object) -> None:
        """For `sys.setprofile`."""
        name = frame.f_code.co_qualname
        if event == "call" and name in _WATCHED and frame.f_globals["__name__"].startswith("pointsman.gateway."):
            owner = frame.f_locals.get("self")
            self.calls[name, None if owner is None else id(owner)] += 1

    def of(self, name: str) -> int:
        """Calls of one function in all."""
        return sum(count for (called, _), count in self.calls.items() if called == name)

    def most_of(self, name: str) -> int:
        """Calls of one method, on the object it was called on most."""
        return max((count for (called, _), count in self.calls.items() if called == name), default=0)


@contextmanager
def _watching() -> Iterator[Seen]:
    seen, before = Seen(), sys.getprofile()
    sys.setprofile(seen.profile)
    try:
        yield seen
    finally:
        sys.setprofile(before)


class Counting:
    """The counters of one gateway, since a moment.

    Args:
        gateway: Whose.
        seen: What it was seen to do since.
    """

    def __init__(self, gateway: Running, seen: Seen) -> None:
        self._gateway = gateway
        self._seen = seen
        self._before = self._told()
        self._entries_before = set(self._ledger)

    @property
    def _ledger(self) -> Mapping[str, Any]:
        return self._gateway.app.runtime.ledger._recent

    @property
    def counts(self) -> Counts:
        """How everything stands."""
        found: Counts = {}
        for name, count in self._told().items():
            before = self._before[name]
            if isinstance(count, Counter) and isinstance(before, Counter):
                found[name] = dict(count - before)
            else:
                found[name] = int(count) - int(before)  # type: ignore[arg-type]
        seen, runtime = self._seen, self._gateway.app.runtime
        entries = [entry for name, entry in self._ledger.items() if name not in self._entries_before]
        clients = [expert._client for expert in runtime.pool if isinstance(expert, OpenAIHttpExpert)]
        return {
            **found,
            "parsed": seen.of(_PARSES),
            "authorised": seen.of(_AUTHORISES),
            "deposits for retries": seen.most_of(_DEPOSITS),
            "retries and races": seen.of(_TAKES),
            "ledger entries": len(entries),
            "ledger entries without outcome": sum(entry.outcome is None for entry in entries),
            "calls in flight": sum(runtime.pool.in_flight().values()),
            "busy connections": sum(client.connections - client.idle_connections for client in clients),
            # Sums of dollars differ in the last digits.
            "held": sum(abs(meter.held) > 1e-6 for meter in runtime.access.meters),
        }

    def _told(self) -> dict[str, float | Counter[str]]:
        """What the metrics say, and the limits."""
        found: dict[str, float | Counter[str]] = dict.fromkeys(_METRICS.values(), 0)
        by_label: dict[str, Counter[str]] = {name: Counter() for name, _ in _LABELLED.values()}
        runtime = self._gateway.app.runtime
        for family in text_string_to_metric_families(runtime.telemetry.render(()).decode()):
            for sample in family.samples:
                if sample.name in _METRICS:
                    found[_METRICS[sample.name]] += sample.value  # type: ignore[operator]
                elif sample.name in _LABELLED:
                    name, label = _LABELLED[sample.name]
                    by_label[name][sample.labels[label]] += int(sample.value)
        metered = [meter for meter in runtime.access.meters if meter.resource == Resource.REQUESTS]
        return {**found, **by_label, "requests against a limit": sum(round(meter.spent) for meter in metered)}

    async def come_to(self, expected: Counts, seconds: float = 0.5) -> None:
        """Check the counters, once they have had the time to get there.

        Raises:
            AssertionError: They are others.
        """
        deadline_s = asyncio.get_running_loop().time() + seconds
        while self.counts != expected and asyncio.get_running_loop().time() < deadline_s:
            await asyncio.sleep(0.005)
        self.check(expected)

    def check(self, expected: Counts) -> None:
        """Check the counters as they stand.

        Raises:
            AssertionError: They are others.
        """
        counts = self.counts
        wrong = {name: (count, expected.get(name)) for name, count in counts.items() if count != expected.get(name)}
        assert not wrong, "counted, expected: " + ", ".join(f"{name} {pair}" for name, pair in sorted(wrong.items()))
        assert counts == expected


@contextmanager
def counting(gateway: Running) -> Iterator[Counting]:
    """Count from here to the end of the block."""
    with _watching() as seen:
        yield Counting(gateway, seen)


def once_each(requests: int, status: int = 200, **differing: int | dict[str, int]) -> Counts:
    """The counters after so many requests, each of which was parsed, authorised, decided and recorded once.

    Args:
        requests: How many.
        status: What the clients got.
        differing: Counters that are others, with `_` for their spaces.
    """
    expected: Counts = {
        **dict.fromkeys(ONCE, requests),
        **dict.fromkeys(NOTHING, 0),
        "outcomes": {str(status): requests},
        "refusals": {},
        "hedges": {},
        "requests against a limit": 0,
    }
    return {**expected, **{name.replace("_", " "): count for name, count in differing.items()}}


def undecided(requests: int, **differing: int | dict[str, int]) -> Counts:
    """The counters after requests that were parsed and authorised, and no more."""
    nothing = {name.replace(" ", "_"): 0 for name in ONCE if name not in ("parsed", "authorised")}
    return once_each(requests, **{**nothing, "outcomes": {}, **differing})
