"""What judged answers may change."""

from __future__ import annotations

from gateway.settings.base import Node, Positive


class LearningSettings(Node):
    """Learning from `POST /v1/feedback`."""

    enabled: bool = True
    """Let judged answers correct the quality that is predicted of an expert, category by category. All tenants'
    judgements count, and correct the decisions for all. Off: judgements are only recorded."""
    half_life_s: Positive = 604_800.0
    """Seconds after which a judgement weighs half: experts change behind their names."""
