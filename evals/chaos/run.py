"""One run: start everything, inject each fault in turn with calm between, account for every request."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from pointsman.evals.bench.processes import free_port, serving
from pointsman.evals.chaos.load import LoadRequest, SteadyLoad
from pointsman.evals.chaos.servers import ExpertServer, FaultProxy, Mode, RedisServer

CALM: Final = "calm"
_EXPERTS: Final = ("code", "math", "prose")


@dataclass(frozen=True, slots=True)
class ChaosPhase:
    """A stretch of the run.

    Attributes:
        name: `calm`, or the fault.
        begin_s: From the start of the run.
        end_s: From the start of the run.
        healed: After a fault of Redis: whether the calm that follows wrote to it again; None elsewhere.
    """

    name: str
    begin_s: float
    end_s: float
    healed: bool | None = None


@dataclass(frozen=True, slots=True)
class ChaosRun:
    """What was seen; `sent` is counted apart from `requests`, so that none can vanish."""

    sent: int
    requests: tuple[LoadRequest, ...]
    phases: tuple[ChaosPhase, ...]


@dataclass(slots=True)
class ChaosSetup:
    """What the faults act upon; `gateway` is its main process."""

    experts: dict[str, ExpertServer]
    redis: RedisServer
    proxy: FaultProxy
    gateway: int = 0
    _signals: list[asyncio.Task[None]] = field(default_factory=list)

    def signal(self, number: signal.Signals, every_s: float) -> None:
        """Send the gateway a signal now, and again and again until told otherwise."""

        async def send() -> None:
            while True:
                os.kill(self.gateway, number)
                await asyncio.sleep(every_s)

        self._signals.append(asyncio.create_task(send()))

    def quiet(self) -> None:
        """No more signals."""
        for sending in self._signals:
            sending.cancel()
        self._signals.clear()

    async def set_up(self) -> None:
        """Everything as it should be."""
        await self.redis.start()
        self.proxy.upstream_port = self.redis.port
        await self.proxy.start()
        for expert in self.experts.values():
            await expert.start()

    async def tear_down(self) -> None:
        """Nothing outlives the run."""
        self.quiet()
        await self.proxy.aclose()
        await self.redis.kill()
        for expert in self.experts.values():
            await expert.kill()


Fault = Callable[[ChaosSetup], Awaitable[None]]


async def _nothing(stage: ChaosSetup) -> None:
    """Nothing to mend."""


async def _pass(stage: ChaosSetup) -> None:
    stage.proxy.mode = Mode.PASS
    # Bytes were lost: no earlier connection can be used.
    stage.proxy.cut()


def _mode(mode: Mode) -> Fault:
    async def inject(stage: ChaosSetup) -> None:
        stage.proxy.mode = mode

    return inject


async def _replace(stage: ChaosSetup) -> None:
    """Another, empty server at the same address, as after a fail-over."""
    await stage.redis.kill()
    stage.redis.port = 0
    await stage.redis.start()
    stage.proxy.upstream_port = stage.redis.port
    stage.proxy.cut()


def _expert(*script: str) -> Fault:
    async def inject(stage: ChaosSetup) -> None:
        await stage.experts["code"].start(*script)

    return inject


def _signal(number: signal.Signals, every_s: float) -> Fault:
    async def inject(stage: ChaosSetup) -> None:
        stage.signal(number, every_s)

    return inject


async def _quiet(stage: ChaosSetup) -> None:
    stage.quiet()


#: Name -> (what breaks, what mends).
FAULTS: Final[dict[str, tuple[Fault, Fault]]] = {
    "Redis killed": (lambda stage: stage.redis.kill(), lambda stage: stage.redis.start()),
    "Redis blackholed": (_mode(Mode.BLACKHOLE), _pass),
    "Redis slow": (_mode(Mode.SLOW), _pass),
    "Redis flushed": (lambda stage: stage.redis.flush(), _nothing),
    "Redis replaced": (_replace, _nothing),
    "expert hangs": (_expert("--fault", "hang_head"), _expert()),
    "expert stalls": (_expert("--fault", "hang_body"), _expert()),
    "expert crashed": (lambda stage: stage.experts["code"].kill(), _expert()),
    "expert answers 500": (_expert("--fault", "error"), _expert()),
    "expert drips": (_expert("--tokens-per-s", "10"), _expert()),
    "expert resets": (_expert("--fault", "break"), _expert()),
    "settings reloaded": (_signal(signal.SIGHUP, 0.5), _quiet),
    # A replacement takes a few seconds; further requests for one in that time have no effect.
    "workers replaced": (_signal(signal.SIGUSR2, 5.0), _quiet),
}


def _settings(stage: ChaosSetup) -> dict[str, Any]:
    experts = [
        {
            "name": name,
            "backend": "openai_http",
            "base_url": f"http://127.0.0.1:{stage.experts[name].port}/v1",
            "quality_prior": {name: 0.9, "*": 0.4},
            "generalist": name == "prose",
            "price": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2},
            "latency": {"base_ms": 20, "prefill_ms_per_token": 0.1, "tpot_ms": 1},
            "energy": {"base_j": 0.1, "j_per_prompt_token": 0.001, "j_per_completion_token": 0.01},
            "context_window_tokens": 65536,
            "params_total_b": 7,
        }
        for name in _EXPERTS
    ]
    return {
        "pool": {"experts": experts, "probe_interval_s": 1},
        "server": {"head_timeout_s": 1, "expert_idle_timeout_s": 1},
        "redis": {"url": f"redis://127.0.0.1:{stage.proxy.port}"},
    }


@asynccontextmanager
async def _gateway(folder: Path) -> AsyncIterator[tuple[ChaosSetup, str]]:
    stage = ChaosSetup({name: ExpertServer() for name in _EXPERTS}, RedisServer(), FaultProxy())
    async with AsyncExitStack() as cleanup:
        cleanup.push_async_callback(stage.tear_down)
        await stage.set_up()
        config = folder / "chaos.yaml"
        config.write_text(yaml.safe_dump(_settings(stage)), "utf-8")
        port = free_port()
        command = [sys.executable, "-m", "pointsman.gateway.cli", "serve", "--config", str(config), "--port", str(port)]
        gateway = await cleanup.enter_async_context(
            serving(
                [*command, "--workers", "2"],
                port,
                ready_path="/ready",
                cores=os.sched_getaffinity(0),
                log=folder / "gateway.log",
            )
        )
        stage.gateway = gateway.pid
        yield stage, gateway.url


async def run(seconds: float, per_s: float, folder: Path) -> ChaosRun:
    """Inject every fault once.

    Args:
        seconds: Length of the whole, shared evenly among the faults and the calm around each.
        per_s: Requests a second.
        folder: For the settings and the gateway's log.
    """
    length_s = seconds / (2 * len(FAULTS) + 1)
    phases: list[ChaosPhase] = []
    async with _gateway(folder) as (stage, url):
        # The first second warms connections and caches up, and counts for the accounts alone.
        load, stop = SteadyLoad(url, per_s), asyncio.Event()
        sending = asyncio.create_task(load.run(stop))
        await asyncio.sleep(1)

        async def stay(name: str, break_it: Fault = _nothing) -> ChaosPhase:
            # The moment of breaking belongs to the fault.
            begin_s = load.now_s()
            await break_it(stage)
            await asyncio.sleep(length_s)
            return ChaosPhase(name, begin_s, load.now_s())

        phases.append(await stay(CALM))
        for name, (break_it, mend) in FAULTS.items():
            phase = await stay(name, break_it)
            await mend(stage)
            is_redis = name.startswith("Redis")
            before = await stage.redis.writes() if is_redis else 0
            calm = await stay(CALM)
            healed = await stage.redis.writes() > before if is_redis else None
            phases += [ChaosPhase(phase.name, phase.begin_s, phase.end_s, healed), calm]
        stop.set()
        await sending
    return ChaosRun(load.sent, tuple(load.requests), tuple(phases))
