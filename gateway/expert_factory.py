"""Settings of one expert -> the backend that reaches it. Backends are imported when one is first asked for."""

from __future__ import annotations

from collections.abc import Mapping

from experts.errors import ExpertMisconfigured
from experts.http1.client import Timeouts
from experts.protocols import Expert
from gateway.settings import Backend, ExpertSettings, ServerSettings
from gateway.settings.options import EmbeddedOptions, LitellmOptions, OpenAIHttpOptions, ReplayOptions


def build_expert(expert: ExpertSettings, server: ServerSettings, env: Mapping[str, str]) -> Expert:
    """The backend for one expert; nothing is opened or spawned yet.

    Args:
        expert: Its settings.
        server: For the timeouts that experts share.
        env: Where secrets are looked up.

    Raises:
        SettingsError: A secret is missing.
        ExpertMisconfigured: The backend cannot work with its options.
    """
    timeouts = Timeouts(
        connect_s=expert.connect_timeout_s,
        head_s=expert.head_timeout_s or server.head_timeout_s,
        idle_s=expert.idle_timeout_s or server.idle_timeout_s,
    )
    try:
        match expert.backend:
            case Backend.OPENAI_HTTP:
                return _openai_http(expert, timeouts, env)
            case Backend.LITELLM:
                return _litellm(expert, timeouts, env)
            case Backend.EMBEDDED:
                return _embedded(expert, timeouts)
            case Backend.REPLAY:
                return _replay(expert)
            case Backend.FAKE:
                return _fake(expert)
    except ValueError as error:
        raise ExpertMisconfigured(expert.name, f"options: {error}") from error


def _openai_http(expert: ExpertSettings, timeouts: Timeouts, env: Mapping[str, str]) -> Expert:
    from experts.backends.openai_http import OpenAIHttpExpert

    if expert.base_url is None:
        raise ValueError("base_url is missing")
    options = OpenAIHttpOptions.model_validate(expert.options)
    return OpenAIHttpExpert(
        expert.spec(),
        expert.base_url,
        api_key=expert.api_key(env),
        headers=expert.headers,
        timeouts=timeouts,
        # One connection per call in flight, so that the pool's own limit is the one that speaks.
        max_connections=expert.max_concurrency,
        verify_tls=str(options.tls_ca_file) if options.tls_ca_file else options.verify_tls,
    )


def _litellm(expert: ExpertSettings, timeouts: Timeouts, env: Mapping[str, str]) -> Expert:
    from experts.backends.litellm import LiteLLMExpert

    options = LitellmOptions.model_validate(expert.options)
    return LiteLLMExpert(
        expert.spec(),
        api_key=expert.api_key(env),
        api_base=expert.base_url,
        headers=expert.headers,
        params=options.arguments(env),
        extra_fields=options.extra_fields,
        head_timeout_s=timeouts.head_s,
        idle_timeout_s=timeouts.idle_s,
    )


def _embedded(expert: ExpertSettings, timeouts: Timeouts) -> Expert:
    from experts.backends.embedded import EmbeddedExpert

    options = EmbeddedOptions.model_validate(expert.options)
    return EmbeddedExpert(
        expert.spec(), model_dir=options.model_dir, timeouts=timeouts, max_connections=expert.max_concurrency
    )


def _replay(expert: ExpertSettings) -> Expert:
    from experts.backends.replay import ReplayExpert

    options = ReplayOptions.model_validate(expert.options)
    return ReplayExpert(expert.spec(), options.source, time_scale=options.time_scale)


def _fake(expert: ExpertSettings) -> Expert:
    from experts.backends.fake import FakeExpert, Script

    return FakeExpert(expert.spec(), Script.from_options(expert.options))
