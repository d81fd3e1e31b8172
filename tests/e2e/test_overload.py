"""More requests than experts can take, experts that are late, and failures that spread: what is seen from outside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.e2e.running import Running, Transport, both, eventually, fake, running
from tests.e2e.test_transports import ANSWER, CHUNK, DONE, chat, chunk, expert, gateway_of, stream_head, whole
from tests.unit.experts.raw_server import Peer, talking


async def post(gateway: Running, body: dict[str, Any], **options: Any) -> tuple[int, dict[str, str], bytes]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{gateway.url}/v1/chat/completions", json=body, **options) as reply,
    ):
        return reply.status, {name.lower(): value for name, value in reply.headers.items()}, await reply.read()


def waiting(gateway: Running) -> float:
    return next(iter(gateway.app.runtime.telemetry.waiting.collect()[0].samples)).value


@asynccontextmanager
async def slow_expert(
    *, transport: Transport, places: int = 1, answer_s: float = 0.1, **settings: Any
) -> AsyncIterator[Running]:
    """A gateway over one HTTP expert that takes its time and only so many calls."""

    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            await asyncio.sleep(answer_s)
            await peer.say(whole(ANSWER))

    async with talking(serve) as server:
        only = {**expert("only", server, 0.9), "max_concurrency": places}
        tree = {"pool": {"experts": [only], "probe_interval_s": 0}, **settings}
        async with running(tree, transport=transport) as gateway:
            yield gateway


@both
@pytest.mark.parametrize("model", ["auto", "only"])
async def test_a_request_waits_until_its_expert_has_room(transport: Transport, model: str) -> None:
    async with slow_expert(transport=transport) as gateway:
        answers = await asyncio.gather(*(post(gateway, chat(model)) for _ in range(5)))
        assert [status for status, _, _ in answers] == [200] * 5
        assert waiting(gateway) == 0


@both
async def test_requests_beyond_the_queue_get_503_with_retry_after(transport: Transport) -> None:
    async with slow_expert(transport=transport, answer_s=0.3, admission={"queue": 2}) as gateway:
        answers = await asyncio.gather(*(post(gateway, chat()) for _ in range(6)))
        assert sorted(status for status, _, _ in answers) == [200] * 3 + [503] * 3
        for status, headers, body in answers:
            if status == 503:
                error = json.loads(body)["error"]
                assert (error["code"], error["reason"]) == ("pool_busy", "queue_full")
                assert headers["x-pointsman-reason"] == "queue_full"
                assert int(headers["retry-after"]) >= 1


@both
async def test_no_request_waits_longer_than_the_maximum(transport: Transport) -> None:
    async with slow_expert(transport=transport, answer_s=1.0, admission={"max_wait_ms": 100}) as gateway:
        first = asyncio.create_task(post(gateway, chat()))
        await asyncio.sleep(0.1)
        began = asyncio.get_running_loop().time()
        status, headers, _ = await post(gateway, chat())
        assert (status, headers["x-pointsman-reason"]) == (503, "wait_expired")
        assert asyncio.get_running_loop().time() - began < 0.5
        assert (await first)[0] == 200


@both
async def test_a_client_that_disconnects_leaves_the_queue_at_once(transport: Transport) -> None:
    async with slow_expert(transport=transport, answer_s=1.0) as gateway:
        first = asyncio.create_task(post(gateway, chat()))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(post(gateway, chat()))
        await eventually(lambda: waiting(gateway) == 1)
        second.cancel()
        await eventually(lambda: waiting(gateway) == 0, seconds=0.1)
        assert (await first)[0] == 200


@both
async def test_a_dry_run_does_not_wait(transport: Transport) -> None:
    async with slow_expert(transport=transport, answer_s=1.0) as gateway, aiohttp.ClientSession() as http:
        first = asyncio.create_task(post(gateway, chat()))
        await asyncio.sleep(0.1)
        async with http.post(f"{gateway.url}/v1/route", json=chat()) as reply:
            decision = await reply.json()
        assert decision["expert"] is None
        assert [one["rejection"]["rule"] for one in decision["candidates"]] == ["saturated"]
        first.cancel()


@both
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("head_first", [False, True])
async def test_a_deadline_cancels_the_expert(transport: Transport, stream: bool, head_first: bool) -> None:
    left = asyncio.Event()
    told: list[float] = []

    async def answering(peer: Peer, request: bytes) -> None:
        told.append(float(request.partition(b"x-pointsman-deadline-ms: ")[2].partition(b"\r\n")[0]))
        if head_first:
            await peer.say(stream_head() if stream else whole(ANSWER)[:-1])
        await peer.until_left()
        left.set()

    async with gateway_of(answering, transport=transport) as gateway:
        began = asyncio.get_running_loop().time()
        status, headers, body = await gateway.post(chat("first", stream=stream, routing={"deadline_ms": 150}))
        assert (status, json.loads(body)["error"]["code"]) == (504, "deadline_exceeded")
        assert asyncio.get_running_loop().time() - began < 0.4
        await asyncio.wait_for(left.wait(), 0.2)
        assert 50 < told[0] <= 150, "the expert hears how much time is left"
        assert (await gateway.outcome(headers))["status"] == 504


@both
async def test_a_deadline_that_is_kept_changes_nothing(transport: Transport) -> None:
    async def answering(peer: Peer, request: bytes) -> None:
        assert "routing" not in json.loads(request.partition(b"\r\n\r\n")[2])
        await peer.say(stream_head(), chunk(CHUNK % b"a"))
        await asyncio.sleep(0.4)
        await peer.say(chunk(DONE), b"0\r\n\r\n")

    async with gateway_of(answering, transport=transport) as gateway:
        status, _, body = await gateway.post(chat("first", stream=True), headers={"x-pointsman-deadline-ms": "300"})
        assert status == 200
        assert body == (CHUNK % b"a").replace(b'"inner"', b'"first"') + DONE, "after the first byte time is no matter"


@pytest.mark.parametrize(
    ("routing", "field"),
    [
        ({"deadline_ms": 0}, "routing.deadline_ms"),
        ({"deadline_ms": True}, "routing.deadline_ms"),
        ({"deadline_ms": "soon"}, "routing.deadline_ms"),
        ({"priority": "urgent"}, "routing.priority"),
        ({"priority": 3}, "routing.priority"),
        ({"priority": ["low"]}, "routing.priority"),
    ],
)
async def test_an_urgency_that_means_nothing_is_refused(routing: dict[str, Any], field: str) -> None:
    async with running({"pool": {"experts": [fake("only")]}}) as gateway:
        status, _, body = await post(gateway, {**chat(), "routing": routing})
        assert (status, json.loads(body)["error"]["param"]) == (400, field)
        for header in ("x-pointsman-priority", "x-pointsman-deadline-ms"):
            assert (await post(gateway, chat(), headers={header: "whatever"}))[0] == 400


HEDGING = {"enabled": True, "least_ms": 50, "max_share": 1.0}


@both
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("head_first", [False, True])
async def test_a_late_expert_is_overtaken(transport: Transport, stream: bool, head_first: bool) -> None:
    left = asyncio.Event()

    async def answering(peer: Peer, request: bytes) -> None:
        if head_first:
            await peer.say(stream_head() if stream else whole(ANSWER)[:-1])
        await peer.until_left()
        left.set()

    async with gateway_of(answering, transport=transport, hedging=HEDGING) as gateway:
        began = asyncio.get_running_loop().time()
        status, headers, body = await gateway.post(chat(stream=stream))
        assert (status, headers["x-pointsman-expert"]) == (200, "second")
        assert headers["x-pointsman-hedged"] == "first"
        assert asyncio.get_running_loop().time() - began < 0.4
        assert body.endswith(DONE) if stream else body == ANSWER.replace(b'"inner"', b'"second"')
        await asyncio.wait_for(left.wait(), 0.1)
        outcome = await gateway.outcome(headers)
        assert (outcome["expert"], outcome["status"]) == ("second", 200)
        pool = gateway.running.app.runtime.pool
        await eventually(lambda: all(state.in_flight == 0 for _, state in pool.snapshot().entries))
        assert pool.counts("first").failed == 0, "being late is no fault"


@both
async def test_an_expert_in_time_runs_alone(transport: Transport) -> None:
    async def answering(peer: Peer, request: bytes) -> None:
        await peer.say(whole(ANSWER))

    async with gateway_of(answering, transport=transport, hedging=HEDGING) as gateway:
        status, headers, _ = await gateway.post(chat())
        assert (status, headers["x-pointsman-expert"]) == (200, "first")
        assert "x-pointsman-hedged" not in headers
        assert gateway.running.app.runtime.pool.counts("second").succeeded == 1, "only the first call of the set-up"


@both
async def test_a_client_that_leaves_a_race_cancels_both(transport: Transport) -> None:
    slow = {"ttft_ms": 5_000}
    tree = {
        "pool": {"experts": [fake("one", prior={"*": 0.9}, options=slow), fake("two", options=slow)]},
        "hedging": HEDGING,
    }
    async with running(tree, transport=transport) as gateway:
        request = asyncio.create_task(post(gateway, chat(stream=True)))
        await eventually(lambda: gateway.fake("one").stats.started == gateway.fake("two").stats.started == 1, 5)
        request.cancel()
        await eventually(lambda: gateway.fake("one").stats.cancelled == gateway.fake("two").stats.cancelled == 1)
        pool = gateway.app.runtime.pool
        await eventually(lambda: all(state.in_flight == 0 for _, state in pool.snapshot().entries))


@both
async def test_when_both_hedged_calls_fail_the_client_gets_one_error(transport: Transport) -> None:
    tree = {
        "pool": {
            "experts": [
                fake("one", prior={"*": 0.9}, options={"ttft_ms": 300, "fault": "error"}),
                fake("two", options={"fault": "error", "error_status": 503}),
            ]
        },
        "hedging": HEDGING,
    }
    async with running(tree, transport=transport) as gateway:
        status, headers, _ = await post(gateway, chat())
        assert status in {500, 503}
        telemetry = gateway.app.runtime.telemetry
        telemetry.flush()
        finished = [s.value for s in telemetry.requests.collect()[0].samples if s.name.endswith("_total")]
        assert sum(finished) == 1
        assert headers["x-pointsman-decision"]


@both
async def test_second_experts_are_asked_for_a_share_of_the_requests_only(transport: Transport) -> None:
    slow = {"ttft_ms": 120}
    tree = {
        "pool": {"experts": [fake("one", prior={"*": 0.9}, options=slow), fake("two", options=slow)]},
        "hedging": {**HEDGING, "max_share": 0.0},
    }
    async with running(tree, transport=transport) as gateway:
        for _ in range(6):
            assert (await post(gateway, chat()))[0] == 200
        assert gateway.fake("two").stats.started <= 2


@both
async def test_a_storm_of_failures_does_not_feed_itself(transport: Transport) -> None:
    async with running(
        {
            "pool": {
                "experts": [
                    fake("one", prior={"*": 0.9}, options={"fault": "error", "error_status": 429}),
                    fake("two", options={"fault": "error", "error_status": 429}),
                ]
            },
            "retries": {"share": 0.1, "least_per_s": 1},
        },
        transport=transport,
    ) as gateway:
        for _ in range(100):
            status, _, _ = await post(gateway, chat())
            assert status == 429
        assert gateway.fake("one").stats.started == 100
        # Ten seconds of the floor, and a tenth of the requests.
        assert 15 <= gateway.fake("two").stats.started <= 30
        samples = gateway.app.runtime.telemetry.retries_refused.collect()[0].samples
        assert sum(s.value for s in samples if s.name.endswith("_total")) >= 70
