"""The ledger of decisions and outcomes: for `GET /v1/decisions/{id}`, for feedback, and for training.

Recent decisions stay complete in the memory of this process. With Redis, every replica can read a shorter record of
them (`shared/records.py`). With `ledger.path`, a thread appends them to a JSONL file, so no request waits for a disk.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from pointsman.gateway.shared.learning import JudgedAnswer
from pointsman.gateway.shared.records import SharedRecords
from pointsman.gateway.shared.store import SharedStore
from pointsman.gateway.wire.decision import decision_to_dict, decision_to_record, seen_by
from pointsman.gateway.wire.outcome import outcome_to_dict
from pointsman.routers.outcomes import CallOutcome, Outcome, Verdict
from pointsman.routers.types import Decision

_log = logging.getLogger(__name__)

#: Another replica's record may still be on its way to Redis; who asks for one that is not there waits so long for it.
_ON_ITS_WAY_S: Final = 0.2


@dataclass(slots=True)
class Entry:
    """A decision, whose it is, and its outcome so far."""

    tenant: str
    decision: Decision
    outcome: Outcome | None = None

    def to_dict(self, seen: frozenset[str] | None = None) -> dict[str, Any]:
        """In full, as JSON types, without the tenant.

        Args:
            seen: Experts that may be named; None for all.
        """
        outcome = self.outcome
        if outcome is not None and seen is not None:
            shadow = outcome.shadow if outcome.shadow is not None and outcome.shadow.expert in seen else None
            outcome = replace(outcome, calls=tuple(one for one in outcome.calls if one.expert in seen), shadow=shadow)
        told = {**decision_to_dict(seen_by(self.decision, seen)), "outcome": outcome_to_dict(outcome)}
        if outcome is not None and outcome.calls:
            told["explanation"] += f" {_gathered(outcome)}"
        return told

    def to_record(self) -> dict[str, Any]:
        """In short, as JSON types, without the tenant."""
        return {**decision_to_record(self.decision), "outcome": outcome_to_dict(self.outcome)}


def _gathered(outcome: Outcome) -> str:
    """What became of a decision whose expert was not to answer alone."""
    asked = ", ".join(call.expert for call in outcome.calls)
    accepted = next((call.expert for call in outcome.calls if call.verdict is Verdict.ACCEPTED), None)
    end = "the client left before one was accepted" if accepted is None else f"that of {accepted} was accepted"
    return f"Answers were gathered from {asked}; {end}."


@dataclass(frozen=True, slots=True)
class Judgement:
    """A judgement that was taken, or had been before.

    Attributes:
        expert: Who had answered.
        before: The judgement that stands already; None for the first.
        lesson: What can be learned of it; None where the router did not choose or the answer was an error.
    """

    expert: str
    before: float | None
    lesson: JudgedAnswer | None


class Ledger:
    """Recent decisions by id.

    Args:
        entries: How many stay in this process.
        ttl_s: How long they stay in Redis.
        store: Shared with other replicas, None without Redis.
        path: JSONL file for finished outcomes, None for none.
    """

    def __init__(self, *, entries: int, ttl_s: int, store: SharedStore | None, path: Path | None) -> None:
        self._entries = entries
        self._records = SharedRecords(store, ttl_s) if store is not None else None
        self._recent: OrderedDict[str, Entry] = OrderedDict()
        self._file = _OutcomeFile(path) if path is not None else None

    def record(self, tenant: str, decision: Decision) -> Entry:
        """Remember a decision."""
        entry = Entry(tenant, decision)
        self._recent[decision.id] = entry
        if len(self._recent) > self._entries:
            self._recent.popitem(last=False)
        return entry

    def told(self, tenant: str, decision: Decision) -> None:
        """Remember, and share, a decision that was told to its caller and asks nobody."""
        self.record(tenant, decision)
        if self._records is not None:
            self._records.put(tenant, decision, None)

    def finish(self, entry: Entry, outcome: Outcome) -> None:
        """Add what became of it, and share it."""
        if entry.outcome is not None and entry.outcome.quality is not None and outcome.quality is None:
            outcome = replace(outcome, quality=entry.outcome.quality)
        entry.outcome = outcome
        if self._records is not None:
            self._records.put(entry.tenant, entry.decision, outcome)
        if self._file is not None:
            self._file.append(_line(entry.tenant, entry.to_record()))

    async def shadowed(self, tenant: str, decision_id: str, call: CallOutcome) -> None:
        """Add a call that was made to learn. A decision that has been forgotten stays so."""
        shared = None if self._records is None else await self._records.find(tenant, decision_id)
        entry = self._recent.get(decision_id)
        if entry is None or entry.outcome is None or entry.tenant != tenant:
            return
        outcome = entry.outcome
        if outcome.quality is None and shared is not None:
            # Judged at another replica since.
            outcome = replace(outcome, quality=shared["outcome"]["quality"])
        self.finish(entry, replace(outcome, shadow=call))

    async def find(
        self, tenant: str, decision_id: str, *, any_tenant: bool = False, seen: frozenset[str] | None = None
    ) -> dict[str, Any] | None:
        """The decision and its outcome, in full where this process decided, else in short.

        Args:
            tenant: Who asks.
            decision_id: Of it.
            any_tenant: Whether it may be whoever's.
            seen: Experts that may be named; None for all.

        Returns:
            None when it is unknown, too long ago, or somebody else's, or when an expert answered that may not be named.
        """
        entry = self._recent.get(decision_id)
        if entry is not None:
            mine = any_tenant or entry.tenant == tenant
            answered = (entry.decision.expert, None if entry.outcome is None else entry.outcome.expert)
            return entry.to_dict(seen) if mine and _may_name(answered, seen) else None
        record = await self._elsewhere(tenant, decision_id, any_tenant=any_tenant)
        if record is None or seen is None:
            return record
        answered = (record["expert"], None if record["outcome"] is None else record["outcome"]["expert"])
        return _short_seen(record, seen) if _may_name(answered, seen) else None

    async def judge(self, tenant: str, decision_id: str, quality: float, comment: str | None) -> Judgement | None:
        """Record a judgement in [0, 1]. The first one stands, of all replicas.

        Where Redis is set and does not answer, nobody can know whether another replica has taken one before: then it
        is recorded here, and nothing is learned of it.

        Returns:
            What was judged, None when the decision is unknown, somebody else's, or had no outcome yet.
        """
        entry = self._recent.get(decision_id)
        if entry is not None and (entry.tenant != tenant or entry.outcome is None):
            return None
        if entry is None or self._records is None:
            shared = await self._elsewhere(tenant, decision_id)
        else:
            shared = await self._records.find(tenant, decision_id)
        first: bool | None = True
        if entry is None and shared is not None and shared["outcome"] is None:
            return None  # nobody was asked: there is nothing to judge
        if self._records is not None and _judged(entry, shared) is None and (entry is not None or shared is not None):
            first = await self._records.judge(decision_id, quality, comment)
            if first is False:
                shared = await self._records.find(tenant, decision_id)
        # From here on nothing waits: of two judgements on one replica one is the first.
        before = _judged(entry, shared)
        if entry is not None and entry.outcome is not None:
            record = entry.to_record()
        elif shared is not None:
            record = shared
        else:
            return None
        expert = record["outcome"]["expert"]
        if before is None and first is False:
            # There is one, and what it says cannot be read now: it stands, and this one is not counted.
            return Judgement(expert, quality, None)
        record["outcome"]["quality"] = stands = quality if before is None else before
        if entry is not None and entry.outcome is not None:
            entry.outcome = replace(entry.outcome, quality=stands)
        if before is None and self._file is not None:
            self._file.append(_line(tenant, record if comment is None else {**record, "comment": comment}))
        return Judgement(expert, before, _lesson(record, quality) if first else None)

    async def _elsewhere(self, tenant: str, decision_id: str, *, any_tenant: bool = False) -> dict[str, Any] | None:
        """A decision that another process made."""
        if self._records is None:
            return None
        found = await self._records.find(tenant, decision_id, any_tenant=any_tenant)
        if found is None:
            await asyncio.sleep(_ON_ITS_WAY_S)
            found = await self._records.find(tenant, decision_id, any_tenant=any_tenant)
        return found

    def close(self) -> None:
        """Write what is waiting to the file."""
        if self._file is not None:
            self._file.close()


def _judged(entry: Entry | None, shared: dict[str, Any] | None) -> float | None:
    """The judgement that stands, as far as it is known here."""
    if entry is not None and entry.outcome is not None and entry.outcome.quality is not None:
        return entry.outcome.quality
    outcome = None if shared is None else shared["outcome"]
    found: float | None = None if outcome is None else outcome["quality"]
    return found


def _may_name(experts: Iterable[str | None], seen: frozenset[str] | None) -> bool:
    return seen is None or all(name is None or name in seen for name in experts)


def _short_seen(record: dict[str, Any], seen: frozenset[str]) -> dict[str, Any]:
    """A record in short without a word of other experts than these."""
    outcome = None if record["outcome"] is None else dict(record["outcome"])
    if outcome is not None and "calls" in outcome:
        outcome["calls"] = [call for call in outcome["calls"] if call["expert"] in seen]
    if outcome is not None and outcome.get("shadow") is not None and outcome["shadow"]["expert"] not in seen:
        del outcome["shadow"]
    return {
        **record,
        "fallbacks": [name for name in record["fallbacks"] if name in seen],
        "candidates": [one for one in record["candidates"] if one["expert"] in seen],
        "outcome": outcome,
    }


def _line(tenant: str, record: dict[str, Any]) -> bytes:
    return orjson.dumps({"tenant": tenant, **record})


def _lesson(record: dict[str, Any], quality: float) -> JudgedAnswer | None:
    outcome = record["outcome"]
    found = next((one for one in record["candidates"] if one["expert"] == outcome["expert"]), None)
    if found is None or not record["posterior"] or outcome["status"] >= 400:
        return None
    return JudgedAnswer(outcome["expert"], record["posterior"], found["quality"] - found["quality_learned"], quality)


class _OutcomeFile:
    """Appends lines from a thread. A full queue drops lines and says so, since a request must not wait for a disk."""

    def __init__(self, path: Path) -> None:
        self._lines: queue.Queue[bytes | None] = queue.Queue(maxsize=10_000)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = path.open("ab")
        self._thread = threading.Thread(target=self._run, name="outcome-file", daemon=True)
        self._thread.start()
        self._dropped = 0

    def append(self, line: bytes) -> None:
        try:
            self._lines.put_nowait(line + b"\n")
        except queue.Full:
            self._dropped += 1
            if self._dropped == 1:
                _log.warning("The outcome file cannot keep up; lines are being dropped")

    def close(self) -> None:
        self._lines.put(None)
        self._thread.join(timeout=5)
        self._handle.close()

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            self._handle.write(line)
            if self._lines.empty():
                self._handle.flush()
