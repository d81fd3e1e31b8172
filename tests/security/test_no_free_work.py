"""No work ends without being charged: what an expert made for a key is paid for, however the call ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pointsman.experts.backends.fake import Script
from pointsman.experts.backends.fake.server import FakeServer
from pointsman.experts.spec import Usage
from pointsman.gateway.access.limits import Meter
from pointsman.gateway.settings import Settings
from tests.e2e.answering import QUESTION, answering_router, answering_tree
from tests.e2e.running import Running, Transport, both, eventually, running
from tests.security.upstream import saying

ENV = {"KEY_A": "sk-aaaaaaaaaaaaaaaa"}
BEARER = {"authorization": f"Bearer {ENV['KEY_A']}"}
#: A tenth of a cent a token of an answer.
PRICE = {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 1000.0}
LIMITS = {"usd_per_month": 1000.0}
#: Longer than any test waits.
LONG_MS = 60_000.0


@dataclass(frozen=True, slots=True)
class Paid:
    """A gateway, its experts over HTTP, and a client with a key."""

    gateway: Running
    servers: dict[str, FakeServer]
    http: aiohttp.ClientSession

    async def ask(self, path: str = "chat/completions", **fields: Any) -> tuple[int, dict[str, str], bytes]:
        """One request, to the end of its answer."""
        body = {"model": "only", "messages": [{"role": "user", "content": "hello there"}], "max_tokens": 100, **fields}
        async with self.http.post(f"/v1/{path}", json=body, headers=BEARER) as reply:
            return reply.status, {name.lower(): value for name, value in reply.headers.items()}, await reply.read()

    @property
    def meter(self) -> Meter:
        """The key's first limit."""
        return self.gateway.app.runtime.access.meters[0]

    @property
    def made_usd(self) -> float:
        """What the experts made, by the tokens of their answers."""
        return sum(made.completion_tokens for one in self.servers.values() for made in one.stats.made.values()) / 1000

    async def charged_usd(self) -> float:
        """What was spent, once nothing is held any more."""
        await eventually(lambda: abs(self.meter.held) < 1e-9, seconds=20)
        await eventually(lambda: all(one.stats.in_flight == 0 for one in self.servers.values()), seconds=20)
        return self.meter.spent


def expert(name: str, url: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "backend": "openai_http",
        "base_url": url,
        "price": PRICE,
        "generalist": True,
        "context_window_tokens": 4096,
        "latency": None,
        **fields,
    }


