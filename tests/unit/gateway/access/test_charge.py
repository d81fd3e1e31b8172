"""What a finished call is charged: what was reported as far as it can be, else the worst case; nothing for nothing."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import EnergyModel, ExpertSpec, Price, Usage
from pointsman.gateway.access.charge import Basis, charge_of, settle, turned_away
from pointsman.gateway.access.limits import Account, Amounts, Limit, Meter, Resource
from pointsman.gateway.access.windows import Period
from pointsman.gateway.access.worst_case import worst_case
from pointsman.gateway.wire.request import Inbound, parse_inbound
from pointsman.gateway.wire.request_fields import TEXT_PARTS
from pointsman.gateway.wire.usage import ABSURD

SPEC = ExpertSpec(
    "e", "fake", "m", context_window_tokens=1_000, price=Price(1e6, 2e6), energy=EnergyModel(1.0, 0.0, 0.5)
)  # fmt: skip


def inbound(endpoint: Endpoint = Endpoint.CHAT, **fields: Any) -> Inbound:
    body = {"model": "e", "messages": [{"role": "user", "content": "x" * 32}], **fields}
    return parse_inbound(endpoint, orjson.dumps(body))


def spent(spec: ExpertSpec, request: Inbound, reported: Usage | None, **said: Any) -> tuple[Amounts, Amounts]:
    """What was held of tokens, dollars and joules, and what was spent."""
    meters = [Meter(Limit("key:a", one, Period.MONTH, 1e12), 1.0, 1) for one in Resource]
    account = Account(meters, lambda: 1e9, None)
    held = worst_case(spec, request, account, requests=1)
    reservation = account.reserve(held)
    assert reservation is not None
    settle(reservation, spec, charge_of(spec, request, reported, **said))
    assert [meter.held for meter in meters] == [0, 0, 0, 0]
    requests, tokens, usd, joules = (meter.spent for meter in meters)
    return held, (requests, tokens, usd, joules)


def test_what_was_reported_is_charged() -> None:
    assert spent(SPEC, inbound(max_tokens=100), Usage(5, 7))[1] == (1, 12, 19, 4.5)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "said",
    [
        {"reported": None},
        {"reported": None, "heard_tokens": 9},
        {"reported": Usage(5, 7), "complete": False},
        {"reported": ABSURD},
        {"reported": Usage(5, -7)},
        {"reported": ABSURD, "complete": False},
    ],
)
def test_what_is_not_known_is_charged_at_its_worst_case(said: dict[str, Any], stream: bool) -> None:
    request = inbound(max_tokens=100, stream=stream)
    held, charged = spent(SPEC, request, **said)
    assert charged == held
    charge = charge_of(SPEC, request, **said)
    assert charge.basis is Basis.WORST_CASE
    assert charge.known is None, "an assumption is no figure"
    assert charge.implausible == (said["reported"] is not None and min(said["reported"].completion_tokens, 0) < 0)


def test_what_cannot_have_begun_is_free_but_for_the_request() -> None:
    assert spent(SPEC, inbound(max_tokens=100), None, worked=False)[1] == (1, 0, 0, 0)
    null = ExpertSpec("e", "null", "m")
    assert spent(null, inbound(max_tokens=100), None)[1] == (1, 0, 0, 0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429, 501, 503])
def test_a_status_that_turns_the_call_away_means_no_work(status: int) -> None:
    assert turned_away(status)


@pytest.mark.parametrize("status", [200, 408, 499, 500, 502, 504, 524])
def test_any_other_status_does_not(status: int) -> None:
    assert not turned_away(status)


@pytest.mark.parametrize(
    ("fields", "reported", "charged"),
    [
        ({"max_tokens": 5}, Usage(1, 50_000), Usage(1, 5)),
        ({"max_tokens": 5}, Usage(1, 2**64 - 1), Usage(1, 5)),
        ({"max_tokens": 5, "n": 3}, Usage(1, 50_000), Usage(1, 15)),
        ({"max_tokens": 5, "n": 3}, Usage(1, 15), Usage(1, 15)),
        ({}, Usage(1, 2**63), Usage(1, 1_000)),
        ({"max_tokens": 5}, Usage(2**63, 3), Usage(1_000, 3)),
    ],
)
def test_more_than_can_be_is_charged_as_the_most_that_can_be(
    fields: dict[str, Any], reported: Usage, charged: Usage
) -> None:
    charge = charge_of(SPEC, inbound(**fields), reported)
    assert (charge.tokens, charge.implausible) == (charged, reported != charged)
    assert charge.known == charged


def test_the_bytes_of_a_prompt_bound_its_tokens_where_all_of_it_is_there() -> None:
    wide = ExpertSpec("e", "fake", "m", context_window_tokens=1_000_000)
    asked = inbound(max_tokens=5)
    charge = charge_of(wide, asked, Usage(900_000, 5))
    assert (charge.tokens.prompt_tokens, charge.implausible) == (len(asked.body) + 1_024, True)
    picture = {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}
    shown = inbound(max_tokens=5, messages=[{"role": "user", "content": [picture]}])
    assert not charge_of(wide, shown, Usage(900_000, 5)).implausible
    sound = {"type": "input_audio", "input_audio": {"id": "a"}}
    heard = inbound(max_tokens=5, messages=[{"role": "user", "content": [sound]}])
    assert not charge_of(wide, heard, Usage(900_000, 5)).implausible


@pytest.mark.parametrize(("kind", "field"), TEXT_PARTS.items())
def test_every_part_that_is_text_is_all_there(kind: str, field: str) -> None:
    wide = ExpertSpec("e", "fake", "m", context_window_tokens=1_000_000)
    asked = inbound(max_tokens=5, messages=[{"role": "user", "content": [{"type": kind, field: "a"}]}])
    assert charge_of(wide, asked, Usage(900_000, 5)).implausible


@pytest.mark.parametrize("kind", ["elsewhere", None, 7, ["text"], {"text": "text"}])
def test_a_part_of_another_kind_may_be_of_any_length(kind: Any) -> None:
    wide = ExpertSpec("e", "fake", "m", context_window_tokens=1_000_000)
    asked = inbound(max_tokens=5, messages=[{"role": "user", "content": [{"type": kind, "text": "a"}]}])
    assert not charge_of(wide, asked, Usage(900_000, 5)).implausible


def test_what_bounds_nothing_is_bounded_by_what_any_model_can() -> None:
    endless = ExpertSpec("e", "fake", "m")
    assert charge_of(endless, inbound(), Usage(5, 70_000)).known == Usage(5, 70_000)
    charge = charge_of(endless, inbound(), Usage(5, 2**64 - 1))
    assert (charge.tokens, charge.implausible) == (Usage(5, 1_000_000), True)


def test_a_prompt_estimated_too_long_leaves_an_answer_its_room() -> None:
    """Of 1,000 tokens the estimate leaves 701 for the answer, and the real prompt 900."""
    asked = inbound(messages=[{"role": "user", "content": "x" * 1_060}])
    assert asked.prompt_tokens > 250
    assert not charge_of(SPEC, asked, Usage(100, 900)).implausible


def test_nothing_but_the_text_bounds_an_answer_without_an_end() -> None:
    endless = ExpertSpec("e", "fake", "m")
    held, charged = spent(endless, inbound(stream=True), None, heard_tokens=5_000)
    assert charged[1] == inbound().prompt_tokens + 5_000
    assert spent(endless, inbound(stream=True), None, heard_tokens=3)[1] == held


def test_an_unbounded_answer_is_charged_its_longest_whatever_was_held_of_a_rate() -> None:
    wide = ExpertSpec("e", "fake", "m", context_window_tokens=10_000)
    held, charged = spent(wide, inbound(), None)
    assert held[1] == inbound().prompt_tokens + 1_024
    assert charged[1] == inbound().prompt_tokens + 10_000


def test_a_prompt_that_turned_out_longer_is_charged_so() -> None:
    """A stream of Messages says the prompt where it begins, and was left before it said how long the answer was."""
    asked = inbound(max_tokens=10)
    held, charged = spent(SPEC, asked, Usage(300, 1), complete=False)
    assert asked.prompt_tokens < 20
    assert charged[2] == 300 + 2 * 10
    assert held[2] == asked.prompt_tokens + 2 * 10


def test_what_writes_nothing_has_no_answer_to_pay_for() -> None:
    asked = parse_inbound(Endpoint.EMBEDDINGS, orjson.dumps({"model": "e", "input": "some words"}))
    charge = charge_of(SPEC, asked, Usage(3, 400))
    assert (charge.tokens, charge.implausible) == (Usage(3, 0), True)


def test_pairs_read_a_text_once_each() -> None:
    documents = [f"document {number}" for number in range(50)]
    asked = parse_inbound(
        Endpoint.RERANK, orjson.dumps({"model": "e", "query": "which one of all of these", "documents": documents})
    )
    assert not charge_of(SPEC, asked, Usage(50 * 13, 0)).implausible


CACHING = ExpertSpec("e", "fake", "m", context_window_tokens=1_000, price=Price(1e6, 2e6, 1e5, 1.25e6, 4e6))


@pytest.mark.parametrize(
    ("reported", "usd"),
    [
        (Usage(20, 10), 20 + 20),
        (Usage(20, 10, cached_tokens=15), 5 + 1.5 + 20),
        (Usage(20, 10, cache_write_tokens=16), 4 + 20 + 20),
        (Usage(20, 10, cached_tokens=10, cache_write_tokens=8), 2 + 1 + 10 + 20),
        (Usage(20, 10, reasoning_tokens=6), 20 + 8 + 24),
        (Usage(20, 10, 20, 0, 10), 2 + 40),
    ],
)
def test_each_kind_of_token_is_charged_at_its_price(reported: Usage, usd: float) -> None:
    held, charged = spent(CACHING, inbound(max_tokens=100), reported)
    assert charged[2] == pytest.approx(usd)
    assert charged[2] <= held[2]


def test_what_is_held_is_the_dearest_that_a_cache_and_reasoning_can_make_it() -> None:
    request = inbound(max_tokens=100)
    held, _ = spent(CACHING, request, None)
    assert held[2] == pytest.approx(request.prompt_tokens * 1.25 + 100 * 4)
    every_kind = Usage(request.prompt_tokens, 100, 0, request.prompt_tokens, 100)
    assert spent(CACHING, request, every_kind)[1][2] == pytest.approx(held[2])


def test_a_call_of_unknown_end_is_charged_what_was_held_whatever_was_said_of_a_cache() -> None:
    request = inbound(max_tokens=100)
    held, charged = spent(CACHING, request, Usage(5, 7, 5), complete=False)
    assert charged == held


def test_a_report_that_cannot_be_is_not_made_cheaper_by_a_cache() -> None:
    request = inbound(max_tokens=100)
    charge = charge_of(CACHING, request, Usage(10**9, 10**9, 10**9, 0, 10**9))
    assert charge.implausible
    assert charge.tokens.cached_tokens == 0
    assert charge.tokens.reasoning_tokens == charge.tokens.completion_tokens == 100


def test_without_prices_of_their_own_all_tokens_cost_alike() -> None:
    assert spent(SPEC, inbound(max_tokens=100), Usage(20, 10, 15, 3, 6))[1][2] == 40
