"""The reservations of a request's calls: each call is reserved against its caller's limits before it starts."""

from __future__ import annotations

from pointsman.experts.spec import ExpertSpec
from pointsman.gateway.access.limits import Reservation
from pointsman.gateway.access.worst_case import longest_answer, worst_case
from pointsman.gateway.deciding.routed import RoutedRequest
from pointsman.gateway.record.recorder import Attempt


def reserve_now(routed: RoutedRequest, spec: ExpertSpec) -> Reservation | None:
    """Hold what the next call may take, for a caller with limits.

    Returns:
        What is held; None where the common account has to be asked first (`reserve_or_wait`).

    Raises:
        RequestRefused: It does not fit into what the caller may spend.
    """
    account = routed.caller.account
    assert account is not None  # noqa: S101  # the caller has limits
    reservation = account.reserve(worst_case(spec, routed.inbound, account, requests=int(not routed.counted)))
    if reservation is not None:
        routed.counted = True
        reservation.counts_text = _counts_text(routed, spec)
    return reservation


def let_go(attempt: Attempt) -> None:
    """Give back an attempt's place, and what is held for it; nothing where it has ended as it should."""
    try:
        attempt.flight.cancel()
    finally:
        if attempt.reservation is not None:
            attempt.reservation.release()


async def reserve_or_wait(routed: RoutedRequest, spec: ExpertSpec) -> Reservation | None:
    """The same, asking the common account where that is needed; None for callers without limits.

    Raises:
        RequestRefused: It does not fit into what the caller may spend.
    """
    account = routed.caller.account
    if account is None:
        return None
    # Several calls may be held for at once, and the request counts with the first of them.
    first, routed.counted = not routed.counted, True
    try:
        reservation = await account.reserve_or_wait(worst_case(spec, routed.inbound, account, requests=int(first)))
    except BaseException:  # nothing is held, whatever it was: the request is yet to be counted
        if first:
            routed.counted = False
        raise
    reservation.counts_text = _counts_text(routed, spec)
    return reservation


def _counts_text(routed: RoutedRequest, spec: ExpertSpec) -> bool:
    """Whether nothing but the text of a stream says how long it was, should its expert not say."""
    return routed.inbound.stream and longest_answer(spec, routed.inbound) is None
