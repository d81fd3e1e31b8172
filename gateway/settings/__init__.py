"""One settings tree, read from one YAML file.

`load_settings` reads and checks; everything else is frozen data. Documented in docs/configuration.md.
"""

from __future__ import annotations

from gateway.settings.auth import AuthSettings, KeySettings
from gateway.settings.base import SettingsError
from gateway.settings.expert import Backend, ExpertSettings
from gateway.settings.load import load_settings
from gateway.settings.pool import PoolSettings
from gateway.settings.tree import (
    BudgetSettings,
    CacheSettings,
    DecisionCacheSettings,
    LedgerSettings,
    RedisSettings,
    RouterSettings,
    ServerSettings,
    Settings,
    WeightSettings,
)

__all__ = [
    "AuthSettings",
    "Backend",
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
