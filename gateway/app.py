"""The composition root: settings -> pool, router, pipeline -> one ASGI app. The only module that names them all."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from experts.errors import ExpertError
from experts.pool import ExpertPool, ProbePolicy
from gateway.admission import Admission, AdmissionPolicy, Share
from gateway.allowance import Allowance
from gateway.answer_cache import AnswerCache
from gateway.asgi import Receive, Scope, Send
from gateway.auth import Keyring
from gateway.average_budgets import AverageBudgets
from gateway.cache import DecisionCache
from gateway.control import create_control
from gateway.dataplane import DataPlane
from gateway.deciding import Decider, DecisionPolicy
from gateway.evidence import Evidence
from gateway.expert_factory import build_expert
from gateway.exploration import Exploration
from gateway.fast_lane import FastLane
from gateway.hedging import HedgePolicy, Hedging
from gateway.learning import Learning
from gateway.ledger import Ledger
from gateway.null_experts import NullExperts, null_expert
from gateway.pipeline import Pipeline
from gateway.runtime import Runtime
from gateway.sessions import Sessions
from gateway.settings import Settings
from gateway.shared_store import SharedStore
from gateway.tasks import end
from gateway.telemetry import Telemetry
from gateway.wire.urgency import Priority
from routers.artifacts import LoadedArtifact, load_artifact
from routers.errors import ArtifactError
from routers.protocols import Embedder, Router

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class App:
    """The data plane, and the start and end of what it runs on.

    Attributes:
        plane: Serves everything.
        lane: Serves most requests faster, where the server has a protocol for it.
        runtime: What both run on.
    """

    plane: DataPlane
    lane: FastLane
    runtime: Runtime
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self.plane(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._start()
                except ExpertError as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _start(self) -> None:
        if self.runtime.store is not None:
            self.runtime.store.start()
        await self.runtime.pool.start()
        self._tasks.append(asyncio.create_task(self.runtime.telemetry.run(), name="telemetry"))
        if self.runtime.settings.pool.probe_interval_s:
            self._tasks.append(asyncio.create_task(self.runtime.pool.run_probes(), name="probes"))
        if self.runtime.averages is not None:
            self._tasks.append(asyncio.create_task(self.runtime.averages.run(), name="average-budgets"))
        if self.runtime.learning is not None:
            self._tasks.append(asyncio.create_task(self.runtime.learning.run(), name="learning"))

    async def _stop(self) -> None:
        self.lane.stop()
        await end(*self._tasks)
        if self.runtime.exploration is not None:
            await self.runtime.exploration.aclose()
        await self.runtime.pool.aclose()
        if self.runtime.store is not None:
            await self.runtime.store.aclose()
        # Closing waits for a thread that writes to disk.
        await asyncio.to_thread(self.runtime.ledger.close)


def create_app(settings: Settings, env: Mapping[str, str] | None = None) -> App:
    """The gateway as one ASGI callable. Nothing is opened or spawned before its lifespan starts.

    Args:
        settings: The whole tree.
        env: Where secrets and REDIS_URL are looked up; the process's environment when None.

    Raises:
        SettingsError: A secret is missing.
        ArtifactError: The router artefact cannot be used.
    """
    env = os.environ if env is None else env
    telemetry = Telemetry()
    store = _shared_store(settings, env, telemetry)
    pool = _pool(settings, env)
    artifact = _artifact(settings)
    router = artifact.router
    ledger = Ledger(
        entries=settings.ledger.local_entries,
        ttl_s=int(settings.ledger.ttl_s),
        store=store,
        path=settings.ledger.path,
    )
    averages = _average_budgets(settings, store, telemetry)
    learning = _learning(settings, router, store)
    evidence = Evidence(artifact.evidence, router.embedder, settings.evidence, time.monotonic)
    nulls = _null_experts(settings, router.embedder, store)
    sessions = Sessions(
        entries=settings.conversations.local_entries,
        ttl_s=int(settings.conversations.ttl_s),
        store=store,
    )
    decider = Decider(
        pool=pool,
        router=router,
        cache=_decision_cache(settings, store),
        sessions=sessions,
        telemetry=telemetry,
        averages=averages,
        learning=learning,
        evidence=evidence,
        nulls=nulls,
        admission=_admission(settings, pool, telemetry),
        policy=DecisionPolicy(
            settings.budgets.budget(),
            settings.router.flags,
            settings.conversations.stay_bonus if settings.conversations.enabled else None,
            settings.conversations.derive_sessions,
        ),
        clock=time.monotonic,
    )
    explored = settings.learning.exploration.budget(settings.server.workers)
    exploration = None
    if explored is not None:
        exploration = Exploration(
            explored, pool=pool, ledger=ledger, telemetry=telemetry, learning=learning, clock=time.monotonic
        )
    pipeline = Pipeline(
        pool=pool,
        decider=decider,
        sessions=sessions,
        ledger=ledger,
        telemetry=telemetry,
        averages=averages,
        evidence=evidence,
        nulls=nulls,
        retries=Allowance(share=settings.retries.share, least_per_s=settings.retries.least_per_s, clock=time.monotonic),
        hedging=_hedging(settings, telemetry),
        max_attempts=settings.server.max_attempts,
        clock=time.monotonic,
    )
    runtime = Runtime(settings, pool, decider, pipeline, ledger, telemetry, store, averages, learning, exploration)
    keyring = Keyring((key.key(env), key.tenant or key.name) for key in settings.auth.keys)
    plane = DataPlane(
        pipeline=pipeline,
        exploration=exploration,
        control=create_control(runtime),
        keyring=keyring,
        telemetry=telemetry,
        max_body_bytes=settings.server.max_body_bytes,
        forward_headers=settings.server.forward_headers,
    )
    lane = FastLane(
        pipeline=pipeline,
        exploring=exploration is not None,
        keyring=keyring,
        telemetry=telemetry,
        max_body_bytes=settings.server.max_body_bytes,
        forward_headers=settings.server.forward_headers,
    )
    return App(plane, lane, runtime)


def _pool(settings: Settings, env: Mapping[str, str]) -> ExpertPool:
    pool = ExpertPool(
        [
            *(build_expert(expert, settings.server, env) for expert in settings.pool.experts),
            *(null_expert(kind) for kind in settings.null_experts.kinds),
        ],
        clock=time.monotonic,
        probes=ProbePolicy(interval_s=settings.pool.probe_interval_s) if settings.pool.probe_interval_s else None,
    )
    pool.keep_awake(settings.pool.awake and {*settings.pool.awake, *settings.null_experts.kinds})
    return pool


def _artifact(settings: Settings) -> LoadedArtifact:
    artifact = load_artifact(
        settings.router.artifact,
        uncertain_to_generalist=settings.router.uncertain_to_generalist,
    )
    if settings.evidence.enabled and artifact.evidence is None:
        raise ArtifactError(
            "evidence.enabled: the router was not trained on answers; train one on a table with answers"
        )
    return artifact


def _admission(settings: Settings, pool: ExpertPool, telemetry: Telemetry) -> Admission:
    chosen = settings.admission
    shares = {name: Share(share.weight, Priority[share.priority.upper()]) for name, share in chosen.tenants.items()}
    policy = AdmissionPolicy(chosen.queue, chosen.max_wait_ms / 1e3, shares)
    return Admission(pool, policy, telemetry, time.monotonic)


def _hedging(settings: Settings, telemetry: Telemetry) -> Hedging | None:
    chosen = settings.hedging
    if not chosen.enabled:
        return None
    allowance = Allowance(share=chosen.max_share, least_per_s=0.1, clock=time.monotonic)
    policy = HedgePolicy(chosen.after, chosen.least_ms / 1e3)
    return Hedging(policy, allowance, lambda outcome: telemetry.hedges.labels(outcome).inc())


def _average_budgets(settings: Settings, store: SharedStore | None, telemetry: Telemetry) -> AverageBudgets | None:
    allowed = settings.average_budgets.budget()
    if allowed is None:
        return None
    return AverageBudgets(allowed, replica=secrets.token_hex(8), store=store, telemetry=telemetry, clock=time.monotonic)


def _learning(settings: Settings, router: Router, store: SharedStore | None) -> Learning | None:
    if not settings.learning.enabled:
        return None
    return Learning(
        artifact_hash=router.artifact_hash,
        half_life_s=settings.learning.half_life_s,
        replica=secrets.token_hex(8),
        store=store,
    )


def _null_experts(settings: Settings, embedder: Embedder, store: SharedStore | None) -> NullExperts | None:
    chosen = settings.null_experts
    if not chosen.kinds:
        return None
    answers = AnswerCache(entries=chosen.answers.local_entries, ttl_s=int(chosen.answers.ttl_s), store=store)
    return NullExperts(chosen, embedder, answers)


def _decision_cache(settings: Settings, store: SharedStore | None) -> DecisionCache | None:
    decisions = settings.cache.decisions
    if not decisions.enabled:
        return None
    return DecisionCache(entries=decisions.local_entries, ttl_s=int(decisions.ttl_s), store=store)


def _shared_store(settings: Settings, env: Mapping[str, str], telemetry: Telemetry) -> SharedStore | None:
    url = settings.redis.url or env.get("REDIS_URL")
    if not url:
        return None
    return SharedStore(
        url,
        prefix=settings.redis.key_prefix,
        read_timeout_s=settings.cache.decisions.redis_timeout_ms / 1e3,
        on_error=lambda kind: telemetry.redis_errors.labels(kind).inc(),
    )
