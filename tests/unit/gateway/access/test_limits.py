"""What may be spent: held before, settled after, by the clock's windows, and shared by leases."""

from __future__ import annotations

import random
from calendar import timegm
from dataclasses import replace

import orjson
import pytest

from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import EnergyModel, ExpertSpec, Price
from pointsman.gateway.access.limits import Account, Limit, Meter, Resource
from pointsman.gateway.access.windows import Period, window_of
from pointsman.gateway.access.worst_case import known_of, worst_case
from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.wire.request import Inbound, parse_inbound

NOON_S = float(timegm((2026, 2, 28, 12, 0, 30)))


class Clock:
    def __init__(self) -> None:
        self.now_s = NOON_S

    def __call__(self) -> float:
        return self.now_s


def meter(resource: Resource, period: Period, amount: float, share: float = 1.0, scope: str = "key:a") -> Meter:
    return Meter(Limit(scope, resource, period, amount), share, 1)


def account(clock: Clock, *meters: Meter) -> Account:
    return Account(meters, clock, None)


def refused(act: object) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        act()  # type: ignore[operator]
    return caught.value


@pytest.mark.parametrize(
    ("period", "began", "ends"),
    [
        (Period.MINUTE, (2026, 2, 28, 12, 0, 0), (2026, 2, 28, 12, 1, 0)),
        (Period.HOUR, (2026, 2, 28, 12, 0, 0), (2026, 2, 28, 13, 0, 0)),
        (Period.DAY, (2026, 2, 28, 0, 0, 0), (2026, 3, 1, 0, 0, 0)),
        (Period.MONTH, (2026, 2, 1, 0, 0, 0), (2026, 3, 1, 0, 0, 0)),
    ],
)
def test_windows_are_those_of_the_clock(period: Period, began: tuple[int, ...], ends: tuple[int, ...]) -> None:
    assert window_of(period, NOON_S) == (timegm(began), timegm(ends))


def test_a_year_ends_with_its_december() -> None:
    december = float(timegm((2026, 12, 31, 23, 59, 59)))
    assert window_of(Period.MONTH, december)[1] == timegm((2027, 1, 1, 0, 0, 0))


def test_calls_at_once_hold_their_worst_case_and_give_back_what_they_did_not_spend() -> None:
    dollars = meter(Resource.USD, Period.HOUR, 1.0)
    wallet = account(Clock(), dollars)
    holds = [wallet.reserve((1, 0, 0.3, 0)) for _ in range(3)]
    assert refused(lambda: wallet.reserve((1, 0, 0.3, 0))).code is Code.INSUFFICIENT_QUOTA
    assert holds[0] is not None
    holds[0].settle(0, 0.05, 0)
    holds[0].settle(0, 5.0, 0)
    assert dollars.spent == pytest.approx(0.05), "settled once"
    assert wallet.reserve((1, 0, 0.3, 0)) is not None
    assert refused(lambda: wallet.reserve((1, 0, 0.3, 0))).retry_after_s == 1.0, "calls under way will give some back"


def test_of_several_limits_all_or_none_are_held() -> None:
    requests, dollars = meter(Resource.REQUESTS, Period.MINUTE, 10), meter(Resource.USD, Period.DAY, 1.0)
    wallet = account(Clock(), requests, dollars)
    for _ in range(3):
        refusal = refused(lambda: wallet.reserve((1, 0, 2.0, 0)))
        assert "more than all of it" in refusal.message
    assert requests.free == 10
    assert (refusal.reason, refusal.retry_after_s) == ("key_usd_per_day", 12 * 3600 - 30)


def test_a_tenants_limit_holds_for_its_keys_together() -> None:
    shared = meter(Resource.REQUESTS, Period.MINUTE, 5, scope="tenant:t")
    clock = Clock()
    first, second = account(clock, shared), account(clock, meter(Resource.REQUESTS, Period.MINUTE, 100), shared)
    assert [first.reserve((1, 0, 0, 0)), second.reserve((1, 0, 0, 0))].count(None) == 0
    for _ in range(3):
        first.reserve((1, 0, 0, 0))
    assert refused(lambda: second.reserve((1, 0, 0, 0))).reason == "tenant_requests_per_minute"
    assert refused(second.check).status == 429
    clock.now_s += 30
    second.check()
    assert second.reserve((1, 0, 0, 0)) is not None, "a new minute"


