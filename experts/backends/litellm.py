"""Any provider that litellm supports, with answers in OpenAI's format.

litellm takes seconds to import and hundreds of megabytes. So it is an extra, and is imported at the first call, in a
thread. Its retries, its telemetry and its dropping of unknown parameters are off: the gateway has its own fallbacks,
and a parameter that cannot be honoured is an error.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
from pydantic import Field, field_validator

from pointsman.experts.backend_spec import BackendOptions, BackendSetup, BackendSpec, OptionProblems
from pointsman.experts.backends.litellm_stream import EventReply, WholeReply, compact, vectors
from pointsman.experts.backends.openai_wire import JSON_HEADERS, error_body, wants_usage_chunk
from pointsman.experts.env_references import looks_secret, variable_of
from pointsman.experts.errors import (
    ExpertMisconfigured,
    ExpertProtocolError,
    ExpertStreamBroken,
    ExpertTimeout,
    ExpertUnavailable,
)
from pointsman.experts.protocols import Endpoint, ExpertCall, Headers
from pointsman.experts.spec import Capability, ExpertSpec

#: What a client may say, by endpoint: OpenAI's own fields. litellm takes its own settings by the same door (`api_base`,
#: `custom_llm_provider`, `mock_response`, `fallbacks`, ...): passed on, they would send the operator's key wherever the
#: client likes. A field that is not here is refused by name unless the operator lists it.
_SAMPLING = "frequency_penalty logit_bias max_tokens n presence_penalty seed stop temperature top_p"
_DELIVERY = "stream stream_options user"
_CHAT = "audio function_call functions logprobs max_completion_tokens messages metadata modalities parallel_tool_calls"
_CHAT_LATER = "prediction reasoning_effort response_format safety_identifier service_tier store tool_choice tools"
_CHAT_LATEST = "top_logprobs verbosity web_search_options"
_COMPLETIONS = "best_of echo logprobs prompt suffix"
FIELDS = {
    Endpoint.CHAT: frozenset(" ".join((_SAMPLING, _DELIVERY, _CHAT, _CHAT_LATER, _CHAT_LATEST)).split()),
    Endpoint.COMPLETIONS: frozenset(" ".join((_SAMPLING, _DELIVERY, _COMPLETIONS)).split()),
    Endpoint.EMBEDDINGS: frozenset({"input", "dimensions", "encoding_format", "user"}),
}
#: litellm's function for each endpoint.
_FUNCTIONS = {
    Endpoint.CHAT: "acompletion",
    Endpoint.COMPLETIONS: "atext_completion",
    Endpoint.EMBEDDINGS: "aembedding",
}

#: Two names of one limit.
_LIMITS = frozenset({"max_tokens", "max_completion_tokens"})

_DEFAULT_HEAD_TIMEOUT_S = 600.0
_DEFAULT_IDLE_TIMEOUT_S = 120.0
_INSTALL = "pip install 'pointsman[litellm]'"


class LitellmOptions(BackendOptions):
    """Options of `litellm`."""

    params: dict[str, Any] = Field(default_factory=dict)
    """Arguments of every call, such as `api_version` or `aws_region_name`. What is a field of a request, such as
    `temperature`, holds where the client states nothing. A value `os.environ/NAME` is taken from the environment;
    secrets must be written so."""
    extra_fields: frozenset[str] = Field(default=frozenset(), json_schema_extra={"default": []})
    """Fields beyond OpenAI's own that clients may send on to this provider; others are refused by name."""

    @field_validator("params")
    @classmethod
    def _no_secrets(cls, value: dict[str, Any]) -> dict[str, Any]:
        literal = [name for name, content in value.items() if looks_secret(name) and variable_of(content) is None]
        if literal:
            raise OptionProblems(
                [((name,), "secrets never stand in the file; write os.environ/NAME") for name in literal]
            )
        return value

    def arguments(self, env: Mapping[str, str]) -> dict[str, Any]:
        """`params` with every reference to the environment replaced by what it refers to.

        Args:
            env: The environment.

        Raises:
            OptionProblems: A variable is not set.
        """
        variables = {name: variable_of(content) for name, content in self.params.items()}
        missing = {name: variable for name, variable in variables.items() if variable and variable not in env}
        if missing:
            raise OptionProblems(
                [
                    (("params", name), f"the environment variable {variable} is not set")
                    for name, variable in missing.items()
                ]
            )
        return {
            name: content if (variable := variables[name]) is None else env[variable]
            for name, content in self.params.items()
        }


