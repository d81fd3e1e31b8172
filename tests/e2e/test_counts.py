"""Whatever a request needs, it is parsed, authorised, decided and recorded once: the counters beside the answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pointsman.experts.backends.fake import Fault
from pointsman.gateway.process.redis_server import EmbeddedRedis
from pointsman.gateway.settings import Settings
from tests.e2e.answering import QUESTION, answering_router, answering_tree
from tests.e2e.counting import Counts, counting, once_each, undecided
from tests.e2e.kinds_of_request import BEARER, HERE, KINDS, ONE_SLOT, Kind, limited
from tests.e2e.running import Transport, both, eventually, fake
from tests.e2e.staged import AT_ONCE, ENV, ONE_BY_ONE, Request, Scripted, Staged, chat, serving, staged

streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


async def minute_with_room() -> None:
    """A limit a minute counts from zero when the minute of the clock ends: begin well before that."""
    left_s = 60 - time.time() % 60
    if left_s < 3:
        await asyncio.sleep(left_s)


def expected_of(kind: Kind, requests: int, fallbacks: object) -> Counts:
    counts: dict[str, Any] = {name: each * requests for name, each in kind.each.items()}
    counts |= {name: {label: requests} for name, label in kind.labelled.items()}
    if kind.falls_back:
        counts |= {"fallbacks": fallbacks, "retries and races": fallbacks}
    return once_each(requests, kind.status) | counts


def cases() -> Iterator[Any]:
    """Each kind, whole and streamed, by crowds of both sizes: one after the other where connections are kept."""
    for kind in KINDS:
        for stream in (False, True)[: 1 + kind.streams]:
            for sizes in ((ONE_BY_ONE,), (AT_ONCE,)) if kind.cold else ((ONE_BY_ONE, AT_ONCE),):
                size = "" if len(sizes) > 1 else " one by one" if ONE_BY_ONE in sizes else " at once"
                yield pytest.param(kind, stream, sizes, id=f"{kind.fact}{' streamed' * stream}{size}")


@both
@pytest.mark.parametrize(("kind", "stream", "sizes"), [*cases()])
async def test_a_request_is_parsed_authorised_decided_and_recorded_once(
    transport: Transport, kind: Kind, stream: bool, sizes: tuple[int, ...]
) -> None:
    if kind.env:
        await minute_with_room()
    async with staged(transport, *kind.experts, env=dict(kind.env), **kind.settings) as stage:
        for requests in sizes:
            if not kind.cold:
                await kind.request.crowd(stage, AT_ONCE, stream=stream)
                await nothing_under_way(stage)
            asked = stage.asked()
            with counting(stage.gateway) as counted:
                statuses = await kind.request.crowd(stage, requests, stream=stream, first=AT_ONCE * requests)
                assert statuses == [kind.status] * requests
                await nothing_under_way(stage)
                expected = expected_of(kind, requests, counted.counts["fallbacks"])
                await counted.come_to(expected)
            if kind.falls_back:
                assert expected["fallbacks"] != 0
            if kind.calls is not None:
                asked = stage.asked() - asked
                # A call that lost its race may be cancelled before its expert has read it.
                assert min(requests, kind.calls * requests) <= asked <= kind.calls * requests
                assert asked == kind.calls * requests or "hedges" in kind.labelled
    counted.check(expected)


async def nothing_under_way(stage: Staged) -> None:
    runtime = stage.gateway.app.runtime
    exploration = runtime.exploration
    await eventually(lambda: not any(runtime.pool.in_flight().values()))
    await eventually(lambda: exploration is None or not exploration.busy)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return answering_router(tmp_path_factory.mktemp("router") / "answering")


@both
@streamed
async def test_several_calls_for_evidence_are_one_decision_and_one_outcome(
    transport: Transport, stream: bool, artifact: Path
) -> None:
    differing = {"cheap": "The answer is A.", "twin": "The answer is B.", "judge": "The answer is C."}
    request = Request(body=chat(messages=[{"role": "user", "content": QUESTION}]))
    async with serving(transport, answering_tree(artifact, differing)) as stage:
        stats = [stage.gateway.fake(name).stats for name in differing]
        for requests in (ONE_BY_ONE, AT_ONCE):
            asked = sum(one.started for one in stats)
            with counting(stage.gateway) as counted:
                assert await request.crowd(stage, requests, stream=stream) == [200] * requests
                await counted.come_to(once_each(requests))
            assert sum(one.started for one in stats) - asked == 3 * requests


@both
async def test_a_request_to_an_embedded_expert_is_counted_once(transport: Transport) -> None:
    nano = fake("nano", backend="embedded", model="nano-general")
    async with serving(transport, {"pool": {"experts": [nano], "probe_interval_s": 0}}) as stage:
        for requests in (ONE_BY_ONE, AT_ONCE):
            with counting(stage.gateway) as counted:
                assert await Request(body=chat(max_tokens=1)).crowd(stage, requests) == [200] * requests
                await counted.come_to(once_each(requests))


@both
async def test_a_session_that_redis_knows_is_looked_up_once(transport: Transport, tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    assert await asyncio.to_thread(server.start)
    request = Request(body=chat(routing={"session": "talk"}))
    try:
        async with staged(transport, Scripted(), redis={"url": server.url}) as stage:
            for requests in (ONE_BY_ONE, AT_ONCE):
                with counting(stage.gateway) as counted:
                    assert await request.crowd(stage, requests) == [200] * requests
                    await counted.come_to(once_each(requests))
    finally:
        await asyncio.to_thread(server.stop)


@both
async def test_requests_behind_one_another_on_one_connection_are_counted_once_each(transport: Transport) -> None:
    body = json.dumps(chat()).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n" % len(body)
    async with staged(transport, Scripted()) as stage:
        await Request().ask(stage, 0)
        host, port = stage.gateway.url.removeprefix("http://").split(":")
        with counting(stage.gateway) as counted:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write((head + b"\r\n" + body) * (ONE_BY_ONE - 1) + head + b"connection: close\r\n\r\n" + body)
            assert (await reader.read(-1)).count(b"HTTP/1.1 200 OK") == ONE_BY_ONE
            writer.close()
            await counted.come_to(once_each(ONE_BY_ONE))


# Clients that leave.


@both
@pytest.mark.parametrize("over", ["http", "process"])
@pytest.mark.parametrize("limits", [{}, {"requests_per_minute": 1000, "usd_per_hour": 1000}], ids=["free", "limited"])
@pytest.mark.parametrize("begun", [False, True], ids=["before the first byte", "in the stream"])
async def test_a_client_that_leaves_has_one_outcome_with_status_499(
    transport: Transport, over: Any, limits: dict[str, float], begun: bool
) -> None:
    await minute_with_room()
    hanging = Scripted(over=over, script={"fault": Fault.HANG_BODY if begun else Fault.HANG_HEAD, "reply": "a b c"})
    async with staged(transport, hanging, env=ENV, **limited(**limits)) as stage:
        with counting(stage.gateway) as counted:
            async with asyncio.TaskGroup() as group:
                asking = [group.create_task(first_byte(stage, chat(stream=begun))) for _ in range(AT_ONCE)]
                await eventually(lambda: stage.asked() == AT_ONCE)
                if not begun:
                    for task in asking:
                        task.cancel()
            against = AT_ONCE if limits else 0
            expected = once_each(AT_ONCE, 499, disconnects=AT_ONCE, requests_against_a_limit=against)
            await counted.come_to(expected)
    counted.check(expected)


async def first_byte(stage: Staged, body: dict[str, Any]) -> None:
    """Ask, read the first event and leave."""
    async with stage.http.post("/v1/chat/completions", json=body, headers=BEARER) as reply:
        assert await reply.content.readany()
        reply.close()


@both
async def test_a_client_that_disconnects_in_the_queue_records_no_decision(transport: Transport) -> None:
    hanging = Scripted(script={"fault": Fault.HANG_HEAD}, fields=ONE_SLOT)
    async with staged(transport, hanging) as stage:
        first = asyncio.create_task(Request().ask(stage, 0))
        await eventually(lambda: stage.asked() == 1)
        with counting(stage.gateway) as counted:
            asking = [asyncio.create_task(Request().ask(stage, 1)) for _ in range(AT_ONCE)]
            await eventually(lambda: waiting(stage) == AT_ONCE)
            for task in asking:
                task.cancel()
            await eventually(lambda: waiting(stage) == 0)
            busy = {"calls in flight": 1, "busy connections": 1}
            await counted.come_to(undecided(AT_ONCE, disconnects=AT_ONCE) | busy)
            assert stage.asked() == 1
        first.cancel()


def waiting(stage: Staged) -> float:
    return next(iter(stage.gateway.app.runtime.telemetry.waiting.collect()[0].samples)).value


# Requests that are refused.

NO_KEY = {"authorization": "Bearer wrong"}


@both
@pytest.mark.parametrize(
    ("request_", "status", "code", "counters"),
    [
        pytest.param(Request(headers=NO_KEY), 401, "invalid_api_key", {"parsed": 0}, id="401 key"),
        pytest.param(Request(headers=BEARER, raw=b"{"), 400, "invalid_json", {}, id="400 body"),
        pytest.param(Request(headers=BEARER, body=chat("nobody")), 404, "model_not_found", {}, id="404 model"),
        pytest.param(
            Request(headers=BEARER, body=chat(routing={"max_cost_usd": -1})), 400, "invalid_budget", {}, id="400 budget"
        ),
        pytest.param(
            Request(headers=BEARER, body=chat(routing={"max_cost_usd": 1e-12})),
            422,
            "budget_infeasible",
            {"decisions": 1},
            id="422 budget",
        ),
        pytest.param(
            Request(headers=BEARER, body=chat(routing={"max_cost_usd": 1e-12, "deadline_ms": 5000})),
            422,
            "budget_infeasible",
            {"decisions": 1},
            id="422 budget with deadline_ms",
        ),
        pytest.param(
            Request(headers=BEARER, body=chat(routing={"max_cost_usd": 1e-12, "session": "s"})),
            422,
            "budget_infeasible",
            {"decisions": 1},
            id="422 budget with a session",
        ),
        pytest.param(
            Request(headers=BEARER, body=chat(max_tokens=4000, routing={"session": "s"})),
            429,
            "insufficient_quota",
            {},
            id="429 dollars",
        ),
    ],
)
async def test_a_refused_request_is_one_refusal_and_no_ledger_entry(
    transport: Transport, request_: Request, status: int, code: str, counters: dict[str, int]
) -> None:
    await minute_with_room()
    settings = limited(requests_per_minute=1000, usd_per_hour=0.005)
    async with staged(transport, Scripted(), env=ENV, **settings) as stage:
        for requests in (ONE_BY_ONE, AT_ONCE):
            with counting(stage.gateway) as counted:
                assert await request_.crowd(stage, requests) == [status] * requests
                # Nobody is known to have sent a wrong key, and who asks too much has spent nothing more.
                counts = {"requests against a limit": int(status not in (401, 429)), **counters}
                more = {name: count * requests for name, count in counts.items()}
                expected = undecided(requests, refusals={code: requests}, **more)
                await counted.come_to(expected)
        assert stage.asked() == 0
    counted.check(expected)


@both
@streamed
@pytest.mark.parametrize("over", ["http", "process"])
async def test_a_deadline_that_passes_is_one_outcome_and_one_refusal(
    transport: Transport, stream: bool, over: Any
) -> None:
    request = Request(body=chat(routing={"deadline_ms": 1000}))
    async with staged(transport, Scripted(over=over, script={"fault": Fault.HANG_HEAD})) as stage:
        with counting(stage.gateway) as counted:
            assert await request.crowd(stage, AT_ONCE, stream=stream) == [504] * AT_ONCE
            await counted.come_to(once_each(AT_ONCE, 504, refusals={"deadline_exceeded": AT_ONCE}))
            assert stage.asked() == AT_ONCE


@both
@streamed
@pytest.mark.parametrize(
    ("expert", "status", "code"),
    [
        pytest.param(Scripted(over="refused"), 502, "expert_unavailable", id="refused"),
        pytest.param(Scripted(script={"fault": Fault.REFUSE}), 502, "expert_unavailable", id="closed without a byte"),
        pytest.param(Scripted(over="process", script={"fault": Fault.REFUSE}), 502, "expert_unavailable", id="process"),
        pytest.param(
            Scripted(script={"fault": Fault.ERROR, "error_status": 401}), 502, "expert_bad_answer", id="401 of its own"
        ),
    ],
)
async def test_a_last_expert_that_fails_is_one_outcome_and_one_refusal(
    transport: Transport, stream: bool, expert: Scripted, status: int, code: str
) -> None:
    request = Request(body=chat("only"))
    async with staged(transport, expert) as stage:
        with counting(stage.gateway) as counted:
            assert await request.crowd(stage, AT_ONCE, stream=stream) == [status] * AT_ONCE
            expected = once_each(AT_ONCE, status, refusals={code: AT_ONCE})
            await counted.come_to(expected)
    counted.check(expected)


@both
@pytest.mark.parametrize("over", ["http", "process"])
async def test_a_stream_that_an_expert_breaks_off_is_one_outcome_with_status_502(
    transport: Transport, over: Any
) -> None:
    async with staged(transport, Scripted(over=over, script={"fault": Fault.BREAK, "reply": "a b c"})) as stage:
        with counting(stage.gateway) as counted:
            # Its circuit opens, which who names it does not mind.
            assert await Request(body=chat("only")).crowd(stage, AT_ONCE, stream=True) == [200] * AT_ONCE
            expected = once_each(AT_ONCE, 502)
            await counted.come_to(expected)
    counted.check(expected)


@both
async def test_of_more_than_may_wait_each_is_one_outcome_or_one_refusal(transport: Transport) -> None:
    one_slot = Scripted(script={"ttft_ms": 250}, fields=ONE_SLOT)
    async with staged(transport, one_slot, admission={"queue": 2}) as stage:
        with counting(stage.gateway) as counted:
            statuses = await Request().crowd(stage, AT_ONCE)
            assert sorted(statuses) == [200] * 3 + [503] * (AT_ONCE - 3)
            expected = once_each(3, parsed=AT_ONCE, authorised=AT_ONCE, refusals={"pool_busy": AT_ONCE - 3})
            # Of those that were refused, some were decided: nobody could answer.
            expected["decisions"] = counted.counts["decisions"]
            await counted.come_to(expected)
            assert 3 <= int(str(expected["decisions"])) <= AT_ONCE


@both
async def test_an_estimate_of_tokens_is_no_decision(transport: Transport) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "hello there"}]}
    async with staged(transport, Scripted()) as stage:
        with counting(stage.gateway) as counted:
            request = Request("/v1/messages/count_tokens", body)
            assert await request.crowd(stage, AT_ONCE) == [200] * AT_ONCE
            await counted.come_to(undecided(AT_ONCE))


# Limits.


@both
@pytest.mark.parametrize("experts", [(Scripted(),), HERE], ids=["http", "process"])
@pytest.mark.parametrize("more", [{}, {"usd_per_hour": 1000}], ids=["requests", "requests and dollars"])
@pytest.mark.parametrize(
    "waits", [{}, {"session": "s"}, {"deadline_ms": 5000}], ids=["plain", "session", "deadline_ms"]
)
async def test_a_limit_of_five_requests_admits_five_of_eight_at_once(
    transport: Transport,
    experts: tuple[Scripted, ...],
    more: dict[str, float],
    waits: dict[str, Any],
) -> None:
    await minute_with_room()
    admitted = 5
    request = Request(body=chat(routing=waits), headers=BEARER)
    async with staged(transport, *experts, env=ENV, **limited(requests_per_minute=admitted, **more)) as stage:
        with counting(stage.gateway) as counted:
            statuses = await request.crowd(stage, AT_ONCE)
            assert sorted(statuses) == [200] * admitted + [429] * (AT_ONCE - admitted)
            await eventually(lambda: counted.counts["calls in flight"] == 0)
            counts = counted.counts
            assert (counts["requests against a limit"], counts["held"]) == (admitted, 0)
            assert counts["outcomes"] == {"200": admitted}
            assert counts["refusals"] == {"rate_limit_exceeded": AT_ONCE - admitted}
            assert (counts["ledger entries"], counts["overheads"]) == (admitted, admitted)
            assert stage.asked() == admitted


# Changes of the settings.


@both
@streamed
@pytest.mark.parametrize("over", ["http", "process"])
async def test_a_reload_in_the_middle_of_a_burst_counts_nothing_twice(
    transport: Transport, stream: bool, over: Any
) -> None:
    one_slot = Scripted(over=over, script={"ttft_ms": 20}, fields=ONE_SLOT)
    async with staged(transport, one_slot) as stage:
        before = stage.gateway.app
        with counting(stage.gateway) as counted:
            burst = asyncio.create_task(Request().crowd(stage, AT_ONCE, stream=stream))
            await eventually(lambda: stage.asked() >= 1)
            settings = Settings.model_validate({**stage.tree, "retries": {"share": 0.3}})
            await stage.gateway.serving.prepare(2, settings)
            await stage.gateway.serving.switch(2)
            assert await burst == [200] * AT_ONCE
            assert stage.gateway.app is not before
            await counted.come_to(once_each(AT_ONCE))
            assert not any(before.runtime.pool.in_flight().values())
            assert stage.asked() == AT_ONCE
