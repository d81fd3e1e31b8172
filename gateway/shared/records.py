"""Decisions and outcomes in Redis, so that other replicas can show them and learn from them.

Decisions of the same four seconds share one hash, which their ids name. So a hundred of them cost little more to write
than one, a look-up reads one field, and a full Redis evicts a few seconds at once. The fields:

    <id>           [version, tenant, outcome, told], without the part of the id that names the hash
    <id>:judged    [quality, comment], so that no replica overwrites another's judgement
    told:<digest>  the part of a decision that is the same for many: for repeated decisions all of it; for others, what
                   they have in common until the pool or the router changes

Values are JSON without names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from typing import Any, Final

import orjson

from pointsman.gateway.shared.store import Field, SharedStore
from pointsman.gateway.wire.outcome import call_to_dict
from pointsman.routers.estimators.online import LEAST_SHARE
from pointsman.routers.outcomes import Outcome
from pointsman.routers.types import Decision, Reason

#: Of a record; another replica may run another version.
_VERSION: Final = 3
#: Hexadecimal digits of an id's milliseconds that all decisions of one hash have in common: 2^12 ms.
_SAME_DIGITS: Final = slice(4, 13)
_OWN_DIGITS: Final = slice(13, None)
#: Common fields that are remembered.
_COMMON: Final = 1_000

_OUTCOME: Final = (
    "expert",
    "status",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost_usd",
    "energy_j",
    "energy_source",
    "ttft_ms",
    "latency_ms",
    "usage_implausible",
)
_OWN: Final = ("expert", "fallbacks", "reason", "category", "posterior")
_CANDIDATE: Final = ("expert", "quality", "quality_learned", "utility", "rule")


class SharedRecords:
    """The records in Redis.

    Args:
        store: Where they are.
        ttl_s: How long each stays after it was last written.
    """

    def __init__(self, store: SharedStore, ttl_s: int) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._owners: dict[str, bytes] = {}
        self._common: dict[Hashable, tuple[bytes, Field]] = {}

    def put(self, tenant: str, decision: Decision, outcome: Outcome | None) -> None:
        """Write behind; without an outcome what nobody was asked for. The judgement is not written: see `judge`."""
        # The common field goes with every batch: a Redis that was emptied knows again at once what records refer to.
        repeated = _repeated(decision)
        if repeated is None:
            own, made_by = _tell(decision)
            reference, common = self._common.get(made_by) or self._remember(made_by, orjson.dumps(made_by))
            told = b"[%b,%b]" % (own, reference)
        else:
            known = self._common.get(repeated)
            if known is None:
                own, made_by = _tell(decision)
                known = self._remember(repeated, b"[%b,%b]" % (own, orjson.dumps(made_by)))
            told, common = known
        record = b'[%d,"%b",%b,%b]' % (_VERSION, self._owner(tenant), _outcome(outcome), told)
        decision_id = decision.id
        self._store.put_into(_folder(decision_id), (_field(decision_id), record), self._ttl_s, common)

    async def judge(self, decision_id: str, quality: float, comment: str | None) -> bool | None:
        """Write a judgement, unless there is one; that the decision is the caller's has been looked at.

        Returns:
            Whether it is the first; None when Redis is slow or gone.
        """
        judgement = _judged(decision_id), orjson.dumps([quality, comment])
        return await self._store.claim(_folder(decision_id), judgement, self._ttl_s)

    async def find(self, tenant: str, decision_id: str, *, any_tenant: bool = False) -> dict[str, Any] | None:
        """A decision and its outcome in short, as the ledger's records are.

        None when it is unknown, somebody else's, of another version, or Redis is slow or gone.
        """
        folder = _folder(decision_id)
        raw, judgement = await self._store.get_from(folder, _field(decision_id), _judged(decision_id))
        if raw is None:
            return None
        try:
            version, owner, outcome, told = orjson.loads(raw)
            if version != _VERSION or not (any_tenant or owner == self._owner(tenant).decode()):
                return None
            *own, made_by = await self._referred(folder, told)
            told = *own, *await self._referred(folder, made_by)
            quality, comment = (None, None) if judgement is None else orjson.loads(judgement)
            return _named(decision_id, told, outcome, quality, comment)
        except (TypeError, ValueError):
            return None

    async def _referred(self, folder: str, value: Any) -> Any:
        """The value, or what it refers to.

        Raises:
            TypeError, ValueError: That is gone, or not ours.
        """
        if not isinstance(value, str):
            return value
        (raw,) = await self._store.get_from(folder, b"told:" + value.encode())
        return orjson.loads(raw)  # type: ignore[arg-type]  # None is a TypeError, and caught

    def _remember(self, known_by: Hashable, told: bytes) -> tuple[bytes, Field]:
        """How records refer to what is told of many, and the field that tells it."""
        digest = hashlib.blake2b(told, digest_size=8).hexdigest().encode()
        if len(self._common) >= _COMMON:
            del self._common[next(iter(self._common))]
        known = self._common[known_by] = b'"%b"' % digest, (b"told:" + digest, told)
        return known

    def _owner(self, tenant: str) -> bytes:
        # Hashed, so that Redis tells nobody who asked.
        hashed = self._owners.get(tenant)
        if hashed is None:
            hashed = self._owners[tenant] = hashlib.blake2b(tenant.encode(), digest_size=12).hexdigest().encode()
        return hashed


def _folder(decision_id: str) -> str:
    return f"ledger:{decision_id[_SAME_DIGITS]}"


def _field(decision_id: str) -> bytes:
    return decision_id[_OWN_DIGITS].encode()


def _judged(decision_id: str) -> bytes:
    return _field(decision_id) + b":judged"


def _repeated(decision: Decision) -> Hashable:
    """By what other decisions are known of which the same is told; None where there are none."""
    if decision.same_as is not None:
        return decision.same_as
    if decision.reason is Reason.NAMED and decision.classification is None:
        return decision.expert, decision.router, decision.artifact_hash
    return None


def _tell(decision: Decision) -> tuple[bytes, tuple[tuple[str, ...], str, str]]:
    """The values of `decision_to_record` but for the id: its own, without brackets, and what many have in common."""
    kind = decision.classification
    # Column by column, the names apart; orjson writes no named tuples.
    names, *columns = tuple(zip(*decision.explanation.scores, strict=True)) or ((),)
    own = orjson.dumps(
        (
            decision.expert,
            decision.fallbacks,
            decision.reason,
            None if kind is None else kind.category,
            {} if kind is None else {name: p for name, p in kind.posterior.items() if p >= LEAST_SHARE},
            columns,
        )
    )
    return own[1:-1], (names, decision.router, decision.artifact_hash)


def _outcome(outcome: Outcome | None) -> bytes:
    """The values of `outcome_to_dict` but for the judgement, in its order; calls only where there are any."""
    if outcome is None:
        return b"null"
    values = (
        outcome.expert,
        outcome.status,
        outcome.prompt_tokens,
        outcome.completion_tokens,
        outcome.cached_tokens,
        outcome.cache_write_tokens,
        outcome.reasoning_tokens,
        outcome.cost_usd,
        outcome.energy_j,
        outcome.energy_source,
        outcome.ttft_ms,
        outcome.latency_ms,
        outcome.usage_implausible,
    )
    if outcome.calls or outcome.shadow is not None:
        shadow = None if outcome.shadow is None else call_to_dict(outcome.shadow)
        return orjson.dumps((*values, [call_to_dict(call) for call in outcome.calls], shadow))
    return orjson.dumps(values)


def _named(
    decision_id: str, told: Sequence[Any], outcome: list[Any] | None, quality: float | None, comment: str | None
) -> dict[str, Any]:
    """The values under the names that they have outside.

    Raises:
        TypeError, ValueError: They are not what this version writes.
    """
    *own, columns, names, router, artifact_hash = told
    record: dict[str, Any] = {
        "object": "pointsman.decision",
        "id": decision_id,
        **dict(zip(_OWN, own, strict=True)),
        "candidates": [dict(zip(_CANDIDATE, one, strict=True)) for one in zip(names, *columns, strict=True)],
        "router": router,
        "artifact_hash": artifact_hash,
    }
    if outcome is None:
        return {**record, "outcome": None}
    size = len(_OUTCOME)
    became: dict[str, Any] = {**dict(zip(_OUTCOME, outcome[:size], strict=True)), "quality": quality}
    if len(outcome) > size:
        calls, shadow = outcome[size:]
        became |= ({"calls": calls} if calls else {}) | ({} if shadow is None else {"shadow": shadow})
    record["outcome"] = became
    if comment is not None:
        record["comment"] = comment
    return record