def test_a_call_counts_in_the_window_in_which_it_began() -> None:
    dollars, clock = meter(Resource.USD, Period.HOUR, 1.0), Clock()
    wallet = account(clock, dollars)
    old = wallet.reserve((1, 0, 0.9, 0))
    clock.now_s += 3600
    assert wallet.reserve((1, 0, 0.9, 0)) is not None
    assert old is not None
    old.settle(0, 0.9, 0)
    assert dollars.free == pytest.approx(0.1), "nothing of it in the new window"


def test_a_cancelled_call_leaves_no_trace_and_a_failed_one_counts_as_a_request() -> None:
    requests = meter(Resource.REQUESTS, Period.MINUTE, 10)
    wallet = account(Clock(), requests)
    for end, left in (("cancel", 10), ("release", 9)):
        reservation = wallet.reserve((1, 0, 0, 0))
        assert reservation is not None
        getattr(reservation, end)()
        assert requests.free == left


def test_headers_tell_of_the_tightest_limit_a_minute() -> None:
    clock = Clock()
    wide, tight = meter(Resource.TOKENS, Period.MINUTE, 1000), meter(Resource.TOKENS, Period.MINUTE, 500)
    wallet = account(clock, wide, tight, meter(Resource.USD, Period.DAY, 1))
    wallet.reserve((1, 100, 0, 0))
    assert dict(wallet.headers()) == {
        b"x-ratelimit-limit-tokens": b"500",
        b"x-ratelimit-remaining-tokens": b"400",
        b"x-ratelimit-reset-tokens": b"31s",
    }


def test_no_order_of_calls_overruns_a_limit_nor_loses_any_of_it() -> None:
    """Random calls, each spending at most what was held: held and spent never exceed the limit, and nothing leaks."""
    draw = random.Random(7)
    dollars = meter(Resource.USD, Period.DAY, 10.0)
    wallet, spent, under_way = account(Clock(), dollars), 0.0, []
    for _ in range(20_000):
        if under_way and draw.random() < 0.5:
            reservation, worst = under_way.pop(draw.randrange(len(under_way)))
            amount = worst * draw.random() * 0.01
            reservation.settle(0, amount, 0)
            spent += amount
        else:
            worst = draw.random()
            try:
                reservation = wallet.reserve((1, 0, worst, 0))
            except RequestRefused:
                continue
            under_way.append((reservation, worst))
        assert spent + sum(worst for _, worst in under_way) <= 10.0 + 1e-6
    for reservation, _ in under_way:
        reservation.release()
    assert dollars.spent == pytest.approx(spent)
    assert dollars.free + spent == pytest.approx(10.0)


def test_without_an_answer_a_process_takes_its_share_of_what_was_left() -> None:
    leased, clock = meter(Resource.USD, Period.DAY, 10.0, share=0.0), Clock()
    wallet = account(clock, leased)
    assert wallet.reserve((1, 0, 1.0, 0)) is None, "the common account has to be asked"
    leased.grant(2.0, 6.0, peers=3)
    assert wallet.reserve((1, 0, 1.0, 0)) is not None
    leased.take_share()
    assert (leased.lease, leased.free) == (4.0, 3.0)
    leased.take_share()
    assert leased.lease == 4.0, "once"
    leased.grant(3.0, 5.0, peers=3)
    assert leased.lease == 4.0, "what was granted meanwhile is part of the share"
    assert refused(lambda: wallet.reserve((1, 0, 9.0, 0))).code is Code.INSUFFICIENT_QUOTA, "nobody has so much"


