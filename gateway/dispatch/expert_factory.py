"""Settings of one expert -> the backend that reaches it."""

from __future__ import annotations

from collections.abc import Mapping

from pointsman.experts.backend_registry import backend_spec
from pointsman.experts.backend_spec import BackendSetup, OptionProblems
from pointsman.experts.errors import ExpertMisconfigured
from pointsman.experts.http1.client import Timeouts
from pointsman.experts.protocols import Expert
from pointsman.gateway.settings import ExpertSettings, ServerSettings, SettingsError
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
                    idle_s=expert.idle_timeout_s or server.idle_timeout_s,
                ),
                # One connection per call in flight, so that the pool's own limit is the one that speaks.
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
