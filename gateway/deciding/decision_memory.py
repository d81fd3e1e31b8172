"""A memory of decisions that still apply: same prompt, same kind of request, and nothing changed that they depend on.

A decision depends on the prompt's assessment, the size of the request, what it needs, the operator's own budget, and
what was learned from judgements. It also depends on every expert being healthy, awake and below its limit of calls. It
does not depend on the load below that limit, as long as no latency is capped or priced. A request that states anything
else (a budget of its own, a session, earlier turns, names) is decided in full.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from pointsman.experts.pool import ExpertPool
from pointsman.experts.spec import Capability
from pointsman.routers.budget import CAPS, WEIGHTS
from pointsman.routers.estimators.online import Corrections
from pointsman.routers.types import Budget, Decision

#: The assessment's key in the decision cache, prompt tokens, the caller's own limit, capabilities.
NullAnswers = tuple[str, int, int | None, frozenset[Capability]]


@dataclass(slots=True)
class _Held:
    decision: Decision
    learned: Corrections | None
    until_s: float


def rests_on_load(budget: Budget) -> bool:
    """Whether decisions under this budget depend on how busy experts are, below their limits."""
    capped = any(getattr(budget, cap.name) is not None for cap in CAPS if cap.follows_load)
    return capped or any(getattr(budget.weights, weight.name) > 0 for weight in WEIGHTS if weight.follows_load)


class DecisionMemory:
    """The latest decisions of one operator's budget.

    Args:
        pool: Whose experts are chosen.
        entries: How many are held.
        ttl_s: For how long.
    """

    def __init__(self, pool: ExpertPool, *, entries: int, ttl_s: float) -> None:
        self._pool = pool
        self._entries = entries
        self._ttl_s = ttl_s
        self._held: OrderedDict[NullAnswers, _Held] = OrderedDict()

    def find(self, asked: NullAnswers, learned: Corrections | None, now_s: float) -> Decision | None:
        """The decision, where it still holds."""
        held = self._held.get(asked)
        if held is None or held.learned is not learned or now_s >= held.until_s or not self._pool.all_ready:
            return None
        return held.decision

    def keep(self, asked: NullAnswers, decision: Decision, learned: Corrections | None, now_s: float) -> None:
        """Hold a decision that was made just now, unless it is about what will pass."""
        if decision.expert is None or not self._pool.all_ready:
            return
        self._held[asked] = _Held(decision, learned, now_s + self._ttl_s)
        self._held.move_to_end(asked)
        if len(self._held) > self._entries:
            self._held.popitem(last=False)


def again(decision: Decision, decision_id: str) -> Decision:
    """The same decision of another request; its figures are those of the first one, which it names."""
    return Decision(
        decision_id,
        decision.expert,
        decision.fallbacks,
        decision.reason,
        decision.classification,
        decision.router,
        decision.artifact_hash,
        decision.explanation,
        decision.same_as or decision.id,
    )
