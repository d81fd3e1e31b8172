"""What goes on and what ends when one process exchanges its App for another."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from pointsman.gateway.app import create_app
from pointsman.gateway.process.reload import Reloader
from pointsman.gateway.process.serving import Serving
from pointsman.gateway.settings import Settings, SettingsError
from pointsman.gateway.settings.version import ReloadOutcome, ReloadRefused, ReloadReport
from tests.e2e.running import Running, Transport, both, eventually, fake, running
from tests.e2e.test_transports import ANSWER, CHUNK, DONE, chat, chunk, expert, stream_head, whole
from tests.unit.experts.raw_server import Peer, Server, talking


def tree(*experts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"pool": {"experts": list(experts), "probe_interval_s": 0}, **more}


async def switch(gateway: Running, tree: dict[str, Any]) -> None:
    """As a reload does it."""
    settings = Settings.model_validate({**tree, "server": {"graceful_shutdown_s": 2, **tree.get("server", {})}})
    await gateway.serving.prepare(2, settings)
    await gateway.serving.switch(2)


async def post(gateway: Running, body: dict[str, Any], **headers: str) -> tuple[int, str, str]:
    """Status, expert, and the answer."""
    async with (
        aiohttp.ClientSession(gateway.url, headers=headers) as http,
        http.post("/v1/chat/completions", json=body) as reply,
    ):
        return reply.status, reply.headers.get("x-pointsman-expert", ""), await reply.text()


@asynccontextmanager
async def patient() -> AsyncIterator[tuple[Server, asyncio.Event, asyncio.Event]]:
    """An expert that answers when the second event is set; the first says that it was asked."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def answering(peer: Peer) -> None:
        while True:
            stream = json.loads((await peer.request()).partition(b"\r\n\r\n")[2]).get("stream")
            if stream:
                await peer.say(stream_head() + chunk(CHUNK % b"one"))
            asked.set()
            await go.wait()
            await peer.say(chunk(CHUNK % b"two") + chunk(DONE) + b"0\r\n\r\n" if stream else whole(ANSWER))

    async with talking(answering) as server:
        yield server, asked, go


async def asking(
    gateway: Running, asked: asyncio.Event, go: asyncio.Event, *, stream: bool
) -> asyncio.Task[tuple[int, str, str]]:
    """A request that has reached a patient expert, on a connection that was there before."""
    go.set()
    assert (await post(gateway, chat()))[0] == 200
    go.clear()
    asked.clear()
    call = asyncio.create_task(post(gateway, chat(stream=stream)))
    await asked.wait()
    return call


@both
@pytest.mark.parametrize("stream", [False, True])
async def test_what_began_before_ends_where_it_began(transport: Transport, stream: bool) -> None:
    async with (
        patient() as (server, asked, go),
        running(tree(expert("old", server, 0.9)), transport=transport) as gateway,
    ):
        old = gateway.app
        call = await asking(gateway, asked, go, stream=stream)
        assert not old.idle
        await switch(gateway, tree(fake("new")))
        assert (await post(gateway, chat()))[1] == "new"
        # Its expert is here no more, and yet keeps its connection until the answer is complete.
        await asyncio.sleep(0.5)
        assert not old.idle
        go.set()
        status, name, answer = await call
        assert (status, name) == (200, "old")
        assert "[DONE]" in answer if stream else "ok" in answer
        await eventually(lambda: server.peers[0].reader.at_eof())
        assert old.idle


@both
@pytest.mark.parametrize("stream", [False, True])
async def test_what_takes_longer_than_it_may_ends_with_an_error(transport: Transport, stream: bool) -> None:
    async with (
        patient() as (server, asked, go),
        running(tree(expert("old", server, 0.9)), transport=transport) as gateway,
    ):
        call = await asking(gateway, asked, go, stream=stream)
        assert not gateway.app.idle
        await switch(gateway, tree(fake("new"), server={"drain_s": 0.3}))
        status, _, answer = await asyncio.wait_for(call, 5)
        assert "[DONE]" not in answer
        if stream:
            assert "error" in json.loads(answer.split("\n\n")[-2].removeprefix("data: "))
        else:
            assert status >= 500
            assert "error" in json.loads(answer)
        assert server.peers[0].reader.at_eof()
        assert (await post(gateway, chat()))[:2] == (200, "new")


