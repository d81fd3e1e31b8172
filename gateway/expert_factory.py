"""Settings of one expert -> the backend that reaches it. Backends are imported when one is first asked for."""

from __future__ import annotations

from collections.abc import Mapping

from experts.errors import ExpertMisconfigured
from experts.protocols import Expert
from gateway.settings import Backend, ExpertSettings, Settings


def build_expert(expert: ExpertSettings, settings: Settings, env: Mapping[str, str]) -> Expert:
    """The backend for one expert; nothing is opened or spawned yet.

    Args:
        expert: Its settings.
        settings: The whole tree, for what experts share.
        env: Where secrets are looked up.

    Raises:
        SettingsError: A secret is missing.
        ExpertMisconfigured: The backend's options cannot be used.
    """
    try:
        return _build(expert, settings, env)
    except ValueError as error:
        raise ExpertMisconfigured(expert.name, f"options: {error}") from error


def _build(expert: ExpertSettings, settings: Settings, env: Mapping[str, str]) -> Expert:
    match expert.backend:
        case Backend.OPENAI_HTTP:
            return _openai_http(expert, settings, env)
        case Backend.FAKE:
            from experts.backends.fake import FakeExpert, Script

            return FakeExpert(expert.spec(), Script.from_options(expert.options))
    raise ExpertMisconfigured(expert.name, f"backend {expert.backend} is unknown")


def _openai_http(expert: ExpertSettings, settings: Settings, env: Mapping[str, str]) -> Expert:
    from experts.backends.openai_http import OpenAIHttpExpert
    from experts.http1.client import Timeouts

    assert expert.base_url is not None  # noqa: S101  # the settings hold it
    return OpenAIHttpExpert(
        expert.spec(),
        expert.base_url,
        api_key=expert.api_key(env),
        headers=expert.headers,
        timeouts=Timeouts(
            connect_s=expert.connect_timeout_s,
            head_s=expert.head_timeout_s or settings.server.head_timeout_s,
            idle_s=expert.idle_timeout_s or settings.server.idle_timeout_s,
        ),
        # One connection per call in flight, so that the pool's own limit is the one that speaks.
        max_connections=expert.max_concurrency,
    )
