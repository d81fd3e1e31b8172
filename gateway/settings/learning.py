"""Settings of learning: what judged answers may change, and what may be spent on shadow calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pointsman.gateway.settings.base import Node, NonNegative, Positive, Share

if TYPE_CHECKING:
    from pointsman.routers.selection.exploration import ExplorationBudget


class ExplorationSettings(Node):
    """Shadow calls, after the client has its answer: the admissible expert that least is known of is asked the same.

    Its answer is compared with the one given, recorded and thrown away.
    """

    share: Share = 0.0
    """Shadow calls per routed request at most; 0 for none."""
    max_cost_usd_per_hour: NonNegative | None = None
    """What they may cost in any hour in US dollars, for each replica. Held against the worst case before a call."""
    max_energy_j_per_hour: NonNegative | None = None
    """What they may take in any hour in joules, for each replica. Held against the worst case before a call."""

    def budget(self, workers: int) -> ExplorationBudget | None:
        """What one of several processes may take; None without shadow calls."""
        if not self.share:
            return None
        from pointsman.routers.selection.exploration import ExplorationBudget

        cost_usd, energy_j = self.max_cost_usd_per_hour, self.max_energy_j_per_hour
        return ExplorationBudget(
            self.share,
            None if cost_usd is None else cost_usd / workers,
            None if energy_j is None else energy_j / workers,
        )


class LearningSettings(Node):
    """Learning from `POST /v1/feedback`, and from shadow calls."""

    enabled: bool = True
    """Let judged answers correct the quality that is predicted of an expert, category by category. All tenants'
    judgements count, and correct the decisions for all. Off: judgements are only recorded."""
    half_life_s: Positive = 604_800.0
    """Seconds after which a judgement weighs half: experts change behind their names."""
    exploration: ExplorationSettings = ExplorationSettings()
    """Shadow calls."""
