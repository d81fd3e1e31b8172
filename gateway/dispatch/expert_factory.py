"""Settings of an expert -> the backend that reaches it; settings of all -> the pool."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from functools import partial
from urllib.parse import urlsplit

from pointsman.experts.backend_registry import backend_spec
from pointsman.experts.backend_spec import BackendSetup, OptionProblems
from pointsman.experts.errors import ExpertMisconfigured
from pointsman.experts.http1.client import Timeouts
from pointsman.experts.pool import ExpertPool, ProbePolicy
from pointsman.experts.protocols import Expert
from pointsman.gateway.deciding.null_experts import null_expert
from pointsman.gateway.parts import Parts
from pointsman.gateway.settings import ExpertSettings, ServerSettings, Settings, SettingsError
from pointsman.gateway.settings.yaml_source import shown_path


def build_expert(expert: ExpertSettings, server: ServerSettings, env: Mapping[str, str]) -> Expert:
    """The expert behind its backend; nothing is opened or spawned yet.

    Args:
        expert: Its settings.
        server: For the timeouts that experts share.
        env: Where secrets are looked up.

    Raises:
        SettingsError: A secret, or a variable that an option refers to, is missing.
        ExpertMisconfigured: The backend cannot work with its options.
    """
    backend = backend_spec(expert.backend)
    try:
        return backend.build(
            BackendSetup(
                spec=expert.spec(),
                options=backend.options.model_validate(expert.options),
                base_url=expert.base_url,
                api_key=expert.api_key(env),
                headers=expert.headers,
                timeouts=Timeouts(
                    connect_s=expert.connect_timeout_s,
                    head_s=expert.head_timeout_s or server.head_timeout_s,
                    idle_s=expert.idle_timeout_s or server.expert_silence_s,
                ),
                # One connection per call in flight, so that the pool's own limit, if any, is the one that speaks.
                max_connections=expert.max_concurrency,
                env=env,
            )
        )
    except OptionProblems as error:
        raise SettingsError(
            [f"pool: expert '{expert.name}': {shown_path(('options', *path))}: {text}" for path, text in error.problems]
        ) from error
    except ValueError as error:
        raise ExpertMisconfigured(expert.name, f"options: {error}") from error


def expert_pool(settings: Settings, env: Mapping[str, str], parts: Parts, before: ExpertPool | None) -> ExpertPool:
    """The pool of all experts, each of them the present one where its settings are the same.

    Args:
        settings: Of the whole gateway.
        env: Where secrets are looked up.
        parts: What is kept from the settings before.
        before: The pool until now, whose health and load go on; None at the start.

    Raises:
        SettingsError: As `build_expert`.
        ExpertMisconfigured: As `build_expert`.
    """
    server = settings.server
    experts = [
        parts.get(
            f"expert {expert.name}",
            # A key may have changed behind its reference.
            (expert, server.head_timeout_s, server.expert_silence_s, _fingerprint(expert.api_key(env))),
            partial(build_expert, expert, server, env),
        )
        for expert in settings.pool.experts
    ]
    nulls = [parts.get(f"null expert {kind}", (), partial(null_expert, kind)) for kind in settings.null_kinds]
    pool = ExpertPool(
        [*experts, *nulls],
        clock=time.monotonic,
        probes=ProbePolicy(interval_s=settings.pool.probe_interval_s) if settings.pool.probe_interval_s else None,
        before=before,
    )
    if before is None:
        keep_awake(pool, settings)
    return pool


def private_words(settings: Settings, env: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """By expert, what no client may be told of it: its key, and where it is.

    Args:
        settings: Of the whole gateway.
        env: Where secrets are looked up.

    Raises:
        SettingsError: A secret is missing.
    """
    found = {}
    for expert in settings.pool.experts:
        place = urlsplit(expert.base_url or "").netloc
        found[expert.name] = tuple(word for word in (expert.api_key(env), place) if word)
    return found


def _fingerprint(secret: str | None) -> bytes | None:
    return None if secret is None else hashlib.sha256(secret.encode()).digest()


def keep_awake(pool: ExpertPool, settings: Settings) -> None:
    """Put to sleep whom the settings do not keep awake."""
    pool.keep_awake(settings.pool.awake and {*settings.pool.awake, *settings.null_kinds})
