"""A decision without an expert -> the error that tells the caller the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pointsman.gateway.errors import Code, RequestRefused
from pointsman.routers.selection.filters.chain import rules_of
from pointsman.routers.types import Decision, Rule

#: Rules that a caller's own budget makes, and the field that states it.
_STATED: Final[Mapping[str, str]] = MappingProxyType({rule.name: rule.path for rule in rules_of() if rule.path})
_RETRY_AFTER_S: Final = 1.0


def refusal_of(
    decision: Decision, stated: Mapping[str, str] = _STATED, *, operators: frozenset[str] = frozenset()
) -> RequestRefused:
    """The error for a decision that found no admissible expert.

    At least one expert was rejected for load or health only: 503 with Retry-After. Otherwise the request itself cannot
    be met as stated: 422 that names the field most experts failed at.

    Args:
        decision: The decision.
        stated: Rules that a caller's own budget makes, and the field that states each.
        operators: The caps that the operator's `budgets` state, and not the caller.
    """
    details = "; ".join(f"{rejection.expert}: {rejection.detail}" for rejection in decision.rejections)
    transient = [rejection for rejection in decision.rejections if rejection.transient]
    if transient:
        return RequestRefused(
            Code.POOL_BUSY,
            f"No expert can take this request now. {details}",
            reason=str(transient[0].rule),
            retry_after_s=_RETRY_AFTER_S,
            decision_id=decision.id,
        )
    rules = Counter(rejection.rule for rejection in decision.rejections)
    if len(rules) > 1:
        # An expert left out by name says nothing about what the others failed at.
        del rules[Rule.NOT_ALLOWED]
    broken = [rule for rule, _ in rules.most_common() if rule in stated]
    if broken:
        field = stated[broken[0]]
        name = field.rpartition(".")[2]
        whose = ""
        if name in operators:
            field, whose = f"budgets.{name}", " (of this gateway's own settings, where the request states nothing)"
        return RequestRefused(
            Code.BUDGET_INFEASIBLE,
            f"{field}{whose}: no expert meets it. {details}",
            param=field,
            reason=str(broken[0]),
            decision_id=decision.id,
        )
    rule = rules.most_common(1)[0][0] if rules else Rule.CAPABILITY
    return RequestRefused(
        Code.NO_CAPABLE_EXPERT,
        f"No expert can answer this request. {details}",
        reason=str(rule),
        decision_id=decision.id,
    )
