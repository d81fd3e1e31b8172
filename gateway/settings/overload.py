"""Settings of overload: queueing, retries and hedging."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pointsman.gateway.settings.base import Name, Node, NonNegative, Positive, Share

PriorityName = Literal["low", "normal", "high"]


class TenantShareSettings(Node):
    """What one tenant may have of a full pool."""

    weight: Positive = 1.0
    """Its share of the turns beside the other tenants that wait with the same priority."""
    priority: PriorityName = "normal"
    """Its priority, and the highest that its callers may ask for with `routing.priority`."""


class AdmissionSettings(Node):
    """Requests that wait until an expert has room."""

    queue: int = Field(default=256, ge=0, le=100_000)
    """Requests that may wait in each process; 0 refuses at once."""
    max_wait_ms: Positive = 5_000.0
    """Longest wait in milliseconds. A request that would foreseeably wait longer is refused at once."""
    tenants: dict[Name, TenantShareSettings] = Field(default_factory=dict)
    """Shares of tenants; those not named here have weight 1 and priority `normal`."""


class RetrySettings(Node):
    """How much asking again may add to the load."""

    share: Share = 0.2
    """Second and later attempts allowed for each request, over the last ten seconds."""
    least_per_s: NonNegative = 5.0
    """Attempts a second that are allowed however few the requests are."""


class HedgingSettings(Node):
    """Asking a second expert when the first one takes longer than foreseen; the quicker one answers."""

    enabled: bool = False
    """Whether to. What the slower one was asked is paid for as well."""
    after: Positive = 1.0
    """Multiple of the predicted p95 (time to first token of a stream, else latency) after which the second is asked."""
    least_ms: Positive = 50.0
    """Milliseconds that the first expert has in any case, and all it has where nothing is predicted of it."""
    max_share: Share = 0.05
    """Requests for which a second expert may be asked, as a share of all over the last ten seconds."""
