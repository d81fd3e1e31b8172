"""The record of decisions and what became of them: for `GET /v1/decisions/{id}`, for feedback, and for training.

Recent decisions stay in this process in full. With Redis, every replica finds a shorter record of them; with
`ledger.path`, the same record is appended to a JSONL file by a thread of its own, so that no request waits for a disk.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from gateway.learning import Lesson
from gateway.shared_store import SharedStore
from gateway.wire.decision import decision_to_dict, decision_to_record
from routers.outcomes import CallOutcome, Outcome, Verdict
from routers.types import Decision

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Entry:
    """A decision, whose it is, and its outcome so far."""

    tenant: str
    decision: Decision
    outcome: Outcome | None = None

    def to_dict(self) -> dict[str, Any]:
        """In full, as JSON types, without the tenant."""
        told = {**decision_to_dict(self.decision), "outcome": outcome_to_dict(self.outcome)}
        if self.outcome is not None and self.outcome.calls:
            told["explanation"] += f" {_gathered(self.outcome)}"
        return told

    def to_record(self) -> dict[str, Any]:
        """In short, as JSON types, without the tenant."""
        return {**decision_to_record(self.decision), "outcome": outcome_to_dict(self.outcome)}


def outcome_to_dict(outcome: Outcome | None) -> dict[str, Any] | None:
    """The outcome as JSON types."""
    if outcome is None:
        return None
    return {
        "expert": outcome.expert,
        "status": outcome.status,
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": outcome.completion_tokens,
        "cost_usd": outcome.cost_usd,
        "energy_j": outcome.energy_j,
        "energy_source": None if outcome.energy_source is None else outcome.energy_source.value,
        "ttft_ms": outcome.ttft_ms,
        "latency_ms": outcome.latency_ms,
        "quality": outcome.quality,
        **({"calls": [_call_to_dict(call) for call in outcome.calls]} if outcome.calls else {}),
        **({} if outcome.shadow is None else {"shadow": _call_to_dict(outcome.shadow)}),
    }


def _gathered(outcome: Outcome) -> str:
    """What became of a decision whose expert was not to answer alone."""
    asked = ", ".join(call.expert for call in outcome.calls)
    accepted = next((call.expert for call in outcome.calls if call.verdict is Verdict.ACCEPTED), None)
    end = "the client left before one was accepted" if accepted is None else f"that of {accepted} was accepted"
    return f"Answers were gathered from {asked}; {end}."


def _call_to_dict(call: CallOutcome) -> dict[str, Any]:
    return {
        "expert": call.expert,
        "status": call.status,
        "verdict": call.verdict.value,
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": call.completion_tokens,
        "cost_usd": call.cost_usd,
        "energy_j": call.energy_j,
        "latency_ms": call.latency_ms,
    }


@dataclass(frozen=True, slots=True)
class Judged:
    """A judgement that was taken, or had been before.

    Attributes:
        expert: Who had answered.
        before: The judgement that stands already; None for the first.
        lesson: What can be learned of it; None where the router did not choose or the answer was an error.
    """

    expert: str
    before: float | None
    lesson: Lesson | None


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
        self._ttl_s = ttl_s
        self._store = store
        self._recent: OrderedDict[str, Entry] = OrderedDict()
        self._file = _OutcomeFile(path) if path is not None else None
        self._hashed: dict[str, str] = {}

    def record(self, tenant: str, decision: Decision) -> Entry:
        """Remember a decision."""
        entry = Entry(tenant, decision)
        self._recent[decision.id] = entry
        if len(self._recent) > self._entries:
            self._recent.popitem(last=False)
        return entry

    def finish(self, entry: Entry, outcome: Outcome) -> None:
        """Add what became of it, and share it."""
        if entry.outcome is not None and entry.outcome.quality is not None and outcome.quality is None:
            outcome = replace(outcome, quality=entry.outcome.quality)
        entry.outcome = outcome
        if self._store is not None or self._file is not None:
            self._publish(entry.tenant, outcome.decision_id, entry.to_record())

    async def shadowed(self, tenant: str, decision_id: str, call: CallOutcome) -> None:
        """Add a call that was made to learn. A decision that has been forgotten stays so."""
        shared = await self._find_shared(tenant, decision_id)
        entry = self._recent.get(decision_id)
        if entry is None or entry.outcome is None or entry.tenant != tenant:
            return
        outcome = entry.outcome
        if outcome.quality is None and shared is not None and shared["outcome"] is not None:
            # Judged at another replica since.
            outcome = replace(outcome, quality=shared["outcome"]["quality"])
        self.finish(entry, replace(outcome, shadow=call))

    async def find(self, tenant: str, decision_id: str, *, any_tenant: bool = False) -> dict[str, Any] | None:
        """The decision and its outcome, in full where this process decided, else in short.

        None when it is unknown, too long ago, or somebody else's; with `any_tenant`, whoever's it is.
        """
        entry = self._recent.get(decision_id)
        if entry is not None:
            return entry.to_dict() if any_tenant or entry.tenant == tenant else None
        return await self._find_shared(tenant, decision_id)

    async def judge(self, tenant: str, decision_id: str, quality: float, comment: str | None) -> Judged | None:
        """Record a judgement in [0, 1]. The first one stands; two replicas asked within a moment may each take one.

        Returns:
            What was judged, None when the decision is unknown, somebody else's, or had no outcome yet.
        """
        entry = self._recent.get(decision_id)
        if entry is not None and (entry.tenant != tenant or entry.outcome is None):
            return None
        shared = await self._find_shared(tenant, decision_id)
        # From here on nothing waits: of two judgements on one replica one is the first.
        if entry is not None and entry.outcome is not None:
            before = entry.outcome.quality
            if before is None and shared is not None and shared["outcome"] is not None:
                before = shared["outcome"]["quality"]
            entry.outcome = replace(entry.outcome, quality=quality if before is None else before)
            record = entry.to_record()
        elif shared is not None and shared["outcome"] is not None:
            before = shared["outcome"]["quality"]
            record = shared
            record["outcome"]["quality"] = quality if before is None else before
        else:
            return None
        if before is None:
            if comment is not None:
                record["comment"] = comment
            self._publish(tenant, decision_id, record)
        return Judged(record["outcome"]["expert"], before, _lesson(record, quality))

    async def _find_shared(self, tenant: str, decision_id: str) -> dict[str, Any] | None:
        raw = None
        if self._store is not None:
            raw = await self._store.get_from(_folder(decision_id), self._field(tenant, decision_id))
        return None if raw is None else orjson.loads(raw)

    def _field(self, tenant: str, decision_id: str) -> str:
        # Tenants are hashed so that no choice of names or ids can make two tenants' fields meet.
        hashed = self._hashed.get(tenant)
        if hashed is None:
            hashed = self._hashed[tenant] = hashlib.blake2b(tenant.encode(), digest_size=12).hexdigest()
        return f"{hashed}:{decision_id}"

    def close(self) -> None:
        """Write what is waiting to the file."""
        if self._file is not None:
            self._file.close()

    def _publish(self, tenant: str, decision_id: str, record: dict[str, Any]) -> None:
        raw = orjson.dumps(record)
        if self._store is not None:
            self._store.put_into(_folder(decision_id), self._field(tenant, decision_id), raw, self._ttl_s)
        if self._file is not None:
            self._file.append(orjson.dumps({"tenant": tenant})[:-1] + b"," + raw[1:])


def _lesson(record: dict[str, Any], quality: float) -> Lesson | None:
    outcome = record["outcome"]
    found = next((one for one in record["candidates"] if one["expert"] == outcome["expert"]), None)
    # Another version's record may lack what is needed.
    if found is None or not record.get("posterior") or "quality_learned" not in found or outcome["status"] >= 400:
        return None
    return Lesson(outcome["expert"], record["posterior"], found["quality"] - found["quality_learned"], quality)


def _folder(decision_id: str) -> str:
    """The minute of a decision, which its id tells: what is shared lies together by minutes."""
    return f"decisions:{int(decision_id[4:16], 16) // 60_000:x}"


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
