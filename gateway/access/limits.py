"""What a key and its tenant may spend: reserved before a call and settled after it.

A call reserves its worst case before it starts, so concurrent calls cannot exceed a limit together.

One limit is one amount within one window of the clock (a minute, an hour, a day, a month, in UTC). Each process spends
from a lease: a single process has the whole amount, several have a slice each (`limit_leases.py`). A call starts only
if its worst case fits into every lease that it concerns. That amount stays reserved until the call is over; then the
real amount replaces it. Nothing here waits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pointsman.experts.protocols import Headers
from pointsman.gateway.access.windows import Period, window_of
from pointsman.gateway.errors import Code, RequestRefused


class Resource(IntEnum):
    """What is limited; the number is its place in `Amounts`."""

    REQUESTS = 0
    TOKENS = 1
    USD = 2
    JOULES = 3


#: Requests, tokens, US dollars, joules.
Amounts = tuple[float, float, float, float]

#: Sums of floats differ in the last digits.
_ROUNDING: Final = 1e-9
#: When only calls under way are in the way: they will not all spend what is held for them.
_SOON_S: Final = 1.0

_UNITS: Final = {
    Resource.REQUESTS: "requests",
    Resource.TOKENS: "tokens",
    Resource.USD: "US dollars",
    Resource.JOULES: "joules",
}


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit.

    Attributes:
        scope: Whose: `key:<name>` or `tenant:<name>`.
        resource: Of what.
        period: Over how long.
        amount: How much.
    """

    scope: str
    resource: Resource
    period: Period
    amount: float

    @property
    def name(self) -> str:
        """What it is called where processes share it."""
        return f"{self.scope}:{self.resource.name.lower()}:{self.period.value}"


class Meter:
    """One limit, as far as this process knows of it.

    Args:
        limit: The limit.
        share: Of the amount that this process has without asking anybody; 0 where it leases from a common account.
        peers: Processes that are there, until the common account says how many.

    Attributes:
        free: What of the lease is neither spent nor held.
        held: What is held for calls under way.
        lease: What this process may spend in this window.
        left: What nobody had leased when last heard.
        peers: Processes that lease from the same account, this one included.
        began_s, until_s: The window.
        wanted: Whether something was asked of it since this was last reset.
    """

    __slots__ = (
        "_share",
        "began_s",
        "free",
        "held",
        "lease",
        "left",
        "limit",
        "peers",
        "resource",
        "until_s",
        "wanted",
    )

    def __init__(self, limit: Limit, share: float, peers: int) -> None:
        self.limit = limit
        self.resource = int(limit.resource)
        self._share = share
        self.peers = peers
        self.wanted = False
        self.began_s = self.until_s = self.free = self.held = self.lease = self.left = 0.0

    def roll(self, now_s: float) -> None:
        """Begin the window of this moment."""
        self.began_s, self.until_s = window_of(self.limit.period, now_s)
        self.free = self.lease = self.limit.amount * self._share
        self.left = 0.0 if self._share else self.limit.amount
        self.held = 0.0

    def grant(self, lease: float, left: float, peers: int) -> None:
        """The common account lets this process have so much in all; `left` is leased to nobody."""
        if lease > self.lease:
            self.free += lease - self.lease
            self.lease = lease
        self.left, self.peers = left, max(1, peers)

    def take_share(self) -> None:
        """The common account does not answer: take this process's share of what was left when it last did."""
        share = self.left / self.peers
        self.free += share
        self.lease += share
        self.left = 0.0

    def cover(self) -> None:
        """Calls spent more than was held for them: that is leased as well."""
        if self.free < 0.0:
            self.lease -= self.free
            self.free = 0.0

    def give_back(self) -> None:
        """Nobody asked for anything of late: let others have what is free."""
        if self.free > 0.0:
            self.lease -= self.free
            self.free = 0.0

    @property
    def spent(self) -> float:
        """What this process's calls spent in this window."""
        return self.lease - self.free - self.held

    def change(self, limit: Limit, share: float, peers: int) -> None:
        """The settings changed; what calls spent and hold in this window stays.

        Args:
            limit: Of the same name.
            share: As at the beginning.
            peers: Likewise.
        """
        if limit == self.limit and share == self._share:
            return
        taken = self.lease - self.free
        leased_before = not self._share
        more = limit.amount - self.limit.amount
        self.limit, self._share, self.peers = limit, share, peers
        if share:
            self.lease = limit.amount * share
            self.left = 0.0
        else:
            # What is free goes back: the common account says how much of the new amount is left.
            self.lease = taken
            self.left = max(0.0, self.left + more) if leased_before else max(0.0, limit.amount - taken)
        self.free = self.lease - taken