# A limit whose amount changes.


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("amount", [0.2, 1.0, 3.0])
def test_what_was_spent_and_is_held_stays_when_the_amount_changes(amount: float, share: float) -> None:
    dollars = meter(Resource.USD, Period.DAY, 2.0, share)
    wallet = account(Clock(), dollars)
    done, under_way = wallet.reserve((1, 0, 0.3, 0)), wallet.reserve((1, 0, 0.2, 0))
    assert done is not None
    assert under_way is not None
    done.settle(0, 0.25, 0)
    dollars.change(Limit("key:a", Resource.USD, Period.DAY, amount), share, 1)
    assert (dollars.spent, dollars.held) == (pytest.approx(0.25), pytest.approx(0.2))
    assert dollars.free == pytest.approx(amount * share - 0.45)
    under_way.settle(0, 0.1, 0)
    assert dollars.spent == pytest.approx(0.35), "a call that began before"
    if amount * share < 0.35:
        assert refused(lambda: wallet.reserve((1, 0, 0.001, 0))).code is Code.INSUFFICIENT_QUOTA


def test_a_lease_keeps_what_it_spent_when_the_amount_changes() -> None:
    dollars = meter(Resource.USD, Period.DAY, 10.0, share=0.0)
    wallet = account(Clock(), dollars)
    assert wallet.reserve((1, 0, 1.0, 0)) is None
    dollars.grant(4.0, 2.0, peers=2)
    reservation = wallet.reserve((1, 0, 1.0, 0))
    assert reservation is not None
    reservation.settle(0, 0.75, 0)
    dollars.change(Limit("key:a", Resource.USD, Period.DAY, 9.0), 0.0, 2)
    assert (dollars.lease, dollars.spent, dollars.free) == (0.75, 0.75, 0.0), "what was free is asked for anew"
    assert dollars.left == 1.0


def test_an_account_in_redis_and_back_keeps_what_was_spent() -> None:
    dollars = meter(Resource.USD, Period.DAY, 10.0)
    wallet = account(Clock(), dollars)
    reservation = wallet.reserve((1, 0, 1.0, 0))
    assert reservation is not None
    reservation.settle(0, 1.0, 0)
    limit = Limit("key:a", Resource.USD, Period.DAY, 10.0)
    dollars.change(limit, 0.0, 1)
    assert (dollars.spent, dollars.free, dollars.left) == (1.0, 0.0, 9.0)
    dollars.change(limit, 1.0, 1)
    assert (dollars.spent, dollars.free, dollars.left) == (1.0, 9.0, 0.0)


# What a call takes.

SPEC = ExpertSpec(
    "e", "fake", "m", context_window_tokens=1_000, price=Price(1e6, 2e6), energy=EnergyModel(1.0, 0.0, 0.5)
)  # fmt: skip


def inbound(**fields: object) -> Inbound:
    body = {"model": "e", "messages": [{"role": "user", "content": "x" * 32}], **fields}
    endpoint = Endpoint.COMPLETIONS if "prompt" in fields else Endpoint.CHAT
    return parse_inbound(endpoint, orjson.dumps(body))


def everything() -> Account:
    clock = Clock()
    return account(clock, meter(Resource.USD, Period.DAY, 1e9), meter(Resource.JOULES, Period.DAY, 1e9))


@pytest.mark.parametrize(
    ("fields", "tokens", "answer"),
    [
        ({"max_tokens": 10}, 10, 10),
        ({"max_tokens": 10, "n": 3}, 30, 30),
        ({"max_tokens": 5_000}, 1_000, 1_000),
        ({}, 1_000, 1_000),
        ({"max_tokens": 10, "prompt": ["x" * 16, "y" * 16]}, 20, 20),
    ],
)
def test_the_worst_case_is_the_longest_answer(fields: dict[str, object], tokens: int, answer: int) -> None:
    request = inbound(**fields)
    held = worst_case(SPEC, request, everything(), requests=1)
    prompt = request.prompt_tokens
    assert held == (1, prompt + tokens, prompt + 2 * answer, 1 + 0.5 * answer)


def test_a_rate_of_tokens_holds_a_usual_answer_where_nothing_bounds_it() -> None:
    endless = ExpertSpec("e", "fake", "m", context_window_tokens=128_000)
    assert worst_case(endless, inbound(), everything(), requests=1)[1] == inbound().prompt_tokens + 1_024


