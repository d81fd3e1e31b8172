"""The parts of a running gateway, put together in `app.py` and handed to whoever needs them."""

from __future__ import annotations

from dataclasses import dataclass

from experts.pool import ExpertPool
from gateway.access import Access
from gateway.average_budgets import AverageBudgets
from gateway.deciding import Decider
from gateway.exploration import Exploration
from gateway.learning import Learning
from gateway.ledger import Ledger
from gateway.pipeline import Pipeline
from gateway.reload import Configuration
from gateway.settings import Settings
from gateway.shared_store import SharedStore
from gateway.telemetry import Telemetry


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Runtime:
    """One per App."""

    settings: Settings
    pool: ExpertPool
    decider: Decider
    pipeline: Pipeline
    ledger: Ledger
    telemetry: Telemetry
    store: SharedStore | None
    averages: AverageBudgets | None
    learning: Learning | None
    exploration: Exploration | None
    configuration: Configuration
    access: Access