@asynccontextmanager
async def paid(
    transport: Transport,
    scripts: dict[str, Script] | Script,
    limits: dict[str, float] | None = None,
    fields: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[Paid]:
    if isinstance(scripts, Script):
        scripts = {"only": scripts}
    servers = {name: FakeServer(script) for name, script in scripts.items()}
    for server in servers.values():
        await server.start()
    priors = {name: {"*": 0.9 - 0.3 * number} for number, name in enumerate(servers)}
    tree = {
        "pool": {
            "experts": [
                expert(name, one.url, quality_prior=priors[name], **(fields or {})) for name, one in servers.items()
            ],
            "probe_interval_s": 0,
        },
        "auth": {"keys": [{"name": "a", "key_env": "KEY_A", "limits": limits or LIMITS}]},
        **settings,
    }
    try:
        async with (
            running(tree, ENV, transport=transport) as gateway,
            aiohttp.ClientSession(gateway.url, connector=aiohttp.TCPConnector(limit=0)) as http,
        ):
            yield Paid(gateway, servers, http)
    finally:
        for server in servers.values():
            await server.aclose()


def usage_events(data: bytes) -> list[Any]:
    lines = [line[5:].strip() for line in data.splitlines() if line.startswith(b"data:")]
    events = [json.loads(line) for line in lines if line != b"[DONE]"]
    return [event["usage"] for event in events if event.get("usage")]


@both
@pytest.mark.parametrize("path", ["chat/completions", "completions"])
@pytest.mark.parametrize("options", [None, {"include_usage": False}, {"include_usage": True}, {}])
async def test_what_is_thought_unseen_is_paid_for_and_told_to_whom_asks_alone(
    transport: Transport, path: str, options: Any
) -> None:
    fields: dict[str, Any] = {} if options is None else {"stream_options": options}
    if path == "completions":
        fields |= {"prompt": "hello there", "messages": None}
    async with paid(transport, Script(reply="one two", hidden_tokens=80)) as stage:
        status, _, data = await stage.ask(path, stream=True, **fields)
        assert status == 200
        assert data.endswith(b"data: [DONE]\n\n")
        assert len(usage_events(data)) == ((options or {}).get("include_usage") is True)
        assert await stage.charged_usd() == pytest.approx(0.082) == pytest.approx(stage.made_usd)


@both
async def test_a_caller_without_limits_sends_what_it_sends(transport: Transport) -> None:
    tree = {"pool": {"experts": [expert("only", "")], "probe_interval_s": 0}}
    async with saying() as heard:
        tree["pool"]["experts"][0]["base_url"] = heard.url  # type: ignore[index]
        async with running(tree, transport=transport) as gateway, aiohttp.ClientSession(gateway.url) as http:
            body = {"model": "only", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
            async with http.post("/v1/chat/completions", json=body) as reply:
                await reply.read()
        assert json.loads(heard.requests[-1].partition(b"\r\n\r\n")[2]) == body


@both
async def test_a_server_that_refuses_the_field_is_spared_it_and_its_streams_are_charged_in_full(
    transport: Transport,
) -> None:
    async with paid(transport, Script(hidden_tokens=20), fields={"stream_usage": False}) as stage:
        assert usage_events((await stage.ask(stream=True))[2]) == []
        assert await stage.charged_usd() == pytest.approx(0.1)


#: Work that ends without a report: the fields of the request, and of the script.
UNREPORTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the deadline comes": ({"routing": {"deadline_ms": 100}}, {"ttft_ms": LONG_MS}),
    "the deadline of a stream": ({"routing": {"deadline_ms": 100}, "stream": True}, {"ttft_ms": LONG_MS}),
    "no head in time": ({}, {"fault": "hang_head"}),
    "no head of a stream in time": ({"stream": True}, {"fault": "hang_head"}),
    "a stream stalls": ({"stream": True}, {"fault": "hang_body", "fault_after_tokens": 2}),
    "a stream breaks": ({"stream": True}, {"fault": "break", "fault_after_tokens": 2}),
    "a stream breaks before its first text": ({"stream": True}, {"fault": "break", "fault_after_tokens": 0}),
    "a stream is cut off cleanly": ({"stream": True}, {"fault": "cut", "fault_after_tokens": 2}),
    "an answer breaks": ({}, {"fault": "break"}),
    "an answer is cut off cleanly": ({}, {"fault": "cut"}),
    "a 500 after thinking": ({}, {"fault": "error", "error_status": 500}),
    "a 504 after thinking": ({"stream": True}, {"fault": "error", "error_status": 504}),
    "an error in an answer, after thinking": ({}, {"fault": "say_error"}),
    "an error for a first event, after thinking": ({"stream": True}, {"fault": "say_error"}),
    "the connection closes": ({}, {"fault": "drop"}),
    "no report": ({}, {"usage": "none"}),
    "no report of a stream": ({"stream": True}, {"usage": "none"}),
    "a report of less than nothing": ({}, {"usage": "negative"}),
}


@both
@pytest.mark.parametrize("ends", UNREPORTED)
async def test_work_whose_end_is_not_known_is_charged_at_its_worst_case(transport: Transport, ends: str) -> None:
    fields, script = UNREPORTED[ends]
    patience = {"head_timeout_s": 0.5, "expert_idle_timeout_s": 0.5}
    async with paid(transport, Script(hidden_tokens=30, **script), server=patience) as stage:
        await stage.ask(**fields)
        charged = await stage.charged_usd()
        assert charged == pytest.approx(0.1), "max_tokens, whatever was seen"
        assert charged >= stage.made_usd


@both
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("seen", [False, True])
async def test_a_client_that_leaves_pays_for_all_that_it_asked_for(
    transport: Transport, stream: bool, seen: bool
) -> None:
    """Before the first text as well as in the middle: what is thought between the words nobody sees."""
    pace = {"tokens_per_s": 20, "completion_tokens": 90} if seen else {"ttft_ms": LONG_MS}
    async with paid(transport, Script(**pace)) as stage:
        body = {"model": "only", "stream": stream, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
        asking = stage.http.post("/v1/chat/completions", json=body, headers=BEARER)

        async def leave() -> None:
            async with asking as reply:
                await reply.content.readany()

        task = asyncio.create_task(leave())
        await eventually(lambda: stage.servers["only"].stats.started == 1, seconds=20)
        if seen and stream:
            await task
        else:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert await stage.charged_usd() == pytest.approx(0.1)


@both
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 404, 429, 503])
async def test_what_an_expert_turns_away_is_free(transport: Transport, stream: bool, status: int) -> None:
    async with paid(transport, Script(fault="error", error_status=status)) as stage:
        await stage.ask(stream=stream)
        assert await stage.charged_usd() == 0


