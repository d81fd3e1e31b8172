"""What the gateway really exposes, and what a PromQL expression asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from prometheus_client import CollectorRegistry

from pointsman.gateway.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Family:
    """A metric as its collector declares it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


@cache
def families() -> tuple[Family, ...]:
    """Every metric, read off the gateway's own collectors."""
    registry = Telemetry()._registry
    assert isinstance(registry, CollectorRegistry)
    return tuple(
        Family(family.name, family.type, tuple(getattr(collector, "_labelnames", ())), family.documentation)
        for collector in registry._collector_to_names
        for family in collector.describe()
    )


@cache
def exposed() -> dict[str, set[str]]:
    """Sample name -> label names."""
    found: dict[str, set[str]] = {}
    for family in families():
        labels = set(family.labels)
        suffixes = {
            "counter": {"_total": labels},
            "histogram": {"_bucket": labels | {"le"}, "_sum": labels, "_count": labels},
            "gauge": {"": labels},
        }[family.kind]
        found |= {family.name + suffix: names for suffix, names in suffixes.items()}
    return found


def asked(expression: str) -> list[tuple[str, set[str]]]:
    """Every metric of ours in an expression, with the labels its selector and its aggregation name.

    An aggregation is attributed to the first metric after it, which is enough for expressions that aggregate one
    metric at a time.
    """
    wanted: list[tuple[str, set[str]]] = []
    by: set[str] = set()
    for match in re.finditer(r"by \(([^)]*)\)|\b(pointsman_\w+)(?:\{([^}]*)\})?", expression):
        grouping, name, selector = match.groups()
        if grouping is not None:
            by = {label.strip() for label in grouping.split(",")}
        else:
            wanted.append((name, by | set(re.findall(r"(\w+)\s*[=!]~?\s*\"", selector or ""))))
            by = set()
    return wanted
