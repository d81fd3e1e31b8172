"""One settings tree, read from one YAML file.

`load_settings` reads and checks; everything else is frozen data. Documented in docs/configuration.md and, key by
key, in docs/reference/settings.md.
"""

from __future__ import annotations

from pointsman.gateway.settings.auth import AuthSettings, KeySettings
from pointsman.gateway.settings.base import SettingsError
from pointsman.gateway.settings.budgets import BudgetSettings, WeightSettings
from pointsman.gateway.settings.expert import ExpertSettings
from pointsman.gateway.settings.load import load_settings
from pointsman.gateway.settings.pool import PoolSettings
from pointsman.gateway.settings.tree import (
    CacheSettings,
    DecisionCacheSettings,
    LedgerSettings,
    RedisSettings,
    RouterSettings,
    ServerSettings,
    Settings,
)

__all__ = [
    "AuthSettings",
    "BudgetSettings",
    "CacheSettings",
    "DecisionCacheSettings",
    "ExpertSettings",
    "KeySettings",
    "LedgerSettings",
    "PoolSettings",
    "RedisSettings",
    "RouterSettings",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "WeightSettings",
    "load_settings",
]
