"""Every metric of the report, collected from the modules in which they are defined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType

from pointsman.evals.metrics.definitions import choices, cost, prediction, quality, speed, two_experts
from pointsman.evals.metrics.metric import Metric

_MODULES = (quality, choices, cost, two_experts, prediction, speed)


def metrics_of(*modules: ModuleType) -> tuple[Metric, ...]:
    """The metrics that modules define, in the order of their definition.

    Raises:
        ValueError: Two have the same name.
    """
    found = tuple(value for module in modules for value in vars(module).values() if isinstance(value, Metric))
    names = [one.name for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"defined twice: {', '.join(twice)}")
    return found


#: In the order in which tables show them.
METRICS = metrics_of(*_MODULES)


def metrics_to_show(rows: Sequence[Mapping[str, float | None]]) -> tuple[Metric, ...]:
    """The metrics that have something to show.

    Args:
        rows: Values by metric, of every row of a report.
    """
    values = {one.name: {row.get(one.name) for row in rows} - {None} for one in METRICS}
    return tuple(one for one in METRICS if values[one.name] - {one.hidden_at})


def metrics_markdown(metrics: tuple[Metric, ...] = METRICS) -> str:
    """The table of metrics of `docs/evaluation.md`, with a final newline."""
    lines = ["| metric | heading | unit | better | definition |", "|---|---|---|---|---|"]
    for one in metrics:
        told = f"{one.source}: {one.definition}" if one.source else one.definition
        cells = (f"`{one.name}`", one.heading, one.unit, one.better or "", told)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"
