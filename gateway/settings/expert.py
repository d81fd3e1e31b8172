"""Settings of one expert: what it is, what it can do, and how to reach it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator

from pointsman.experts.backend_registry import backend_spec, installed_backends
from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import (
    ENDPOINT_CAPABILITIES,
    TEXT_CAPABILITIES,
    Capability,
    EnergyModel,
    ExpertSpec,
    InstructingRole,
    LatencyModel,
    LimitField,
    Price,
    Source,
)
from pointsman.gateway.settings.base import EnvName, Node, NonNegative, Positive, Share, TableName, read_secret
from pointsman.gateway.settings.chat_fields import (
    usual_instructing_role,
    usual_limit_field,
    usual_reasoning_effort,
)
from pointsman.gateway.settings.problems import TreeProblems, describe_items
from pointsman.gateway.settings.yaml_source import Path

#: Headers that would carry a secret or that the connection itself sets.
_FORBIDDEN_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "api-key", "x-api-key", "host", "content-length", "connection"}
    | {"transfer-encoding", "upgrade", "te", "trailer"}
)
_HEADER_NAME: Final = re.compile(r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")


#: Paths that people paste with the address, since examples of `curl` show them.
_ENDPOINTS: Final = (
    Endpoint.CHAT,
    Endpoint.COMPLETIONS,
    Endpoint.MESSAGES,
    Endpoint.RESPONSES,
    Endpoint.EMBEDDINGS,
)
#: Chats in other words.
_CHATS: Final = frozenset({Capability.MESSAGES, Capability.RESPONSES, Capability.COUNT_TOKENS})


class PriceSettings(Node):
    """List price of an expert."""

    input_usd_per_mtok: NonNegative
    """US dollars per million prompt tokens."""
    output_usd_per_mtok: NonNegative
    """US dollars per million completion tokens."""
    cached_input_usd_per_mtok: NonNegative | None = None
    """Of prompt tokens that the expert had in its cache, as it reports them; as of other prompt tokens when left
    out."""
    cache_write_usd_per_mtok: NonNegative | None = None
    """Of prompt tokens that it put into its cache; where that has several prices, the highest."""
    reasoning_usd_per_mtok: NonNegative | None = None
    """Of completion tokens that were reasoning, where these have a price of their own."""


class LatencySettings(Node):
    """Linear latency of the unloaded expert: `ttft = base + prompt * prefill`, `e2e = ttft + completion * tpot`."""

    base_ms: NonNegative
    """Milliseconds before anything else: network, queue, start of the prefill."""
    prefill_ms_per_token: NonNegative
    """Milliseconds per prompt token."""
    tpot_ms: NonNegative
    """Milliseconds per completion token (time per output token)."""
    p95_factor: float = Field(default=1.5, ge=1, allow_inf_nan=False)
    """Factor from the typical figure to the worst case that hard caps are held against."""
    source: Source = Source.STATED
    """Where the figures come from: measured, stated or estimated. Shown with every decision."""


class EnergySettings(Node):
    """Linear energy of one call: `E = base + prompt * j_per_prompt_token + completion * j_per_completion_token`."""

    base_j: NonNegative
    """Joules per call, whatever its length."""
    j_per_prompt_token: NonNegative
    """Joules per prompt token."""
    j_per_completion_token: NonNegative
    """Joules per completion token."""
    source: Source = Source.STATED
    """Where the figures come from: measured, stated or estimated. Shown with every decision."""


class ExpertSettings(Node):
    """One expert: what it is, and how to reach it."""

    name: TableName
    """The name clients may ask for, any text of one line; unique in the pool. `auto` is reserved for the router."""
    # Those that are installed are not known where this is read.
    backend: str = Field(json_schema_extra=lambda field: field.update(enum=[*installed_backends()]))
    """How it is reached: the name of a backend. A package may bring one of its own."""
    model: str = Field(default="", max_length=500)
    """The model id as the backend knows it; the expert's name when left out."""
    card: str = ""
    """A sentence on what the expert is good at, for people."""
    # A set has no order of its own; the schema needs one.
    capabilities: frozenset[Capability] = Field(
        default=TEXT_CAPABILITIES,
        json_schema_extra={"default": [capability.value for capability in sorted(TEXT_CAPABILITIES)]},
    )
    """What it can do; a request to `auto` that needs more goes elsewhere. Left out, it is asked for what no other
    expert is said to do, too. `messages` and those after it are endpoints of the server beside chat and completions."""
    context_window_tokens: int | None = Field(default=None, gt=0)
    """Prompt plus completion; left out when unknown (no context filter then)."""
    default_max_tokens: int | None = Field(default=None, gt=0)
    """Where the expert ends an answer of its own accord when the caller states no `max_tokens`; left out when only its
    context window ends it. Worst-case latency, energy and cost are computed with it."""
    params_total_b: Positive | None = None
    """Resident parameters in billions."""
    params_active_b: Positive | None = None
    """Parameters active per token in billions (fewer than in total for a mixture of experts)."""
    price: PriceSettings | None = None
    """List price; left out when unknown, and a stated cost cap then rejects the expert."""
    latency: LatencySettings | None = None
    """Latency model; left out when unknown, and a latency cap then rejects the expert until calls were observed."""
    energy: EnergySettings | None = None
    """Energy model; left out when unknown, and a stated energy cap then rejects the expert."""
    generalist: bool = False
    """Prompts the classifier is not sure of go to a generalist."""
    local: bool = False
    """Prompts stay on your own hardware; a request for local experts only reaches no other."""
    released: date | None = None
    """ISO date of the model's release, for the recency weight."""
    readability: Share | None = None
    """How easily laypeople read its answers, in [0, 1], as you judge it; for the readability weight."""
    known_as: TableName | None = None
    """The name under which router artefacts know this model, when it differs from `name`."""
    quality_prior: dict[str, Share] = Field(default_factory=dict)
    """Expected quality in [0, 1] per category (`"*"` for all), used where no artefact knows the expert."""
    engine: str = Field(default="", max_length=200)
    """Name of the server that runs it, where it runs others of the pool too (a base model and its adapters): they share
    its queue, so that load and speed are counted together."""
    max_concurrency: int | None = Field(default=None, gt=0)
    """Calls in flight, with those of its engine's other experts, above which the expert counts as saturated; further
    ones go elsewhere, or wait here. Left out, it gets all that come, and queues by itself what is too much, as vLLM and
    the providers do."""
    stream_usage: bool = True
    """Whether it may be asked for the token counts of a stream (`stream_options.include_usage`) on behalf of callers
    with limits who do not ask. `false` for a server that refuses the field: its streams are then charged in full."""

    cache_salt: bool = False
    """Whether the server is a vLLM that is to keep its prefix cache apart by tenant: where `auth.keys` are set, every
    request carries a `cache_salt` of its tenant's. On for `hosted_vllm/…` in `pool.model_list`; other servers may
    refuse the field."""
    limit_field: LimitField | None = None
    """The name that its chats know for the limit of an answer; the other one is sent under this name. Left out,
    `max_completion_tokens` for OpenAI's and Azure's own servers and for OpenAI's reasoning models, `max_tokens` for
    other servers, and `either` where the backend sees to it."""
    instructing_role: InstructingRole | None = None
    """The roles that its chats know for instructions. `any`: `system` and `developer`. `system`: what a `developer`
    says becomes `system`, and a request that is translated has it all in one message at the beginning. `first`: every
    request has. Left out, `any` for OpenAI's and Azure's own servers, for OpenAI's reasoning models, and where the
    backend sees to it; `system` for other servers."""
    reasoning_effort: bool | None = None
    """Whether a translated request may say `reasoning_effort` and `verbosity` in its chats. Left out, it may, but to
    OpenAI's models that do not reason (`gpt-3.5`, `gpt-4…`), which refuse them."""

    base_url: str | None = None
    """Where the server is, such as `http://vllm-code:8000/v1` or `http+unix://%2Frun%2Fvllm.sock` (`openai_http` needs
    it, `litellm` may use it). `${NAME}` and `${NAME:-default}` are taken from the environment."""
    api_key_env: EnvName | None = None
    """Environment variable that holds the API key. Keys never stand in the file."""
    api_key_file: FilePath | None = None
    """File that holds the API key, relative to the settings file."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Further headers for every call to this expert. No secrets: use `api_key_env`."""
    connect_timeout_s: Positive = 5.0
    """Seconds to wait for a connection."""
    head_timeout_s: Positive | None = None
    """Seconds to wait for the head of the answer; `server.head_timeout_s` when left out."""
    idle_timeout_s: Positive | None = None
    """Seconds to wait between two pieces of the answer; `server.expert_idle_timeout_s` when left out."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The backend's own options; see the table of backends."""

    @field_validator("backend")
    @classmethod
    def _installed(cls, value: str) -> str:
        backend_spec(value)
        return value

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        problems: list[tuple[Path, str]] = []
        backend = backend_spec(self.backend)
        if self.name == "auto":
            problems.append((("name",), "'auto' is reserved for the router"))
        if backend.address == "required" and self.base_url is None:
            problems.append((("base_url",), f"is missing; backend {self.backend} needs it"))
        if self.base_url is not None and (problem := _address_problem(self.base_url)):
            problems.append((("base_url",), problem))
        beyond = (self.capabilities & ENDPOINT_CAPABILITIES) - backend.endpoints
        problems += [
            (("capabilities",), f"backend {self.backend} has no endpoint '{one.value}'") for one in sorted(beyond)
        ]
        problems += [
            (
                ("capabilities",),
                f"'{one.value}' needs 'chat' beside it: what it says is routed as the chat it amounts to",
            )
            for one in sorted(self.capabilities & _CHATS)
            if Capability.CHAT not in self.capabilities
        ]
        if backend.address == "none":
            stated = [name for name in ("base_url", "api_key_env", "api_key_file", "headers") if getattr(self, name)]
            problems += [((name,), f"means nothing to backend {self.backend}") for name in stated]
        if self.cache_salt and self.backend != "openai_http":
            problems.append((("cache_salt",), f"means nothing to backend {self.backend}"))
        if self.api_key_env is not None and self.api_key_file is not None:
            problems.append((("api_key_file",), "state api_key_env or api_key_file, not both"))
        problems += [
            # What is no name may be a whole header, with its value.
            (("headers", name) if _HEADER_NAME.match(name) else ("headers",), problem)
            for name, value in self.headers.items()
            if (problem := _header_problem(name, value))
        ]
        if (
            self.params_active_b is not None
            and self.params_total_b is not None
            and self.params_active_b > self.params_total_b
        ):
            problems.append((("params_active_b",), "cannot be more than params_total_b"))
        try:
            backend.options.model_validate(self.options)
        except ValidationError as error:
            problems += [(("options", *path), text) for path, text in describe_items(error, backend.options)]
        if problems:
            raise TreeProblems(problems)
        return self

    def spec(self) -> ExpertSpec:
        """The plain data that decisions are made on."""
        model = self.model or self.name
        address = self.base_url if self.backend == "openai_http" else None
        return ExpertSpec(
            name=self.name,
            backend=self.backend,
            model=model,
            card=self.card,
            capabilities=self.capabilities,
            # What needs no address comes with its backend, and does what the default says.
            capabilities_stated="capabilities" in self.model_fields_set or backend_spec(self.backend).address == "none",
            context_window_tokens=self.context_window_tokens,
            default_max_tokens=self.default_max_tokens,
            params_total_b=self.params_total_b,
            params_active_b=self.params_active_b or self.params_total_b,
            price=Price(**self.price.model_dump()) if self.price else None,
            latency=LatencyModel(**self.latency.model_dump()) if self.latency else None,
            energy=EnergyModel(**self.energy.model_dump()) if self.energy else None,
            generalist=self.generalist,
            local=self.local,
            released=self.released.isoformat() if self.released else None,
            readability=self.readability,
            known_as=self.known_as,
            quality_prior=MappingProxyType(dict(self.quality_prior)),
            engine=self.engine,
            max_concurrency=self.max_concurrency,
            stream_usage=self.stream_usage,
            cache_salt=self.cache_salt,
            limit_field=self.limit_field or usual_limit_field(address, model),
            instructing_role=self.instructing_role or usual_instructing_role(address, model),
            reasoning_effort=usual_reasoning_effort(model) if self.reasoning_effort is None else self.reasoning_effort,
        )

    def api_key(self, env: Mapping[str, str]) -> str | None:
        """The key for this expert, None when it needs none.

        Args:
            env: The environment.

        Raises:
            SettingsError: The variable or the file is missing or empty.
        """
        return read_secret(f"pool: expert '{self.name}': api key", self.api_key_env, self.api_key_file, env)