def test_an_expert_of_unknown_price_is_none_for_a_key_with_a_limit_in_dollars() -> None:
    wallet = account(Clock(), meter(Resource.USD, Period.DAY, 1))
    assert known_of(SPEC, wallet)
    assert not known_of(ExpertSpec("e", "fake", "m", context_window_tokens=10), wallet)
    assert not known_of(ExpertSpec("e", "fake", "m", price=Price(1, 1)), wallet), "an answer without an end"
    assert known_of(ExpertSpec("e", "fake", "m"), account(Clock(), meter(Resource.REQUESTS, Period.MINUTE, 1)))


# What a call takes where a request says it in another way.


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"max_tokens": 800, "max_completion_tokens": 1}, 800),
        ({"max_tokens": 1, "max_completion_tokens": 800}, 800),
        ({"max_tokens": 10, "best_of": 4}, 40),
        ({"max_tokens": 10, "n": 4, "best_of": 2}, 40),
        ({"max_tokens": -1}, 1_000),
        ({"max_tokens": 0}, 1_000),
        ({"max_tokens": 256.0}, 1_000),
        ({"max_tokens": "800"}, 1_000),
        ({"max_tokens": True}, 1_000),
        ({"max_tokens": 10**18}, 1_000),
        ({"max_output_tokens": 1}, 1_000),
        ({"max_tokens": 1, "n_predict": 700}, 700),
        ({"max_tokens": 1, "extra_body": {"max_tokens": 700}}, 700),
        ({"prompt": "x", "max_completion_tokens": 1}, 1_000),
        ({"prompt": ["x" * 3_000, "y"]}, 2_000),
        ({"prompt": [[1] * 900, [2]], "n": 3}, 6_000),
    ],
)
def test_no_other_field_lowers_the_worst_case(fields: dict[str, object], answer: int) -> None:
    request = inbound(**fields)
    held = worst_case(SPEC, request, everything(), requests=1)
    assert held[2:] == (pytest.approx(request.prompt_tokens + 2 * answer), pytest.approx(1 + 0.5 * answer))


def test_the_expert_s_own_limit_does_not_hold_beside_one_that_only_it_can_read() -> None:
    modest = replace(SPEC, default_max_tokens=50)
    assert worst_case(modest, inbound(), everything(), requests=1)[3] == 1 + 0.5 * 50
    assert worst_case(modest, inbound(max_tokens="800"), everything(), requests=1)[3] == 1 + 0.5 * 1_000
    endless = replace(modest, context_window_tokens=None)
    assert worst_case(endless, inbound(), everything(), requests=1)[3] == 1 + 0.5 * 50
    refusal = refused(lambda: worst_case(endless, inbound(max_tokens="800"), everything(), requests=1))
    assert (refusal.code, refusal.param) == (Code.INVALID_VALUE, "max_tokens")
    rate = account(Clock(), meter(Resource.TOKENS, Period.MINUTE, 1e9))
    wide = replace(SPEC, default_max_tokens=4_000, context_window_tokens=128_000)
    assert worst_case(wide, inbound(max_tokens=-1), rate, requests=1)[1] == inbound().prompt_tokens + 4_000


def test_a_prompt_that_nobody_reads_leaves_the_answer_no_less_room() -> None:
    padded = inbound(documents=[{"text": "w" * 3_400}])
    assert worst_case(SPEC, padded, everything(), requests=1)[3] == 1 + 0.5 * 1_000


def test_what_is_no_text_is_held_up_to_the_window() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://a/b.png"}}
    wide = replace(SPEC, context_window_tokens=100_000)
    one, many = (
        inbound(messages=[{"role": "user", "content": [picture] * count}], max_tokens=1) for count in (1, 1_000)
    )
    assert worst_case(wide, one, everything(), requests=1)[2] == one.prompt_tokens + 1_024 + 2
    assert worst_case(wide, many, everything(), requests=1)[2] == 100_000 + 2