@both
async def test_an_expert_that_is_not_reached_costs_nothing(transport: Transport) -> None:
    async with paid(transport, Script()) as stage:
        await stage.servers["only"].aclose()
        assert (await stage.ask())[0] == 502
        assert await stage.charged_usd() == 0


@both
async def test_a_fallback_is_paid_for_beside_what_came_to_nothing(transport: Transport) -> None:
    scripts = {"first": Script(fault="break", hidden_tokens=30), "second": Script(reply="one two")}
    async with paid(transport, scripts) as stage:
        status, headers, _ = await stage.ask(model="auto")
        assert (status, headers["x-pointsman-expert"]) == (200, "second")
        charged = await stage.charged_usd()
        assert charged == pytest.approx(0.1 + 0.002)
        assert charged >= stage.made_usd


@both
async def test_both_experts_of_a_race_are_paid_for(transport: Transport) -> None:
    hedging = {"enabled": True, "least_ms": 20, "max_share": 1.0}
    scripts = {"first": Script(ttft_ms=LONG_MS, hidden_tokens=30), "second": Script(reply="one two", hidden_tokens=30)}
    limits = {"tokens_per_minute": 1e9}
    async with paid(transport, scripts, limits, hedging=hedging) as stage:
        status, headers, _ = await stage.ask(model="auto", stream=True)
        assert (status, headers["x-pointsman-hedged"]) == (200, "first")
        await eventually(lambda: stage.meter.held == 0, seconds=20)
        second = stage.servers["second"].stats.made[""]
        lost = stage.meter.spent - second.total_tokens
        assert lost in (100 + 7, 0), "the whole of what the first one was asked for, unless a minute has begun since"


@both
async def test_every_answer_that_was_compared_is_paid_for(tmp_path: Path, transport: Transport) -> None:
    tree = answering_tree(
        answering_router(tmp_path / "router"),
        {"cheap": "#### 1", "twin": "#### 2", "judge": "#### 2"},
        cheap={"hidden_tokens": 10},
        twin={"usage": "none", "hidden_tokens": 10},
    )
    tree["auth"] = {"keys": [{"name": "a", "key_env": "KEY_A", "limits": LIMITS}]}
    async with running(tree, ENV, transport=transport) as gateway, aiohttp.ClientSession(gateway.url) as http:
        for stream in (False, True):
            before = gateway.app.runtime.access.meters[0].spent
            body = {"model": "auto", "stream": stream, "messages": [{"role": "user", "content": QUESTION}]}
            async with http.post("/v1/chat/completions", json=body, headers=BEARER) as reply:
                data = await reply.read()
                asked = reply.headers["x-pointsman-asked"].split(",")
            if stream:
                assert usage_events(data) == []
            meter = gateway.app.runtime.access.meters[0]
            assert meter.held == pytest.approx(0)
            per_token = {"cheap": 1e-6, "twin": 1e-6, "judge": 10e-6}
            # What they made, but for the one that does not say: 50 tokens is where it ends.
            made = {name: gateway.fake(name).stats.made.get("", Usage(0, 0)).total_tokens for name in asked}
            assert meter.spent - before > 0
            assert "twin" not in asked or meter.spent - before >= 50 * per_token["twin"]
            total = sum(made[name] * per_token[name] for name in asked)
            assert meter.spent >= total * 0.999


@both
@pytest.mark.parametrize("stream", [False, True])
async def test_an_absurd_report_is_charged_as_the_most_that_can_be_and_told(transport: Transport, stream: bool) -> None:
    async with paid(transport, Script(usage="huge"), {"usd_per_month": 1.0}) as stage:
        status, headers, _ = await stage.ask(stream=stream)
        assert status == 200
        assert await stage.charged_usd() == pytest.approx(0.1)
        assert (await stage.ask(stream=stream))[0] == 200, "the month goes on"
        url = f"/v1/decisions/{headers['x-pointsman-decision']}"
        async with stage.http.get(url, headers=BEARER) as reply:
            outcome = (await reply.json())["outcome"]
        assert outcome["usage_implausible"] is True
        assert outcome["completion_tokens"] == 100
        async with stage.http.get("/metrics", headers=BEARER) as reply:
            text = await reply.text()
        assert 'pointsman_implausible_usage_total{expert="only"} 2.0' in text
        assert 'pointsman_tokens_total{expert="only",kind="completion"} 200.0' in text
        assert 'pointsman_charges_total{basis="reported",expert="only"} 2.0' in text