async def test_a_fallback_is_one_of_the_settings_the_request_began_with() -> None:
    go = asyncio.Event()
    asked = asyncio.Event()

    async def failing(peer: Peer) -> None:
        await peer.request()
        await peer.say(whole(ANSWER))
        # Now the gateway has an idle connection.
        await peer.request()
        asked.set()
        await go.wait()
        await peer.say(whole(b"{}", b"500 Internal Server Error"))

    async def good(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.say(whole(ANSWER))

    async with (
        talking(failing) as one,
        talking(good) as two,
        running(tree(expert("first", one, 0.9), expert("second", two, 0.5))) as gateway,
    ):
        assert (await post(gateway, chat("first")))[0] == 200
        call = asyncio.create_task(post(gateway, chat()))
        await asked.wait()
        await switch(gateway, tree(fake("new")))
        go.set()
        assert (await call)[:2] == (200, "second")


async def test_an_expert_that_did_not_change_keeps_its_connections_its_health_and_its_calls() -> None:
    async with patient() as (server, asked, go):
        same = {**expert("same", server, 0.9), "max_concurrency": 2}
        async with running(tree(same)) as gateway:
            call = asyncio.create_task(post(gateway, chat("same")))
            await asked.wait()
            before = gateway.app.runtime.pool
            await switch(gateway, tree(same, fake("new")))
            after = gateway.app.runtime.pool
            assert after is not before
            assert after["same"] is before["same"]
            assert after.snapshot().entries[0][1].in_flight == 1
            with after.begin("same", stream=False):
                assert not after.has_room("same"), "calls of both Apps count"
                assert before.snapshot().entries[0][1].in_flight == 2
                assert after.snapshot().entries[0][1].in_flight == 2, "what the old pool has seen is news here"
            go.set()
            assert (await call)[0] == 200
            await eventually(lambda: after.snapshot().entries[0][1].in_flight == 0)
            for _ in range(3):
                after.begin("same", stream=False).fail("it broke")
            assert not after.snapshot().entries[0][1].healthy
            await switch(gateway, tree(same, fake("new")))
            assert not gateway.app.runtime.pool.snapshot().entries[0][1].healthy
            # One connection, before and after: it was kept.
            assert len(server.peers) == 1
            assert not server.peers[0].reader.at_eof()


async def test_an_expert_that_changed_is_a_new_one() -> None:
    async with patient() as (server, _, go):
        go.set()
        async with running(tree(expert("one", server, 0.9))) as gateway:
            assert (await post(gateway, chat("one")))[0] == 200
            before = gateway.app.runtime.pool["one"]
            await switch(gateway, tree(expert("one", server, 0.8)))
            assert gateway.app.runtime.pool["one"] is not before
            assert (await post(gateway, chat("one")))[0] == 200
            await eventually(lambda: server.peers[0].reader.at_eof())
            assert not server.peers[1].reader.at_eof()


async def test_requests_that_wait_for_room_get_it_in_the_order_in_which_they_came() -> None:
    async with patient() as (server, asked, go):
        narrow = {**expert("narrow", server, 0.9), "max_concurrency": 1}
        async with running(tree(narrow)) as gateway:
            ended: list[str] = []

            async def ask(who: str) -> None:
                assert (await post(gateway, chat()))[0] == 200
                ended.append(who)

            calls = [asyncio.create_task(ask("under way"))]
            await asked.wait()
            calls.append(asyncio.create_task(ask("waits with the old settings")))
            await asyncio.sleep(0.2)
            await switch(gateway, tree(narrow, budgets={"min_quality": 0.1}))
            calls.append(asyncio.create_task(ask("waits with the new settings")))
            await asyncio.sleep(0.2)
            go.set()
            await asyncio.gather(*calls)
            assert ended == ["under way", "waits with the old settings", "waits with the new settings"]


async def test_what_was_learned_counted_and_remembered_stays() -> None:
    one = tree(fake("first", prior={"*": 0.52}), fake("second", prior={"*": 0.5}))
    async with running(one) as gateway:
        async with aiohttp.ClientSession(gateway.url) as http:
            body = {"model": "auto", "messages": [{"role": "user", "content": "Write a Python function."}]}
            for _ in range(4):
                async with http.post("/v1/chat/completions", json=body) as reply:
                    name, decision = reply.headers["x-pointsman-expert"], reply.headers["x-pointsman-decision"]
                rating = "down" if name == "first" else "up"
                async with http.post("/v1/feedback", json={"decision_id": decision, "rating": rating}) as reply:
                    assert reply.status == 200
            await switch(gateway, {**one, "budgets": {"weights": {"latency": 0.001}}})
            async with http.post("/v1/chat/completions", json=body) as reply:
                assert reply.headers["x-pointsman-expert"] == "second", "judged answers count on"
            async with http.get(f"/v1/decisions/{decision}") as reply:
                assert reply.status == 200
            async with http.get("/metrics") as reply:
                text = await reply.text()
        counted = [line for line in text.splitlines() if line.startswith("pointsman_requests_total{")]
        assert sum(float(line.rsplit(" ", 1)[1]) for line in counted) == 5


async def test_a_session_stays_with_its_expert() -> None:
    two = tree(fake("first"), fake("second"))
    async with running(two) as gateway:
        session = {"x-pointsman-session": "chat"}
        assert (await post(gateway, chat(), **session))[1] == "first"
        assert (await post(gateway, chat(routing={"experts": ["second"]}), **session))[1] == "second"
        await switch(gateway, {**two, "budgets": {"min_quality": 0.1}})
        assert (await post(gateway, chat(), **session))[1] == "second"
        assert (await post(gateway, chat()))[1] == "first"


async def test_what_is_dropped_leaves_nothing_behind() -> None:
    async with patient() as (server, _, go):
        go.set()
        kept = expert("kept", server, 0.9)
        async with running(tree(kept)) as gateway:
            assert (await post(gateway, chat("kept")))[0] == 200
            settings = Settings.model_validate(tree(kept, fake("new")))
            before = set(asyncio.all_tasks())
            await gateway.serving.prepare(7, settings)
            await gateway.serving.drop(7)
            await gateway.serving.drop(7)
            await eventually(lambda: set(asyncio.all_tasks()) <= before)
            assert (await post(gateway, chat("kept")))[0] == 200
            assert len(server.peers) == 1
            assert not server.peers[0].reader.at_eof()


async def test_an_app_that_has_gone_takes_its_memory_with_it() -> None:
    def known(gateway: Running) -> list[weakref.ref[Any]]:
        runtime = gateway.app.runtime
        return [weakref.ref(part) for part in (runtime, runtime.pool, runtime.decider, gateway.app.plane)]

    gc.collect()
    gc.disable()  # nor need anybody look for garbage
    try:
        async with running(tree(fake("one"))) as gateway:
            for number in range(3):
                assert (await post(gateway, chat()))[0] == 200
                async with aiohttp.ClientSession() as http, http.get(f"{gateway.url}/ready") as reply:
                    assert reply.status == 200
                parts = known(gateway)
                await switch(gateway, tree(fake("one"), fake(f"another-{number}")))
                await eventually(lambda parts=parts: not any(part() for part in parts))
    finally:
        gc.enable()


class Unwilling(Serving):
    """A place that cannot build anything, as a worker whose disk is gone could not."""

    async def prepare(self, version: int, settings: Settings) -> None:
        """Refuse."""
        raise ReloadRefused(ReloadOutcome.FAILED, "no space left on device")


async def test_no_target_switches_when_one_cannot_prepare() -> None:
    now = Settings.model_validate(tree(fake("now")))
    then = Settings.model_validate(tree(fake("then")))
    willing, unwilling = Serving(create_app(now, {})), Unwilling(create_app(now, {}))
    told: list[ReloadReport] = []

    async def places(_: Settings) -> list[Serving]:
        return [willing, unwilling]

    reloader = Reloader(now, lambda: then, places, told.append, asyncio.Lock())
    report = await reloader.reload()
    assert (report.outcome, report.version, report.why) == (ReloadOutcome.FAILED, 1, "no space left on device")
    assert told == [report]
    assert [place.settings for place in (willing, unwilling)] == [now, now]
    assert reloader.settings is now


async def test_a_file_that_cannot_be_read_changes_nothing() -> None:
    now = Settings.model_validate(tree(fake("now")))
    serving = Serving(create_app(now, {}))

    async def places(_: Settings) -> list[Serving]:
        return [serving]

    def read() -> Settings:
        raise SettingsError(["no such file"], "gone.yaml")

    reloader = Reloader(now, read, places, serving.apply_report, asyncio.Lock())
    assert (await reloader.reload()).outcome is ReloadOutcome.INVALID
    assert serving.settings is now
    assert serving.configuration.to_dict()["last_change"]["outcome"] == "invalid"
    assert "no such file" in serving.configuration.to_dict()["last_change"]["why"]
