"""A decision without an expert -> the error that tells the caller what stood in the way."""

from __future__ import annotations

from collections import Counter
from typing import Final

from gateway.errors import Code, RequestRefused
from routers.types import Decision, Rule

#: Rules that a caller's own budget makes, and the field that states it.
_BUDGET_FIELDS: Final[dict[Rule, str]] = {
    Rule.MAX_TTFT_MS: "routing.max_ttft_ms",
    Rule.MAX_LATENCY_MS: "routing.max_latency_ms",
    Rule.LATENCY_UNKNOWN: "routing.max_latency_ms",
    Rule.MAX_ENERGY_J: "routing.max_energy_j",
    Rule.ENERGY_UNKNOWN: "routing.max_energy_j",
    Rule.MAX_COST_USD: "routing.max_cost_usd",
    Rule.COST_UNKNOWN: "routing.max_cost_usd",
    Rule.MIN_QUALITY: "routing.min_quality",
    Rule.NOT_LOCAL: "routing.local_only",
    Rule.NOT_ALLOWED: "routing.experts",
}
_RETRY_AFTER_S: Final = 1.0


def refusal_of(decision: Decision) -> RequestRefused:
    """The error for a decision that found no admissible expert.

    Only load or health in the way of at least one expert: 503 with Retry-After. Otherwise the request itself cannot
    be met as stated: 422 that names the field most experts failed at.
    """
    details = "; ".join(f"{rejection.expert}: {rejection.detail}" for rejection in decision.rejections)
    transient = [rejection for rejection in decision.rejections if rejection.transient]
    if transient:
        return RequestRefused(
            Code.POOL_BUSY,
            f"No expert can take this request now. {details}",
            reason=transient[0].rule.value,
            retry_after_s=_RETRY_AFTER_S,
            decision_id=decision.id,
        )
    rules = Counter(rejection.rule for rejection in decision.rejections)
    if len(rules) > 1:
        # An expert left out by name says nothing about what the others failed at.
        del rules[Rule.NOT_ALLOWED]
    stated = [rule for rule, _ in rules.most_common() if rule in _BUDGET_FIELDS]
    if stated:
        return RequestRefused(
            Code.BUDGET_INFEASIBLE,
            f"{_BUDGET_FIELDS[stated[0]]}: no expert meets it. {details}",
            param=_BUDGET_FIELDS[stated[0]],
            reason=stated[0].value,
            decision_id=decision.id,
        )
    rule = rules.most_common(1)[0][0] if rules else Rule.CAPABILITY
    return RequestRefused(
        Code.NO_CAPABLE_EXPERT,
        f"No expert can answer this request. {details}",
        reason=rule.value,
        decision_id=decision.id,
    )
