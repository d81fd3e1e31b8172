"""A request's calls, each held for against the limits of its caller before it goes out."""

from __future__ import annotations

from experts.spec import ExpertSpec
from gateway.limits import Hold
from gateway.recorder import Routed
from gateway.worst_case import worst_case


def hold_now(routed: Routed, spec: ExpertSpec) -> None:
    """Hold what the chosen expert may take, where that needs no waiting; `afford` sees to it where it does.

    Raises:
        RequestRefused: It does not fit into what the caller may spend.
    """
    account = routed.caller.account
    if account is not None:
        routed.hold = account.hold(worst_case(spec, routed.inbound, account, requests=1))
        routed.counted = routed.hold is not None


async def afford(routed: Routed, spec: ExpertSpec) -> Hold | None:
    """What is held for the next call, asking for it where it is not yet; None for callers without limits.

    Raises:
        RequestRefused: It does not fit into what the caller may spend.
    """
    account = routed.caller.account
    if account is None:
        return None
    hold, routed.hold = routed.hold, None
    if hold is not None:
        if spec.name == routed.decision.expert:
            return hold
        hold.release()
    requests, routed.counted = int(not routed.counted), True
    return await account.hold_or_wait(worst_case(spec, routed.inbound, account, requests=requests))
