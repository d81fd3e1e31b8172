"""Settings of safety routing: what becomes of prompts that may ask for harm."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from pointsman.gateway.settings.base import Node, Share


class SafetySettings(Node):
    """Score every prompt, and route by the score. The score is a first screen that reads English, not a judge."""

    enabled: bool = False
    """Score prompts at all."""
    refuse_above: Share = 0.6
    """Least score in [0, 1] at which a prompt is refused, with the message of `null_experts.refusal`."""
    grey_from: Share = 0.3
    """Least score at which a prompt is grey: only the cautious experts may answer it. Without any, grey prompts are
    answered like others."""
    cautious: tuple[str, ...] = ()
    """Names of the experts that refuse by themselves what they should."""

    @model_validator(mode="after")
    def _grey_is_below(self) -> Self:
        if self.grey_from > self.refuse_above:
            raise ValueError("grey_from must not be above refuse_above")
        return self