def _address_problem(url: str) -> str | None:
    """Why an address cannot be used, None when it can."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Without what it says: it quotes the address, which may hold a password.
        return "is not an address: its port or its host cannot be read"
    if parts.scheme == "http+unix":
        return (
            None
            if unquote(parts.netloc).startswith("/")
            else "must name a socket's path, such as http+unix://%2Frun%2Fvllm.sock"
        )
    if parts.scheme not in {"http", "https"}:
        return "must begin with http://, https:// or http+unix://"
    if not parts.hostname or port == 0:
        return "names no server"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user or password; use api_key_env"
    if parts.query or parts.fragment:
        return "must not hold a query or a fragment"
    path = parts.path.rstrip("/")
    if endpoint := next((one for one in _ENDPOINTS if path.endswith(f"/{one}")), None):
        return f"must end before '/{endpoint}', which every call adds by itself"
    return None


def _header_problem(name: str, value: str) -> str | None:
    """Why a header may not be set, None when it may."""
    if not _HEADER_NAME.match(name):
        return "one of the names is not a header name"
    if name.lower() in _FORBIDDEN_HEADERS:
        return "may not be set here; keys go by api_key_env or api_key_file"
    if not value.isascii() or any(ord(char) < 32 or ord(char) == 127 for char in value):
        return "must be printable ASCII"
    return None
