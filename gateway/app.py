"""The composition root: settings -> pool, router, pipeline -> one ASGI app. The only module that names them all."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field

from pointsman.experts.pool import ExpertPool
from pointsman.gateway.access.access import create_access
from pointsman.gateway.deciding.admission import Admission, AdmissionPolicy, TenantShare
from pointsman.gateway.deciding.aliases import alias_table
from pointsman.gateway.deciding.decider import Decider
from pointsman.gateway.deciding.decision_policy import DecisionPolicy
from pointsman.gateway.deciding.evidence_plan import EvidencePlanner
from pointsman.gateway.deciding.null_experts import NullExperts
from pointsman.gateway.deciding.resumption import Resumption
from pointsman.gateway.deciding.safety import safety_gate
from pointsman.gateway.dispatch.attempts import Attempts
from pointsman.gateway.dispatch.data_plane import DataPlane
from pointsman.gateway.dispatch.evidence_gatherer import EvidenceGatherer
from pointsman.gateway.dispatch.expert_factory import expert_pool, keep_awake, private_words
from pointsman.gateway.dispatch.exploration import Exploration
from pointsman.gateway.dispatch.fan_out import FanOut
from pointsman.gateway.dispatch.hedging import HedgePolicy, Hedging
from pointsman.gateway.dispatch.retry_budget import RetryBudget
from pointsman.gateway.http.asgi import ASGIDataPlane, Receive, Scope, Send
from pointsman.gateway.http.control import create_control
from pointsman.gateway.parts import Parts
from pointsman.gateway.record.ledger import Ledger
from pointsman.gateway.record.recorder import Recorder
from pointsman.gateway.runtime import Runtime, runtime_over
from pointsman.gateway.settings import Settings
from pointsman.gateway.settings.version import SettingsVersion
from pointsman.gateway.shared.answer_cache import AnswerCache
from pointsman.gateway.shared.average_budgets import AverageBudgets
from pointsman.gateway.shared.conversation_memory import create_conversation_memory
from pointsman.gateway.shared.decision_cache import DecisionCache
from pointsman.gateway.shared.learning import Learning
from pointsman.gateway.shared.load import SharedLoad
from pointsman.gateway.shared.store import SharedStore
from pointsman.gateway.tasks import end
from pointsman.gateway.telemetry import Telemetry
from pointsman.gateway.wire.cors import cross_origin
from pointsman.gateway.wire.large_bodies import BodyLimits, LargeBodies
from pointsman.gateway.wire.urgency import Priority
from pointsman.routers.artifacts import LoadedArtifact, installed_hash, load_artifact
from pointsman.routers.errors import ArtifactError
from pointsman.routers.protocols import RouterProtocol
from pointsman.routers.selection.exploration import ExplorationAccount

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class App:
    """Everything that serves under one settings tree, and the start and end of what it runs on.

    Attributes:
        plane: What exchanges run on.
        asgi: Serves everything on any ASGI server.
        runtime: What both run on.
        parts: The same by name, for the App after this one.
    """

    plane: DataPlane
    asgi: ASGIDataPlane
    runtime: Runtime
    parts: Parts
    _calls: int = 0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        self._calls += 1
        try:
            await self.asgi(scope, receive, send)
        finally:
            self._calls -= 1

    @property
    def idle(self) -> bool:
        """Whether no request is under way, nor a call that one left behind."""
        exploration = self.runtime.exploration
        return self._calls == 0 and self.plane.idle and (exploration is None or not exploration.busy)

    async def start(self) -> None:
        """Start what it runs on, as far as the App before it has not.

        Raises:
            ExpertError: An expert can never work as configured.
        """
        if self.runtime.store is not None:
            self.runtime.store.start()
        await self.runtime.pool.start()
        self._tasks.append(asyncio.create_task(self.runtime.telemetry.run(), name="telemetry"))
        self._tasks.append(asyncio.create_task(self.runtime.telemetry.pauses.watch(), name="pauses"))
        if self.runtime.settings.pool.probe_interval_s:
            self._tasks.append(asyncio.create_task(self.runtime.pool.run_probes(), name="probes"))
        if self.runtime.averages is not None:
            self._tasks.append(asyncio.create_task(self.runtime.averages.run(), name="average-budgets"))
        if self.runtime.learning is not None:
            self._tasks.append(asyncio.create_task(self.runtime.learning.run(), name="learning"))
        if self.runtime.store is not None and self.runtime.settings.pool.share_load:
            load = SharedLoad(self.runtime.pool, self.runtime.store, time.monotonic)
            self._tasks.append(asyncio.create_task(load.run(), name="load"))
        if self.runtime.access.leases is not None:
            self._tasks.append(asyncio.create_task(self.runtime.access.leases.run(), name="limits"))

    def adopt(self, before: App) -> None:
        """From now on requests come here, and no longer to the App before."""
        before.runtime.pool.retire()
        self.runtime.access.adopt()
        keep_awake(self.runtime.pool, self.runtime.settings)

    async def quiesce(self) -> None:
        """End what runs in the background: the App after this one does it."""
        await end(*self._tasks)
        self._tasks.clear()

    async def stop(self, keep: App | None) -> None:
        """Break off what is under way and close everything.

        Args:
            keep: The App that stays in use, with the parts that both share; None at the end of the process.
        """
        runtime = self.runtime
        self.plane.stop()
        await self.quiesce()
        if runtime.exploration is not None:
            await runtime.exploration.aclose()
        if runtime.access.leases is not None and keep is None:
            await runtime.access.leases.aclose()
        await runtime.pool.aclose(None if keep is None else keep.runtime.pool)
        if runtime.store is not None and not (keep and keep.parts.contains(runtime.store)):
            await runtime.store.aclose()
        if not (keep and keep.parts.contains(runtime.ledger)):
            # Closing waits for a thread that writes to disk.
            await asyncio.to_thread(runtime.ledger.close)


def create_app(settings: Settings, env: Mapping[str, str] | None = None, before: App | None = None) -> App:
    """The gateway as one ASGI callable. Nothing is opened or spawned before its start.

    Args:
        settings: The whole tree.
        env: Where secrets and REDIS_URL are looked up; the process's environment when None.
        before: The App that serves now. What would be made of the same is taken from it.

    Raises:
        SettingsError: A secret is missing.
        ArtifactError: The router artefact cannot be used.
    """
    env = os.environ if env is None else env
    parts = Parts(None if before is None else before.parts)
    telemetry = parts.get("telemetry", (), Telemetry)
    store = _shared_store(settings, env, telemetry, parts)
    pool = expert_pool(settings, env, parts, None if before is None else before.runtime.pool)
    artifact = _artifact(settings, parts)
    router = artifact.router
    ledger = parts.get("ledger", (settings.ledger, store), lambda: _ledger(settings, store))
    averages = _average_budgets(settings, store, telemetry, parts)
    learning = _learning(settings, router, store, parts)
    evidence = EvidenceGatherer(artifact.evidence, router.embedder, settings.evidence.same_meaning, time.monotonic)
    nulls = _null_experts(settings, artifact, store, parts)
    memory = create_conversation_memory(settings, store, parts)
    decider = Decider(
        pool=pool,
        router=router,
        cache=parts.get("decisions", (settings.cache, store), lambda: _decision_cache(settings, store)),
        sessions=memory.sessions,
        made=memory.made,
        telemetry=telemetry,
        averages=averages,
        learning=learning,
        evidence=EvidencePlanner(artifact.evidence, settings.evidence),
        nulls=nulls,
        admission=_admission(settings, pool, telemetry),
        policy=_decision_policy(settings),
        aliases=alias_table(settings),
        clock=time.monotonic,
    )
    large = parts.get("large bodies", (), LargeBodies)
    explored = _exploration(settings, parts, pool, ledger, telemetry, learning, large)
    recorder = Recorder(
        pool=pool, ledger=ledger, telemetry=telemetry, averages=averages, memory=memory, clock=time.monotonic
    )
    attempts = Attempts(
        pool=pool,
        recorder=recorder,
        sessions=memory.sessions,
        telemetry=telemetry,
        averages=averages,
        retries=_retry_budget(settings),
        clock=time.monotonic,
    )
    gathering = FanOut(
        pool=pool,
        attempts=attempts,
        evidence=evidence,
        averages=averages,
        most_bytes=settings.server.max_answer_bytes,
        large_bodies=large,
        clock=time.monotonic,
    )
    version = parts.get("configuration", (), lambda: SettingsVersion(settings))
    access = create_access(settings, env, pool, store, parts)
    limits = BodyLimits(settings.server.max_body_bytes, settings.server.max_json_values)
    plane = DataPlane(
        pool=pool,
        decider=decider,
        resumption=Resumption(memory, limits, large),
        attempts=attempts,
        gathering=gathering,
        ledger=ledger,
        telemetry=telemetry,
        nulls=nulls,
        exploration=explored,
        hedging=_hedging(settings, telemetry),
        keyring=access.keyring,
        max_attempts=settings.server.max_attempts,
        body_limits=limits,
        large_bodies=large,
        max_answer_bytes=settings.server.max_answer_bytes,
        max_translated_bytes=settings.server.max_translated_bytes,
        forward=tuple(name.lower().encode() for name in settings.server.forward_headers),
        first_event_timeout_s=settings.server.first_event_timeout_s,
        cors=cross_origin(settings.server.cors),
        private=private_words(settings, env),
        idle_timeout_s=settings.server.idle_timeout_s,
        clock=time.monotonic,
    )
    runtime = runtime_over(
        plane, settings=settings, store=store, averages=averages, learning=learning, version=version, access=access
    )
    parts.release_previous()
    # FastAPI remembers every endpoint it has seen, and must not keep an App that has gone through them.
    return App(plane, ASGIDataPlane(plane, create_control(weakref.proxy(runtime))), runtime, parts)


def _artifact(settings: Settings, parts: Parts) -> LoadedArtifact:
    chosen = settings.router
    artifact = parts.get(
        "artifact",
        (installed_hash(chosen.artifact), chosen.uncertain_to_generalist),
        lambda: load_artifact(chosen.artifact, uncertain_to_generalist=chosen.uncertain_to_generalist),
    )
    if settings.evidence.enabled and artifact.evidence is None:
        raise ArtifactError(
            "evidence.enabled: the router was not trained on answers; train one on a table with answers"
        )
    return artifact


def _admission(settings: Settings, pool: ExpertPool, telemetry: Telemetry) -> Admission:
    chosen = settings.admission
    shares = {
        name: TenantShare(share.weight, Priority[share.priority.upper()]) for name, share in chosen.tenants.items()
    }
    policy = AdmissionPolicy(chosen.queue, chosen.max_wait_ms / 1e3, shares)
    return Admission(pool, policy, telemetry, time.monotonic)


def _retry_budget(settings: Settings) -> RetryBudget:
    chosen = settings.retries
    return RetryBudget(share=chosen.share, least_per_s=chosen.least_per_s, clock=time.monotonic)


def _hedging(settings: Settings, telemetry: Telemetry) -> Hedging | None:
    chosen = settings.hedging
    if not chosen.enabled:
        return None
    allowance = RetryBudget(share=chosen.max_share, least_per_s=0.1, clock=time.monotonic)
    policy = HedgePolicy(chosen.after, chosen.least_ms / 1e3)
    return Hedging(policy, allowance, lambda outcome: telemetry.hedges.labels(outcome).inc())


def _ledger(settings: Settings, store: SharedStore | None) -> Ledger:
    kept = settings.ledger
    return Ledger(entries=kept.local_entries, ttl_s=int(kept.ttl_s), store=store, path=kept.path)


def _decision_policy(settings: Settings) -> DecisionPolicy:
    conversations = settings.conversations
    return DecisionPolicy(
        settings.budgets.budget(),
        settings.router.flag_positions,
        conversations.stay_bonus if conversations.enabled else None,
        conversations.derive_sessions,
        conversations.turn_max_bytes > 0,
    )


def _exploration(
    settings: Settings,
    parts: Parts,
    pool: ExpertPool,
    ledger: Ledger,
    telemetry: Telemetry,
    learning: Learning | None,
    large_bodies: LargeBodies,
) -> Exploration | None:
    budget = settings.learning.exploration.budget(settings.server.workers)
    if budget is None:
        return None
    account = parts.get("explored", (budget,), lambda: ExplorationAccount(budget))
    return Exploration(
        account,
        pool=pool,
        ledger=ledger,
        telemetry=telemetry,
        learning=learning,
        large_bodies=large_bodies,
        clock=time.monotonic,
    )


def _average_budgets(
    settings: Settings, store: SharedStore | None, telemetry: Telemetry, parts: Parts
) -> AverageBudgets | None:
    allowed = settings.average_budgets.budget()
    if allowed is None:
        return None
    return parts.get(
        "averages",
        (settings.average_budgets, store),
        lambda: AverageBudgets(
            allowed, replica=secrets.token_hex(8), store=store, telemetry=telemetry, clock=time.monotonic
        ),
    )


def _learning(settings: Settings, router: RouterProtocol, store: SharedStore | None, parts: Parts) -> Learning | None:
    if not settings.learning.enabled:
        return None
    return parts.get(
        "learning",
        (settings.learning, router.artifact_hash, store),
        lambda: Learning(
            artifact_hash=router.artifact_hash,
            half_life_s=settings.learning.half_life_s,
            replica=secrets.token_hex(8),
            store=store,
        ),
    )


def _null_experts(
    settings: Settings, artifact: LoadedArtifact, store: SharedStore | None, parts: Parts
) -> NullExperts | None:
    chosen, embedder = settings.null_experts, artifact.router.embedder
    if not settings.null_kinds:
        return None

    def made() -> NullExperts:
        safety = safety_gate(settings, embedder)
        answers = AnswerCache(entries=chosen.answers.local_entries, ttl_s=int(chosen.answers.ttl_s), store=store)
        return NullExperts(chosen, embedder, answers, safety)

    return parts.get("nulls", (chosen, settings.safety, artifact, store), made)


def _decision_cache(settings: Settings, store: SharedStore | None) -> DecisionCache | None:
    decisions = settings.cache.decisions
    if not decisions.enabled:
        return None
    return DecisionCache(entries=decisions.local_entries, ttl_s=int(decisions.ttl_s), store=store)


def _shared_store(settings: Settings, env: Mapping[str, str], telemetry: Telemetry, parts: Parts) -> SharedStore | None:
    url = settings.redis.url or env.get("REDIS_URL")
    if not url:
        return None
    prefix, read_timeout_s = settings.redis.key_prefix, settings.cache.decisions.redis_timeout_ms / 1e3
    return parts.get(
        "store",
        (url, prefix, read_timeout_s),
        lambda: SharedStore(
            url,
            prefix=prefix,
            read_timeout_s=read_timeout_s,
            on_error=lambda kind: telemetry.redis_errors.labels(kind).inc(),
        ),
    )
