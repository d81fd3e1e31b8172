"""The parts of a running gateway. `app.py` puts them together and hands them to the code that needs them."""

from __future__ import annotations

from dataclasses import dataclass

from pointsman.experts.pool import ExpertPool
from pointsman.gateway.access.access import Access
from pointsman.gateway.deciding.decider import Decider
from pointsman.gateway.deciding.resumption import Resumption
from pointsman.gateway.dispatch.data_plane import DataPlane
from pointsman.gateway.dispatch.exploration import Exploration
from pointsman.gateway.record.ledger import Ledger
from pointsman.gateway.settings import Settings
from pointsman.gateway.settings.version import SettingsVersion
from pointsman.gateway.shared.average_budgets import AverageBudgets
from pointsman.gateway.shared.learning import Learning
from pointsman.gateway.shared.store import SharedStore
from pointsman.gateway.telemetry import Telemetry
from pointsman.gateway.wire.large_bodies import BodyLimits, LargeBodies


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Runtime:
    """One per App."""

    settings: Settings
    pool: ExpertPool
    decider: Decider
    resumption: Resumption
    ledger: Ledger
    telemetry: Telemetry
    store: SharedStore | None
    averages: AverageBudgets | None
    learning: Learning | None
    exploration: Exploration | None
    configuration: SettingsVersion
    access: Access
    body_limits: BodyLimits
    large_bodies: LargeBodies


def runtime_over(
    plane: DataPlane,
    *,
    settings: Settings,
    store: SharedStore | None,
    averages: AverageBudgets | None,
    learning: Learning | None,
    version: SettingsVersion,
    access: Access,
) -> Runtime:
    """The parts of a data plane, and those that it does not need."""
    return Runtime(
        settings=settings,
        pool=plane.pool,
        decider=plane.decider,
        resumption=plane.resumption,
        ledger=plane.ledger,
        telemetry=plane.telemetry,
        store=store,
        averages=averages,
        learning=learning,
        exploration=plane.exploration,
        configuration=version,
        access=access,
        body_limits=plane.body_limits,
        large_bodies=plane.large_bodies,
    )
