"""Plays scenarios at a whole gateway, and compares what its callers were charged with what the experts counted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import aiohttp

from pointsman.experts.backends.fake import FakeExpert, Fault
from pointsman.experts.backends.fake.server import FakeServer
from pointsman.gateway.access.limits import Meter, Resource
from pointsman.gateway.access.windows import Period, window_of
from pointsman.gateway.settings import Settings
from tests.charging.scenarios import MOST_PROMPT_TOKENS, WINDOW_TOKENS, Asked, Caller, Stage, stage, tokens_cost
from tests.e2e.running import TRANSPORTS, Running, running

#: Callers before one gateway. Each is a scenario: its limits, its requests, their experts, faults and reloads.
CALLERS_AT_ONCE: Final = 100
#: Sums of floats differ in the last digits.
_ROUNDING: Final = 1e-6
#: Two experts at most are asked at once for one request.
_RACERS: Final = 2
_QUIET_S: Final = 10.0


@dataclass(slots=True)
class Tally:
    """What was seen.

    Attributes:
        scenarios: Callers whose account was compared.
        statuses: Of the answers; `left` where the client did not wait.
        bases: What charges went by.
        compared: Limits by resource that were compared.
        exhausted: Of these, those of which a twentieth or less was left.
        made_tokens: Prompts and answers that the experts counted.
        reloads: How often limits changed.
        unheard: Gateways that could not hear Redis in time, which are held to what they charge too little alone.
        faults: What was charged too little or too much, in words.
    """

    scenarios: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    bases: Counter[str] = field(default_factory=Counter)
    compared: Counter[str] = field(default_factory=Counter)
    exhausted: int = 0
    made_tokens: int = 0
    reloads: int = 0
    unheard: int = 0
    faults: list[str] = field(default_factory=list)


async def play(scenarios: int, seed: int, redis_url: str | None = None) -> AsyncIterator[Tally]:
    """Play scenarios; yields the tally of all of them so far after each gateway.

    Args:
        scenarios: How many, to the next full gateway.
        seed: Of chance.
        redis_url: Where processes may share limits; None for nowhere.
    """
    tally = Tally()
    for number in range(-(-scenarios // CALLERS_AT_ONCE)):
        draw = Random(f"{seed}/{number}")
        await _Play(stage(draw, CALLERS_AT_ONCE, redis=redis_url is not None), draw, redis_url, tally).run()
        yield tally


def keys() -> dict[str, str]:
    """The environment in which the gateways are to run: the keys of all callers."""
    return {f"KEY_{number}": f"sk-caller-{number:016}" for number in range(CALLERS_AT_ONCE)}


class _Play:
    """One gateway and its callers, from the first request to the comparison."""

    def __init__(self, staged: Stage, draw: Random, redis_url: str | None, tally: Tally) -> None:
        self._stage = staged
        self._draw = draw
        self._redis_url = redis_url if staged.over_redis else None
        self._tally = tally
        self._servers: dict[str, FakeServer] = {}
        self._gateways: list[Running] = []
        self._prefix = f"charging-{draw.randrange(1 << 60)}"

    async def run(self) -> None:
        began_s = time.time()
        async with AsyncExitStack() as stack:
            for name, (script, _, over_http) in self._stage.experts.items():
                if over_http:
                    self._servers[name] = server = FakeServer(script)
                    await server.start()
                    stack.push_async_callback(server.aclose)
            transport = self._draw.choice(TRANSPORTS)
            for _ in range(self._stage.processes):
                context = running(self._tree(), dict(os.environ), transport=transport)
                self._gateways.append(await stack.enter_async_context(context))
            https = [
                await stack.enter_async_context(
                    aiohttp.ClientSession(gateway.url, connector=aiohttp.TCPConnector(limit=0))
                )
                for gateway in self._gateways
            ]
            reloading = asyncio.create_task(self._reload())
            await asyncio.gather(*(self._ask(caller, https) for caller in self._stage.callers.values()))
            await reloading
            await self._quiet()
            self._compare(began_s)

    def _tree(self) -> dict[str, Any]:
        experts = []
        for name, (script, fields, over_http) in self._stage.experts.items():
            where: dict[str, Any] = {"backend": "fake", "options": script.model_dump(mode="json")}
            if over_http:
                where = {"backend": "openai_http", "base_url": self._servers[name].url}
            experts.append({"name": name, **where, **fields})
        known = [
            {"name": name, "key_env": f"KEY_{number}", "tenant": caller.tenant, "limits": dict(caller.limits)}
            for number, (name, caller) in enumerate(self._stage.callers.items())
        ]
        tenants = {name: {"limits": dict(limits)} for name, limits in self._stage.tenants.items()}
        shared = {} if self._redis_url is None else {"redis": {"url": self._redis_url, "key_prefix": self._prefix}}
        pool = {"experts": experts, "probe_interval_s": 0}
        return {"pool": pool, "auth": {"keys": known, "tenants": tenants}, **self._stage.settings, **shared}

    async def _reload(self) -> None:
        """Change limits while requests are under way."""
        for version in range(2, 2 + self._draw.randint(0, 2)):
            await asyncio.sleep(self._draw.random() * 0.3)
            self._stage.change_limits(self._draw)
            settings = Settings.model_validate(self._gateways[0].serving.settings.model_dump() | self._reloaded())
            for gateway in self._gateways:
                await gateway.serving.prepare(version, settings)
            for gateway in self._gateways:
                await gateway.serving.switch(version)
            self._tally.reloads += 1

    def _reloaded(self) -> dict[str, Any]:
        tree = self._tree()
        # As `running` has it.
        tree["server"] = {"graceful_shutdown_s": 2, **tree["server"]}
        return tree

    async def _ask(self, caller: Caller, https: Sequence[aiohttp.ClientSession]) -> None:
        number = int(caller.name.removeprefix("caller"))
        bearer = {"authorization": f"Bearer {os.environ[f'KEY_{number}']}"}
        for wave in caller.waves:
            asks = (self._one(https[(number + at) % len(https)], asked, bearer) for at, asked in enumerate(wave))
            await asyncio.gather(*asks)

    async def _one(self, http: aiohttp.ClientSession, asked: Asked, headers: Mapping[str, str]) -> None:
        status = "left"
        with contextlib.suppress(TimeoutError):
            async with (
                asyncio.timeout(asked.leaves_after_s),
                http.post(asked.path, json=asked.body, headers=headers) as reply,
            ):
                await reply.read()
                status = str(reply.status)
        self._tally.statuses[status] += 1

    async def _quiet(self) -> None:
        """Wait until nothing is under way anywhere, and nothing is held."""
        waited_until_s = time.monotonic() + _QUIET_S
        while not self._is_quiet():
            if time.monotonic() > waited_until_s:
                raise TimeoutError(f"not quiet: {self._left()}")
            await asyncio.sleep(0.01)

    def _left(self) -> str:
        under_way = {name: stats.in_flight for name, stats in self._experts_stats().items() if stats.in_flight}
        held = {meter.limit.name: meter.held for meter in self._meters() if abs(meter.held) >= _ROUNDING}
        idle = [gateway.app.idle for gateway in self._gateways]
        return f"experts {under_way}, gateways idle {idle}, held {held}"

    def _is_quiet(self) -> bool:
        return (
            all(stats.in_flight == 0 for stats in self._experts_stats().values())
            and all(gateway.app.idle for gateway in self._gateways)
            and all(abs(meter.held) < _ROUNDING for meter in self._meters())
        )

    def _meters(self) -> list[Meter]:
        return [meter for gateway in self._gateways for meter in gateway.app.runtime.access.meters]

    def _experts_stats(self) -> dict[tuple[str, int], Any]:
        """(expert, process) -> its counts; an expert over HTTP is one for all processes."""
        found: dict[tuple[str, int], Any] = {(name, 0): server.stats for name, server in self._servers.items()}
        for number, gateway in enumerate(self._gateways):
            for name in self._stage.experts.keys() - self._servers.keys():
                expert = gateway.app.runtime.pool[name]
                assert isinstance(expert, FakeExpert)
                found[name, number] = expert.stats
        return found

    def _compare(self, began_s: float) -> None:
        tally, stats = self._tally, self._experts_stats()
        made: dict[str, Counter[str]] = {name: Counter() for name in self._stage.callers}
        for (expert, _), counts in stats.items():
            fields = self._stage.experts[expert][1]
            for user, usage in counts.made.items():
                made[user].update(tokens_cost(fields, usage.prompt_tokens, usage.completion_tokens))
        now_s = time.time()
        same_window = {period for period in Period if window_of(period, began_s) == window_of(period, now_s)}
        by_limit: dict[str, list[Meter]] = {}
        for meter in self._meters():
            by_limit.setdefault(meter.limit.name, []).append(meter)
        for meters in by_limit.values():
            if meters[0].limit.period in same_window and meters[0].limit.resource is not Resource.REQUESTS:
                self._see(meters, made)
        tally.scenarios += len(self._stage.callers)
        tally.unheard += self._unheard()
        tally.made_tokens += sum(int(amounts["tokens"]) for amounts in made.values())
        for gateway in self._gateways:
            telemetry = gateway.app.runtime.telemetry
            telemetry.flush()
            for sample in next(iter(telemetry.charges.collect())).samples:
                if sample.name.endswith("_total"):
                    tally.bases[sample.labels["basis"]] += int(sample.value)

    def _see(self, meters: list[Meter], made: Mapping[str, Counter[str]]) -> None:
        """One limit, as all processes count it."""
        limit = meters[0].limit
        kind, _, name = limit.scope.partition(":")
        callers = [one for one in self._stage.callers.values() if name == (one.name if kind == "key" else one.tenant)]
        resource = limit.resource.name.lower()
        work = sum(made[one.name][resource] for one in callers)
        charged = sum(meter.spent for meter in meters)
        most = max(self._stage.amounts[limit.scope, f"{resource}_per_{limit.period.value}"])
        if charged < work - _ROUNDING * max(1.0, work):
            self._tally.faults.append(f"{limit.name}: {work:g} made, {charged:g} charged")
        if not self._unheard() and charged > most + self._off(callers, resource) + _ROUNDING * most:
            self._tally.faults.append(f"{limit.name}: {charged:g} charged, of {most:g} at the most")
        self._tally.compared[resource] += 1
        self._tally.exhausted += charged >= 0.95 * limit.amount

    def _unheard(self) -> bool:
        """Whether Redis was silent to one of them, which then took its share of what was left when it was not."""
        counters = [gateway.app.runtime.telemetry.redis_errors for gateway in self._gateways]
        return any(sample.value for counter in counters for sample in next(iter(counter.collect())).samples)

    def _off(self, callers: Sequence[Caller], resource: str) -> float:
        """By how much calls at once may be off together.

        A rate of tokens holds less than an answer without a limit; and a call whose kept connection an expert closes
        goes out a second time, which is paid for and was not held.
        """
        at_once = sum(caller.at_once for caller in callers) * _RACERS
        off = at_once * WINDOW_TOKENS if resource == "tokens" and not all(one.bounded for one in callers) else 0.0
        closing = (Fault.DROP, Fault.REFUSE)
        again = [
            tokens_cost(fields, MOST_PROMPT_TOKENS, WINDOW_TOKENS)[resource]
            for script, fields, over_http in self._stage.experts.values()
            if over_http and script.fault in closing
        ]
        return off + at_once * max(again, default=0.0)