@both
@pytest.mark.parametrize(
    "usage",
    [
        b'{"prompt_tokens":5,"completion_tokens":50000}',
        b'{"prompt_tokens":5,"completion_tokens":18446744073709551615}',
        b'{"prompt_tokens":5,"completion_tokens":1e300}',
        b'{"prompt_tokens":5,"completion_tokens":-3}',
        b'{"prompt_tokens":5,"completion_tokens":2.5}',
        b'{"prompt_tokens":"5","completion_tokens":true}',
        b'{"prompt_tokens":18446744073709551615,"completion_tokens":3}',
        b'{"input_tokens":5,"output_tokens":3,"cache_read_input_tokens":-4}',
        b'{"input_tokens":5,"output_tokens":3,"cache_read_input_tokens":9007199254740993}',
    ],
)
async def test_no_report_empties_a_budget_or_a_metric(transport: Transport, usage: bytes) -> None:
    choice = b'"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]'
    body = b'{"id":"1","object":"chat.completion","model":"inner",%b,"usage":%b}' % (choice, usage)
    said = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    price = {"input_usd_per_mtok": 1000.0, "output_usd_per_mtok": 1000.0}
    async with saying(said) as heard:
        tree = {
            "pool": {"experts": [expert("only", heard.url, price=price)], "probe_interval_s": 0},
            "auth": {"keys": [{"name": "a", "key_env": "KEY_A", "limits": {"usd_per_month": 20.0}}]},
        }
        async with running(tree, ENV, transport=transport) as gateway, aiohttp.ClientSession(gateway.url) as http:
            asked = {"model": "only", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
            for _ in range(3):
                async with http.post("/v1/chat/completions", json=asked, headers=BEARER) as reply:
                    assert reply.status == 200
            # Three times the answer in full, and a prompt that can be no longer than its bytes and a template.
            assert gateway.app.runtime.access.meters[0].spent <= 3 * 1.3
            async with http.get("/metrics", headers=BEARER) as reply:
                text = await reply.text()
            assert 'pointsman_implausible_usage_total{expert="only"} 3.0' in text
            values = [float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith("pointsman_")]
            assert max(values) < 1e10


@both
@pytest.mark.parametrize("amounts", [[0.99, 1.0], [0.2, 1.0], [None, 1.0], [5.0, 1.0]])
async def test_what_was_spent_stays_spent_when_its_limit_changes(
    transport: Transport, amounts: list[float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lowered, raised, or taken away and put back: nothing of it makes room."""
    monkeypatch.setenv("KEY_A", ENV["KEY_A"])
    async with paid(transport, Script(reply="one", hidden_tokens=89), {"usd_per_month": 1.0}) as stage:
        while (await stage.ask(max_tokens=90))[0] == 200:
            pass
        spent = await stage.charged_usd()
        assert spent == pytest.approx(0.99)
        for version, amount in enumerate(amounts, 2):
            tree = stage.gateway.serving.settings.model_dump(mode="json")
            tree["auth"]["keys"][0]["limits"]["usd_per_month"] = amount
            await stage.gateway.serving.prepare(version, Settings.model_validate(tree))
            await stage.gateway.serving.switch(version)
        assert stage.meter.limit.amount == 1.0
        assert stage.meter.spent == pytest.approx(0.99)
        assert (await stage.ask(max_tokens=90))[0] == 429


@both
async def test_settings_that_are_not_taken_change_no_limit(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_A", ENV["KEY_A"])
    async with paid(transport, Script(reply="one", hidden_tokens=89), {"usd_per_month": 1.0}) as stage:
        tree = stage.gateway.serving.settings.model_dump(mode="json")
        tree["auth"]["keys"][0]["limits"]["usd_per_month"] = 0.01
        await stage.gateway.serving.prepare(2, Settings.model_validate(tree))
        assert (await stage.ask(max_tokens=90))[0] == 200
        await stage.gateway.serving.drop(2)
        assert (await stage.ask(max_tokens=90))[0] == 200
