"""The settings tree: one frozen model per concern. The descriptions are the documentation and the JSON schema."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from pointsman.gateway.settings.aliases import ANY, Aliases, AliasSettings, resolve_aliases
from pointsman.gateway.settings.auth import AdminSettings, AuthSettings
from pointsman.gateway.settings.base import Node, NonNegative, Positive
from pointsman.gateway.settings.budgets import BudgetSettings
from pointsman.gateway.settings.cors import CorsSettings
from pointsman.gateway.settings.evidence import EvidenceSettings
from pointsman.gateway.settings.expert import ExpertSettings
from pointsman.gateway.settings.learning import LearningSettings
from pointsman.gateway.settings.litellm.pool import with_model_list
from pointsman.gateway.settings.litellm.records import Migration
from pointsman.gateway.settings.null_experts import NullExpertSettings, NullKind
from pointsman.gateway.settings.overload import AdmissionSettings, HedgingSettings, RetrySettings
from pointsman.gateway.settings.pool import PoolSettings
from pointsman.gateway.settings.problems import TreeProblems
from pointsman.gateway.settings.safety import SafetySettings
from pointsman.gateway.settings.yaml_source import Path

if TYPE_CHECKING:
    from pointsman.routers.selection.flags import FlagPositions
    from pointsman.routers.selection.prices import AverageBudget


class RouterSettings(Node):
    """How the decision is made."""

    artifact: str = "default"
    """Fitted router: `default`, or the folder of an artefact, relative to the settings file."""
    flags: bool | Literal["beginning", "end"] = False
    """Let users write goals into the prompt, such as `[Flag: smallest model]`, at the beginning or the end of their
    last turn, or at one of the two alone: where prompts end with text of others, say `beginning`. Flags are stripped
    before an expert sees the prompt. Anywhere else, and with `false`, such text is ordinary text."""
    uncertain_to_generalist: bool = True
    """Send prompts the classifier is not sure of to a generalist, where one is admissible."""

    @property
    def flag_positions(self) -> FlagPositions:
        """Where in a turn flags count; nowhere where they are not allowed."""
        from pointsman.routers.selection.flags import EITHER_END, FlagPosition

        if isinstance(self.flags, bool):
            return EITHER_END if self.flags else frozenset()
        return frozenset({FlagPosition(self.flags)})


class AverageBudgetSettings(Node):
    """What a request may spend on average, over all that is routed (`auto`)."""

    window_s: Positive = 600.0
    """Seconds the averages are meant over."""
    max_energy_j: Positive | None = None
    """Average energy of a request in joules."""
    max_cost_usd: Positive | None = None
    """Average cost of a request in US dollars."""
    p95_ttft_ms: Positive | None = None
    """95th percentile of the time to first token in milliseconds, of streamed answers."""

    def budget(self) -> AverageBudget | None:
        """The same as the decision reads it; None where nothing is stated."""
        if self.max_energy_j is None and self.max_cost_usd is None and self.p95_ttft_ms is None:
            return None
        from pointsman.routers.selection.prices import AverageBudget

        return AverageBudget(self.window_s, self.max_cost_usd, self.max_energy_j, self.p95_ttft_ms)


class DecisionCacheSettings(Node):
    """The cache of what the router found out about a prompt; never of answers."""

    enabled: bool = True
    """Whether to cache at all."""
    local_entries: int = Field(default=4_000, ge=0)
    """Entries kept in the process itself, in front of Redis; 0 for none."""
    ttl_s: Positive = 600.0
    """Seconds an entry lives."""
    redis_timeout_ms: Positive = 5.0
    """Milliseconds a request waits for Redis before it goes on without."""


class CacheSettings(Node):
    """What is remembered between requests."""

    decisions: DecisionCacheSettings = DecisionCacheSettings()
    """The decision cache."""


class ConversationSettings(Node):
    """What earlier turns say about the present one."""

    enabled: bool = True
    """Read the last few user turns together, so that `and in C?` goes where the question before it went, and remember
    who answered the sessions that callers name (`x-pointsman-session`, or `routing.session`)."""
    derive_sessions: bool = False
    """Know a conversation that its client does not name by `prompt_cache_key`, or else by how it began (all messages up
    to the user's first). Two conversations of one tenant that begin alike are taken for one."""
    stay_bonus: NonNegative = 0.02
    """What staying with the expert of the session's previous turn is worth, in units of predicted quality."""
    local_entries: int = Field(default=10_000, ge=0)
    """Sessions each process remembers itself."""
    ttl_s: Positive = 1_800.0
    """Seconds a session without a request is remembered, and a turn that nothing goes on from is kept."""
    turn_max_bytes: int = Field(default=1024 * 1024, ge=0)
    """Largest turn that is kept, in bytes, with all turns before it; 0 keeps none. Turns are kept where an answer was
    put into the words of Responses or of a Messages thread, so that the next request may send the new turn alone."""
    turns_local_bytes: int = Field(default=64 * 1024 * 1024, ge=0)
    """Bytes of such turns that each process keeps itself, beside Redis."""
    ids_local_entries: int = Field(default=50_000, ge=0)
    """Ids of responses, items, containers and files that each process remembers itself. Whose they are decides who may
    name them where `auth.keys` are set."""
    ids_ttl_s: Positive = 2_592_000.0
    """Seconds such an id is remembered."""


class RedisSettings(Node):
    """Where shared state lives. Without Redis, requests go on and every process remembers for itself."""

    url: str | None = None
    """Such as `redis://redis:6379/0`, `rediss://…` or `unix:///run/redis.sock`. Left out: the environment variable
    REDIS_URL, else an embedded Redis where one is installed, else none. `${NAME}` is taken from the environment."""
    embedded: bool = True
    """Whether to start a Redis of our own when no URL is given."""
    key_prefix: str = Field(default="pointsman", pattern=r"^[A-Za-z0-9._-]+$", max_length=64)
    """First part of every key, to share one Redis between installations."""

    @field_validator("url")
    @classmethod
    def _leads_somewhere(cls, value: str | None) -> str | None:
        # What is wrong is said without the URL: it may hold a password.
        if value is not None:
            try:
                parts = urlsplit(value)
                usable = parts.scheme == "unix" or parts.port != 0
            except ValueError:
                usable = False
            if not usable or parts.scheme not in ("redis", "rediss", "unix"):
                raise ValueError("must be an address that begins with redis://, rediss:// or unix://")
        return value


class ServerSettings(Node):
    """The HTTP side."""

    host: str = "127.0.0.1"
    """Address to listen on. Other than loopback needs `auth.keys` or `auth.allow_anonymous`."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port to listen on; 0 picks a free one."""
    workers: int = Field(default=1, ge=1, le=256)
    """Processes that serve."""
    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    """Largest request body in bytes."""
    max_json_values: int = Field(default=250_000, ge=1000)
    """Most values in a request body: objects, lists, texts, numbers and names of fields. What a body costs to read is a
    matter of these more than of its bytes; a prompt of token ids has as many as tokens."""
    max_answer_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    """Largest answer of an expert that is not streamed, in bytes; a larger one is a failure of the expert. A stream
    that is passed on as it comes may be of any length."""
    max_translated_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    """Largest answer of an expert that is put into the words of another API (Messages, Responses), in bytes; of a
    stream, of its text and arguments, for it is kept to its end. A larger one is a failure of the expert."""
    request_timeout_s: Positive = 60.0
    """Seconds that a request may take to arrive, from its first byte to its last; slower clients are cut off."""
    graceful_shutdown_s: Positive = 20.0
    """Seconds that requests in flight have to end after SIGTERM."""
    drain_s: Positive = 600.0
    """Seconds that requests have to end which began before the settings were reloaded, or in a worker that another one
    replaces."""
    cors: CorsSettings = CorsSettings()
    """Pages of other origins that may call from a browser; none by default."""
    forward_headers: tuple[str, ...] = ("traceparent", "tracestate", "baggage", "x-request-id", "openai-beta")
    """Client headers that travel on to experts, lower case. Credentials and cookies never do."""
    max_attempts: int = Field(default=3, ge=1, le=10)
    """Experts tried for one request: the chosen one and its fallbacks."""
    head_timeout_s: Positive = 600.0
    """Seconds an expert has for the head of its answer, which for an answer that is not streamed is all of it; as long
    as the SDKs of OpenAI and Anthropic wait."""
    expert_idle_timeout_s: Positive = 600.0
    """Seconds an expert may stay silent within an answer. Where `idle_timeout_s` is stated and this is not, that one
    holds, as it did before there were two."""
    first_event_timeout_s: Positive = 0.5
    """Seconds that a stream is kept back which has sent comments alone, so that another expert can still answer should
    it come to nothing; then the client gets what there is."""
    idle_timeout_s: Positive = 60.0
    """Seconds a client may leave unread what is written to it."""

    @property
    def expert_silence_s(self) -> float:
        """How long an expert may stay silent within an answer."""
        stated = self.model_fields_set
        older = "idle_timeout_s" in stated and "expert_idle_timeout_s" not in stated
        return self.idle_timeout_s if older else self.expert_idle_timeout_s

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @model_validator(mode="after")
    def _no_credentials_forwarded(self) -> Self:
        forbidden = {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key"}
        problems: list[tuple[Path, str]] = []
        for index, header in enumerate(self.forward_headers):
            if header != header.lower():
                problems.append((("forward_headers", index), "must be lower case"))
            elif header in forbidden:
                problems.append((("forward_headers", index), "carries a caller's credentials and never travels on"))
        if problems:
            raise TreeProblems(problems)
        return self


class LedgerSettings(Node):
    """The record of decisions and what became of them."""

    local_entries: int = Field(default=1_000, ge=1)
    """Decisions each process remembers itself, for `GET /v1/decisions/{id}` and `POST /v1/feedback`."""
    ttl_s: Positive = 3_600.0
    """Seconds a decision can be found through Redis, from any replica."""
    path: FilePath | None = None
    """JSONL file that finished outcomes are appended to, relative to the settings file; none when left out."""


class Settings(Node):
    """Everything that can be set, from one YAML file."""

    pool: PoolSettings = PoolSettings()
    """The experts, and how their health is watched."""
    aliases: Aliases = Field(default_factory=dict)
    """Further names that clients may ask for, each with what it stands for: an expert, `auto`, or several experts. A
    `*` in a name stands for any text; an exact name goes before it, and of several the one that says most of the
    name."""
    router: RouterSettings = RouterSettings()
    """The decision."""
    budgets: BudgetSettings = BudgetSettings()
    """Budgets of callers who state none."""
    average_budgets: AverageBudgetSettings = AverageBudgetSettings()
    """Budgets over many requests."""
    cache: CacheSettings = CacheSettings()
    """Caches."""
    null_experts: NullExpertSettings = NullExpertSettings()
    """Experts that answer without a model."""
    safety: SafetySettings = SafetySettings()
    """Prompts that ask for harm."""
    conversations: ConversationSettings = ConversationSettings()
    """Conversations."""
    evidence: EvidenceSettings = EvidenceSettings()
    """Asking several experts and comparing their answers."""
    learning: LearningSettings = LearningSettings()
    """Learning from judged answers."""
    admission: AdmissionSettings = AdmissionSettings()
    """Waiting for an expert to have room."""
    retries: RetrySettings = RetrySettings()
    """Asking the next expert after a failure."""
    hedging: HedgingSettings = HedgingSettings()
    """Asking a second expert when the first one is late."""
    redis: RedisSettings = RedisSettings()
    """Shared state."""
    ledger: LedgerSettings = LedgerSettings()
    """The record of decisions."""
    server: ServerSettings = ServerSettings()
    """Where and how to serve."""
    auth: AuthSettings = AuthSettings()
    """Callers and their keys."""
    admin: AdminSettings = AdminSettings()
    """The listener for operators."""

    @property
    def null_kinds(self) -> tuple[NullKind, ...]:
        """The null experts that are switched on, in the order of the pool; safety routing needs the refusal."""
        kinds = self.null_experts.kinds
        return (*kinds, NullKind.REFUSAL) if self.safety.enabled and NullKind.REFUSAL not in kinds else kinds

    @model_validator(mode="after")
    def _model_list_becomes_experts(self) -> Self:
        # The loader has done it already, to know the lines; this is for settings made by a program.
        if self.pool.model_list:
            migration = Migration({})
            pool = {"experts": [{"name": expert.name} for expert in self.pool.experts]}
            listed = [entry.model_dump() for entry in self.pool.model_list]
            made = with_model_list({"pool": {**pool, "model_list": listed}}, migration)
            if migration.problems:
                raise TreeProblems(migration.problems)
            further = made["pool"]["experts"][len(self.pool.experts) :]
            experts = (*self.pool.experts, *map(ExpertSettings.model_validate, further))
            aliases = {name: AliasSettings.model_validate(alias) for name, alias in made.get("aliases", {}).items()}
            # A frozen model is completed once, before anybody else sees it.
            object.__setattr__(self, "pool", self.pool.model_copy(update={"experts": experts, "model_list": ()}))
            object.__setattr__(self, "aliases", {**aliases, **self.aliases})
        return self

    @model_validator(mode="after")
    def _has_aliases_that_lead_somewhere(self) -> Self:
        names = [*(expert.name for expert in self.pool.experts), *self.null_kinds]
        resolved, problems = resolve_aliases(self.aliases, names)
        named_only = {expert.name for expert in self.pool.experts if ANY in expert.model}
        problems += [
            ((name, "fallbacks"), f"'{one}' has a * in its model, and no name says what it stands for here")
            for name, alias in resolved.items()
            for one in alias.fallbacks
            if one in named_only
        ]
        if problems and self.pool.experts:
            raise TreeProblems([(("aliases", *path), text) for path, text in problems])
        return self

    @model_validator(mode="after")
    def _knows_who_is_cautious(self) -> Self:
        there = {expert.name for expert in self.pool.experts}
        unknown = [
            (("safety", "cautious", index), f"'{name}' is not in the pool")
            for index, name in enumerate(self.safety.cautious)
            if name not in there
        ]
        if unknown and there:
            raise TreeProblems(unknown)
        return self

    @model_validator(mode="after")
    def _leaves_null_experts_their_names(self) -> Self:
        taken = [
            (("pool", "experts", index, "name"), f"'{expert.name}' is the name of a null expert that is switched on")
            for index, expert in enumerate(self.pool.experts)
            if expert.name in self.null_kinds
        ]
        if taken:
            raise TreeProblems(taken)
        return self

    @model_validator(mode="after")
    def _allows_only_what_is_there(self) -> Self:
        there = {expert.name for expert in self.pool.experts} | set(self.null_kinds)
        unknown = [
            (("auth", "keys", index, "experts", at), "names an expert that is not in the pool")
            for index, key in enumerate(self.auth.keys)
            for at, name in enumerate(key.experts or ())
            if name not in there
        ]
        if unknown and self.pool.experts:
            raise TreeProblems(unknown)
        if self.admin.port is not None and not any(key.role == "operator" for key in self.auth.keys):
            raise TreeProblems([(("admin", "port"), "needs a key with the role 'operator'")])
        return self

    @model_validator(mode="after")
    def _asks_who_calls(self) -> Self:
        if not self.server.loopback and not self.auth.keys and not self.auth.allow_anonymous:
            sentence = (
                f"'{self.server.host}' is open to other machines, and nobody is asked for a key: set auth.keys, or "
                "auth.allow_anonymous: true where something in front checks callers"
            )
            raise TreeProblems([(("server", "host"), sentence)])
        return self