class Reservation:
    """What is held for one call."""

    __slots__ = ("_account", "_amounts", "_since_s", "counts_text", "heard_tokens", "settled")

    def __init__(self, account: Account, amounts: Amounts, since_s: float) -> None:
        self._account = account
        self._amounts = amounts
        self._since_s = since_s
        self.settled = False
        #: Whether the text of the answer is to be counted as it passes: where nothing else bounds its length.
        self.counts_text = False
        #: Tokens of that text, estimated.
        self.heard_tokens = 0

    @property
    def of_money(self) -> bool:
        """Whether dollars or joules are held, which a second call would spend as well."""
        return self._amounts[Resource.USD] > 0.0 or self._amounts[Resource.JOULES] > 0.0

    @property
    def amounts(self) -> Amounts:
        """The worst case."""
        return self._amounts

    def settle(self, tokens: float, usd: float, joules: float) -> None:
        """The call is over and spent this. The request itself stays counted. Only the first time counts."""
        if not self.settled:
            self.settled = True
            self._account.settle(self._amounts, (self._amounts[0], tokens, usd, joules), self._since_s)

    def release(self) -> None:
        """The call spent nothing."""
        self.settle(0.0, 0.0, 0.0)

    def cancel(self) -> None:
        """There is no call, and no request either."""
        if not self.settled:
            self.settled = True
            self._account.settle(self._amounts, (0.0, 0.0, 0.0, 0.0), self._since_s)


class _Rate:
    """The limits a minute of one resource, and how the headers that tell of them are called."""

    __slots__ = ("limit_name", "meters", "remaining_name", "reset_name")

    def __init__(self, resource: Resource, meters: tuple[Meter, ...]) -> None:
        kind = resource.name.lower().encode()
        self.meters = meters
        self.limit_name = b"x-ratelimit-limit-" + kind
        self.remaining_name = b"x-ratelimit-remaining-" + kind
        self.reset_name = b"x-ratelimit-reset-" + kind