class LiteLLMExpert:
    """An expert behind litellm.

    Args:
        spec: What it is; `spec.model` is litellm's model id with its provider, such as `anthropic/claude-sonnet-4`.
        api_key: The provider's key; None leaves it to litellm's own environment variables.
        api_base: The provider's address; None for the usual one.
        headers: Further headers for every request.
        params: Further arguments of every litellm call (`api_version`, `aws_region_name`, ...).
        extra_fields: Names of fields beyond OpenAI's own that clients may send on to this provider.
        head_timeout_s: Default wait for the head of an answer.
        idle_timeout_s: Default wait between pieces of a stream.
    """

    def __init__(
        self,
        spec: ExpertSpec,
        api_key: str | None = None,
        api_base: str | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        extra_fields: frozenset[str] = frozenset(),
        head_timeout_s: float = _DEFAULT_HEAD_TIMEOUT_S,
        idle_timeout_s: float = _DEFAULT_IDLE_TIMEOUT_S,
    ) -> None:
        self._spec = spec
        fields = FIELDS[Endpoint.CHAT] | FIELDS[Endpoint.COMPLETIONS]
        self._usual = {name: value for name, value in (params or {}).items() if name in fields}
        fixed = {name: value for name, value in (params or {}).items() if name not in fields}
        self._fixed: dict[str, Any] = {**fixed, "max_retries": 0, "num_retries": 0}
        for name, value in (("api_key", api_key), ("api_base", api_base), ("extra_headers", dict(headers or {}))):
            if value:
                self._fixed[name] = value
        self._extra_fields = extra_fields
        self._head_timeout_s = head_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._litellm: Any = None

    @property
    def spec(self) -> ExpertSpec:
        """What it is."""
        return self._spec

    async def start(self) -> None:
        """Look whether litellm is installed, without importing it.

        Raises:
            ExpertMisconfigured: It is not.
        """
        if importlib.util.find_spec("litellm") is None:
            raise ExpertMisconfigured(self._spec.name, f"needs litellm: {_INSTALL}")

    async def call(self, call: ExpertCall) -> WholeReply | EventReply:
        """Ask the provider. A refusal that has an HTTP status is a reply with that status, in OpenAI's error shape."""
        known = FIELDS[call.endpoint] | self._extra_fields
        unknown = sorted(set(call.payload) - known - {"model"})
        if unknown:
            message = f"Unrecognized request argument supplied: {unknown[0]}"
            return WholeReply(400, JSON_HEADERS, error_body(message, "invalid_request_error", param=unknown[0]))
        litellm = await self._load()
        head_timeout_s = call.head_timeout_s or self._head_timeout_s
        idle_timeout_s = call.idle_timeout_s or self._idle_timeout_s
        arguments = {
            **self._defaults(call.payload, known),
            **{name: value for name, value in call.payload.items() if name in known},
            **self._fixed,
            "model": call.model or self._spec.model,
            # The timeouts below are the ones that count; litellm's default is another.
            "timeout": head_timeout_s + idle_timeout_s,
        }
        embeds = call.endpoint is Endpoint.EMBEDDINGS
        if embeds:
            # Not every provider knows formats; how numbers are written is ours.
            arguments.pop("encoding_format", None)
        function = getattr(litellm, _FUNCTIONS[call.endpoint])
        try:
            async with asyncio.timeout(head_timeout_s):
                answer = await function(**arguments)
        except TimeoutError:
            raise ExpertTimeout(self._spec.name, f"no answer within {head_timeout_s:g} s") from None
        except Exception as error:  # litellm lets through whatever the code of a hundred providers raises
            return self._refusal(error)
        if embeds:
            return WholeReply(200, JSON_HEADERS, orjson.dumps(vectors(answer.model_dump(mode="json"), call.payload)))
        if call.payload.get("stream") is True:
            pieces = self._pieces(answer, call.endpoint, idle_timeout_s)
            return EventReply(pieces, answer, with_usage=wants_usage_chunk(call.payload))
        return WholeReply(200, JSON_HEADERS, orjson.dumps(compact(answer.model_dump(mode="json"), call.endpoint)))

    def _defaults(self, payload: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
        """What the operator states of the body's own fields, where the client states nothing."""
        if not self._usual:
            return {}
        stated = set(payload)
        if not stated.isdisjoint(_LIMITS):
            stated |= _LIMITS
        return {name: value for name, value in self._usual.items() if name in known and name not in stated}

    async def probe(self) -> str | None:
        """Only whether litellm is there: asking a provider costs money. What calls say decides about health."""
        try:
            await self.start()
        except ExpertMisconfigured as error:
            return error.message
        return None

    async def aclose(self) -> None:
        """Close litellm's HTTP clients. All experts of the process share them; others open new ones."""
        litellm, self._litellm = self._litellm, None
        if litellm is not None:
            await litellm.close_litellm_async_clients()
            litellm.in_memory_llm_clients_cache.flush_cache()

    async def _load(self) -> Any:
        if self._litellm is None:
            self._litellm = await asyncio.to_thread(_import_litellm, self._spec, self._fixed.get("api_base"))
        return self._litellm

    async def _pieces(self, answer: Any, endpoint: Endpoint, idle_timeout_s: float) -> AsyncIterator[dict[str, Any]]:
        """The chunks of a stream as plain objects.

        Raises:
            ExpertStreamBroken: The provider ended it before its end.
            ExpertTimeout: It stalled.
        """
        chunks = aiter(answer)
        while True:
            try:
                async with asyncio.timeout(idle_timeout_s):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise ExpertTimeout(self._spec.name, f"no byte for {idle_timeout_s:g} s") from None
            except Exception as error:  # as in `call`
                raise ExpertStreamBroken(self._spec.name, _message(error)) from error
            yield compact(chunk.model_dump(mode="json"), endpoint)

    def _refusal(self, error: Exception) -> WholeReply:
        """An exception of litellm as the reply it stands for.

        Raises:
            ExpertError: It stands for none: nothing was reached, or nothing readable came back.
        """
        name, message = self._spec.name, _message(error)
        causes = _causes(error)
        if causes & {"APITimeoutError", "Timeout"}:
            raise ExpertTimeout(name, message) from error
        if causes & {"ClientConnectorError", "ConnectError", "ServerDisconnectedError", "RemoteProtocolError"}:
            raise ExpertUnavailable(name, message) from error
        if "ModuleNotFoundError" in causes:  # a provider whose own package is missing
            raise ExpertMisconfigured(name, message) from error
        status = getattr(error, "status_code", None)
        if not isinstance(status, int) or not 400 <= status <= 599:
            raise ExpertProtocolError(name, message) from error
        body = getattr(error, "body", None)
        detail = body if isinstance(body, dict) else {}
        kind = detail.get("type") or ("invalid_request_error" if status < 500 else "server_error")
        headers: Headers = JSON_HEADERS
        retry_after = _header(error, "retry-after")
        if retry_after is not None:
            headers = (*headers, (b"retry-after", retry_after.encode("latin-1")))
        return WholeReply(
            status, headers, error_body(detail.get("message") or message, kind, detail.get("code"), detail.get("param"))
        )


def _import_litellm(spec: ExpertSpec, api_base: str | None) -> Any:
    # Read while it is imported: without this it fetches a price list from the network.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        litellm: Any = importlib.import_module("litellm")
    except ImportError as error:
        raise ExpertMisconfigured(spec.name, f"needs litellm: {_INSTALL} ({error})") from error
    litellm.telemetry = False
    litellm.drop_params = False
    litellm.suppress_debug_info = True  # else it writes advertisements to standard output
    if spec.model.startswith("*"):
        return litellm
    try:
        litellm.get_llm_provider(spec.model, api_base=api_base)
    except litellm.exceptions.BadRequestError as error:
        raise ExpertMisconfigured(spec.name, f"litellm knows no provider of the model {spec.model!r}") from error
    return litellm


def _message(error: Exception) -> str:
    """What happened, on one line."""
    return " ".join(str(error).split())[:500] or type(error).__name__


def _causes(error: BaseException) -> set[str]:
    """Class names of an exception and of everything it came from: litellm's own classes hide the difference."""
    names: set[str] = set()
    seen: BaseException | None = error
    while seen is not None and len(names) < 64:
        names.update(kind.__name__ for kind in type(seen).__mro__)
        seen = seen.__cause__ or seen.__context__
    return names


def _header(error: Exception, name: str) -> str | None:
    """A header of the provider's response, where litellm has kept it."""
    response = getattr(error, "response", None)
    for headers in (getattr(error, "litellm_response_headers", None), getattr(response, "headers", None)):
        value = headers.get(name) if isinstance(headers, Mapping) else None
        if value is not None:
            return str(value)
    return None


def _build(setup: BackendSetup[LitellmOptions]) -> LiteLLMExpert:
    return LiteLLMExpert(
        setup.spec,
        api_key=setup.api_key,
        api_base=setup.base_url,
        headers=setup.headers,
        params=setup.options.arguments(setup.env),
        extra_fields=setup.options.extra_fields,
        head_timeout_s=setup.timeouts.head_s,
        idle_timeout_s=setup.timeouts.idle_s,
    )


BACKEND = BackendSpec(
    reaches="the providers of litellm",
    options=LitellmOptions,
    build=_build,
    address="optional",
    endpoints=frozenset({Capability.EMBEDDINGS}),
    probe="whether litellm is installed",
    when_left="closes the connection",
    needs="the extra `litellm`",
)
