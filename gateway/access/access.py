"""From the settings of callers to the parts that run: keyring, accounts, and leases where processes share accounts."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from functools import partial

from pointsman.experts.pool import ExpertPool
from pointsman.gateway.access.auth import Keyring
from pointsman.gateway.access.caller import Caller, Role
from pointsman.gateway.access.keys import Pepper, digest_of
from pointsman.gateway.access.limit_leases import Leases
from pointsman.gateway.access.limits import Account, Limit, Meter, Resource
from pointsman.gateway.access.windows import Period
from pointsman.gateway.access.worst_case import known_of
from pointsman.gateway.parts import Parts
from pointsman.gateway.settings import Settings
from pointsman.gateway.settings.auth import KeySettings, LimitSettings
from pointsman.gateway.shared.store import SharedStore

#: The settings that state a limit, and what each limits.
_STATED = {
    "requests_per_minute": (Resource.REQUESTS, Period.MINUTE),
    "tokens_per_minute": (Resource.TOKENS, Period.MINUTE),
    "usd_per_hour": (Resource.USD, Period.HOUR),
    "usd_per_day": (Resource.USD, Period.DAY),
    "usd_per_month": (Resource.USD, Period.MONTH),
    "joules_per_hour": (Resource.JOULES, Period.HOUR),
    "joules_per_day": (Resource.JOULES, Period.DAY),
    "joules_per_month": (Resource.JOULES, Period.MONTH),
}


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call, and what they may spend.

    Attributes:
        keyring: The keys.
        callers: Their holders, in the order of the settings.
        meters: All limits, each once.
        leases: Keeps what is leased of them; None where this process has its share for itself.
        limits: What the meters are to be held to, in their order.
        share: Of every limit that this process has without asking anybody.
        peers: Processes that are there.
    """

    keyring: Keyring
    callers: tuple[Caller, ...]
    meters: tuple[Meter, ...]
    leases: Leases | None
    limits: tuple[Limit, ...]
    share: float
    peers: int

    def adopt(self) -> None:
        """From now on these limits hold, for what was spent before as well."""
        for meter, limit in zip(self.meters, self.limits, strict=True):
            meter.change(limit, self.share, self.peers)


def create_access(
    settings: Settings, env: Mapping[str, str], pool: ExpertPool, store: SharedStore | None, parts: Parts
) -> Access:
    """Read the keys and open the accounts; what was spent of a limit stays spent, whatever becomes of its amount.

    A limit that changes is the earlier one until `Access.adopt`: the settings before may yet go on.

    Raises:
        SettingsError: A secret is missing.
    """
    auth, workers = settings.auth, settings.server.workers
    stated = auth.pepper(env)
    # Keys that are known themselves are hashed anew by every process.
    pepper = Pepper(os.urandom(32) if stated is None else stated.encode())
    # Without a common account, a worker has its share of every limit.
    share = 0.0 if store is not None else 1 / workers
    by_scope = {f"tenant:{name}": tenant.limits for name, tenant in auth.tenants.items()}
    by_scope |= {f"key:{key.name}": key.limits for key in auth.keys}
    stated_limits = {scope: _limits(scope, limits) for scope, limits in by_scope.items()}
    # A limit that is taken away and comes back within its window has been spent from as well.
    known = parts.get("meters", (), lambda: dict[str, Meter]())
    opened = {
        scope: [_meter(known, limit, share, workers) for limit in limits] for scope, limits in stated_limits.items()
    }
    meters = tuple(meter for found in opened.values() for meter in found)
    _forget(known, meters)
    leases = None
    if store is not None and meters:
        replica = parts.get("replica of limits", (store,), lambda: secrets.token_hex(8))
        leases = parts.get("leases", (store, meters), partial(_leases, meters, store, replica))
    keys, callers = [], []
    for key in auth.keys:
        # The widest limit is asked first: what is refused for long is refused at once.
        own = [*opened[f"key:{key.name}"], *opened.get(f"tenant:{key.tenant or key.name}", ())]
        account = Account(own, time.time, None if leases is None else leases.more) if own else None
        tenant = auth.tenants.get(key.tenant or key.name)
        caller = _caller(key, account, pool, frozenset() if tenant is None else frozenset(tenant.provider_ids))
        callers.append(caller)
        own_key = key.key(env)
        keys += [(digest_of(written), caller) for written in key.hashes]
        if own_key is not None:
            keys.append((pepper.digest(own_key.encode()), caller))
    limits = tuple(limit for found in stated_limits.values() for limit in found)
    return Access(Keyring(pepper, keys, time.time), tuple(callers), meters, leases, limits, share, workers)


def _meter(known: dict[str, Meter], limit: Limit, share: float, workers: int) -> Meter:
    """The limit's meter: the one that counts it already, or a new one."""
    meter = known.get(limit.name)
    if meter is None:
        meter = known[limit.name] = Meter(limit, share, workers)
    return meter


def _forget(known: dict[str, Meter], used: Sequence[Meter]) -> None:
    """Let go of meters that nobody uses and whose window is over."""
    now_s, names = time.time(), {meter.limit.name for meter in used}
    for name in [name for name, meter in known.items() if name not in names and now_s >= meter.until_s]:
        del known[name]


def _leases(meters: Sequence[Meter], store: SharedStore, replica: str) -> Leases:
    return Leases(meters, store=store, replica=replica, clock=time.time)


def _limits(scope: str, settings: LimitSettings) -> Sequence[Limit]:
    return [
        Limit(scope, resource, period, amount)
        for name, (resource, period) in _STATED.items()
        if (amount := getattr(settings, name)) is not None
    ]


def _caller(key: KeySettings, account: Account | None, pool: ExpertPool, provider_ids: frozenset[str]) -> Caller:
    caller = Caller(
        key.name,
        key.tenant or key.name,
        Role(key.role),
        None if key.experts is None else frozenset(key.experts),
        key.expires_s,
        key.disabled,
        account,
        provider_ids=provider_ids,
    )
    if account is not None:
        # What is promised to be kept can only be kept where it is known beforehand.
        known = frozenset(expert.spec.name for expert in pool if known_of(expert.spec, account))
        if len(known) < len(pool):
            caller = replaced(caller, experts=known if caller.experts is None else caller.experts & known)
    if caller.experts is None:
        return caller
    # The gateway's own answers without a model are no secret.
    return replaced(caller, seen=caller.experts | {expert.spec.name for expert in pool if expert.spec.null})