class Account:
    """The limits of one key and of its tenant.

    Args:
        meters: All of them. Those of a tenant are shared by its keys.
        clock: Seconds since 1970.
        more: Asks the common account for what does not fit into the leases; None where there is none.

    Attributes:
        in_usd: Whether dollars are limited.
        in_joules: Whether joules are.
    """

    __slots__ = ("_clock", "_more", "_rates", "in_joules", "in_usd", "meters")

    def __init__(self, meters: Sequence[Meter], clock: Callable[[], float], more: More | None) -> None:
        self.meters = tuple(meters)
        self.in_usd = any(meter.limit.resource is Resource.USD for meter in meters)
        self.in_joules = any(meter.limit.resource is Resource.JOULES for meter in meters)
        self._clock = clock
        self._more = more
        self._rates = tuple(
            _Rate(resource, found)
            for resource in (Resource.REQUESTS, Resource.TOKENS)
            if (found := tuple(one for one in self.meters if one.limit.resource is resource))
        )

    def check(self) -> None:
        """Turn a request away as soon as it comes, where nothing is left for even the smallest.

        Raises:
            RequestRefused: Nothing is left.
        """
        now_s = self._clock()
        for meter in self.meters:
            if meter.free <= 0.0 and meter.left <= 0.0 and now_s < meter.until_s:
                meter.wanted = True
                raise _over(meter, 0.0, now_s, self)

    def count_refused(self) -> None:
        """One request was refused, and counts all the same; a meter may go below nothing by that."""
        now_s = self._clock()
        for meter in self.meters:
            if meter.limit.resource is Resource.REQUESTS:
                if now_s >= meter.until_s:
                    meter.roll(now_s)
                meter.free -= 1.0
                meter.wanted = True

    def reserve(self, amounts: Amounts) -> Reservation | None:
        """Hold the worst case of a call, of all meters or of none.

        Returns:
            What is held; None where the common account has to be asked first (`reserve_or_wait`).

        Raises:
            RequestRefused: It does not fit.
        """
        now_s = self._clock()
        for meter in self.meters:
            if now_s >= meter.until_s:
                meter.roll(now_s)
            if amounts[meter.resource] > meter.free:
                lacking = self._lacking(amounts, now_s)
                if lacking:
                    return None
                break
        for meter in self.meters:
            amount = amounts[meter.resource]
            meter.free -= amount
            meter.held += amount
            meter.wanted = True
        return Reservation(self, amounts, now_s)

    async def reserve_or_wait(self, amounts: Amounts) -> Reservation:
        """The same, asking the common account where that is needed.

        Raises:
            RequestRefused: It does not fit.
        """
        for _ in range(2):
            reservation = self.reserve(amounts)
            if reservation is not None:
                return reservation
            assert self._more is not None  # noqa: S101  # without a common account nothing is ever left in one
            await self._more(self._lacking(amounts, self._clock()))
        reservation = self.reserve(amounts)
        if reservation is None:
            meter = self._lacking(amounts, self._clock())[0][0]
            raise _over(meter, amounts[meter.resource], self._clock(), self)
        return reservation

    def settle(self, held: Amounts, spent: Amounts, since_s: float) -> None:
        """A call is over; it counts in the windows in which it began."""
        for meter in self.meters:
            if since_s >= meter.began_s:
                amount = held[meter.resource]
                meter.held -= amount
                meter.free += amount - spent[meter.resource]

    def headers(self) -> Headers:
        """How the limits a minute stand, as OpenAI says it; of several the tightest."""
        now_s = self._clock()
        found: list[tuple[bytes, bytes]] = []
        for rate in self._rates:
            meter = rate.meters[0] if len(rate.meters) == 1 else min(rate.meters, key=remaining)
            left = meter.free + meter.left
            found += (
                (rate.limit_name, b"%d" % meter.limit.amount),
                (rate.remaining_name, b"%d" % left if left > 0.0 else b"0"),
                (rate.reset_name, b"%ds" % (meter.until_s - now_s + 1.0) if meter.until_s > now_s else b"0s"),
            )
        return tuple(found)

    def _lacking(self, amounts: Amounts, now_s: float) -> list[tuple[Meter, float]]:
        """What to ask the common account for.

        Raises:
            RequestRefused: It has not got that much either.
        """
        lacking = []
        for meter in self.meters:
            if now_s >= meter.until_s:
                meter.roll(now_s)
            lack = amounts[meter.resource] - meter.free
            if lack > _ROUNDING * meter.limit.amount:
                meter.wanted = True
                if lack > meter.left * (1 + _ROUNDING):
                    raise _over(meter, amounts[meter.resource], now_s, self)
                lacking.append((meter, lack))
        return lacking


#: Asks the common account for more, and returns when it has answered or takes too long.
More = Callable[[Sequence[tuple[Meter, float]]], Awaitable[None]]


def remaining(meter: Meter) -> float:
    """What nobody has spent or held, as far as this process knows."""
    return max(0.0, meter.free + meter.left)


def _over(meter: Meter, amount: float, now_s: float, account: Account) -> RequestRefused:
    """The refusal of a request that does not fit."""
    limit = meter.limit
    unit, whose = _UNITS[limit.resource], limit.scope.partition(":")[0]
    rate = limit.period is Period.MINUTE
    fits = amount <= meter.limit.amount
    # What calls under way hold comes back in part when they end.
    soon = fits and meter.held > 0.0 and amount - meter.free - meter.left <= meter.held
    said = f"The limit of this {whose} is {limit.amount:g} {unit} a {limit.period.value}"
    if amount > 0.0 and limit.resource is not Resource.REQUESTS:
        said += f"; this request may take {amount:.4g}"
        said += ", more than all of it. State max_tokens" if not fits else f", and {remaining(meter):.4g} are left"
    return RequestRefused(
        Code.RATE_LIMIT_EXCEEDED if rate else Code.INSUFFICIENT_QUOTA,
        said + ".",
        reason=f"{whose}_{limit.resource.name.lower()}_per_{limit.period.value}",
        retry_after_s=_SOON_S if soon else max(_SOON_S, meter.until_s - now_s),
        notes=account.headers(),
    )
