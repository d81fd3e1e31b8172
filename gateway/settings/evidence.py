"""Settings of answers as evidence."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pointsman.gateway.settings.base import Node, Share


class EvidenceSettings(Node):
    """Asking several experts and comparing what they answer. Needs a router that was trained on answers."""

    enabled: bool = False
    """Do so for every routed request that does not say otherwise (`routing.evidence`). Answers come later: nothing is
    streamed before one is accepted."""
    max_calls: Annotated[int, Field(ge=1, le=8)] = 4
    """Calls made for one request at most."""
    same_meaning: Share = 0.9
    """Least cosine at which two answers that state no plain result (a letter, a number, a word) count as the same."""
