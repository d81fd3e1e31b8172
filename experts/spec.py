"""Experts as plain data: what an expert is, its current state, and an immutable snapshot of the pool.

This is the only module of `experts` that the decision (`routers/`) may import. It does no I/O and reads no clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Capability(StrEnum):
    """What a request may need of an expert beyond text in, text out."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    STREAMING = "streaming"
    TOOLS = "tools"
    VISION = "vision"
    AUDIO = "audio"
    VIDEO = "video"
    FILES = "files"
    JSON_SCHEMA = "json_schema"
    LOGPROBS = "logprobs"
    MESSAGES = "messages"
    RESPONSES = "responses"
    COUNT_TOKENS = "count_tokens"
    EMBEDDINGS = "embeddings"
    RERANK = "rerank"
    SCORE = "score"


TEXT_CAPABILITIES = frozenset({Capability.CHAT, Capability.COMPLETIONS, Capability.STREAMING})

#: Content beside text and pictures.
_MEDIA = frozenset({Capability.AUDIO, Capability.VIDEO, Capability.FILES})

#: What is the model's rather than the server's: its operator may not know, and a caller who names the model does.
MODEL_CAPABILITIES = _MEDIA | {Capability.TOOLS, Capability.VISION, Capability.JSON_SCHEMA, Capability.LOGPROBS}

#: Endpoints whose answers no model writes.
UNWRITTEN_CAPABILITIES = frozenset({Capability.EMBEDDINGS, Capability.RERANK, Capability.SCORE})

#: Endpoints that only some servers have; an expert has them where its operator says so.
ENDPOINT_CAPABILITIES = UNWRITTEN_CAPABILITIES | {Capability.MESSAGES, Capability.RESPONSES, Capability.COUNT_TOKENS}

#: Backend of the experts that answer without a model (a cache, a calculator): they have an answer to some prompts only.
NULL_BACKEND = "null"


class LimitField(StrEnum):
    """The name by which a chat expert knows the limit of an answer."""

    MAX_TOKENS = "max_tokens"
    MAX_COMPLETION_TOKENS = "max_completion_tokens"
    EITHER = "either"


class InstructingRole(StrEnum):
    """Whose messages a chat expert takes as instructions, and where."""

    ANY = "any"
    """`system` and `developer`, anywhere."""
    SYSTEM = "system"
    """`system` alone, anywhere."""
    FIRST = "first"
    """`system` alone, as one message at the beginning."""


class Source(StrEnum):
    """Where a figure comes from. A figure that nobody measured says so wherever it is shown."""

    MEASURED = "measured"
    STATED = "stated"
    ESTIMATED = "estimated"


@dataclass(frozen=True, slots=True)
class Price:
    """List price in US dollars per million tokens.

    Attributes:
        input_usd_per_mtok: Of prompt tokens.
        output_usd_per_mtok: Of completion tokens.
        cached_input_usd_per_mtok: Of prompt tokens that the expert had in its cache; None for those of others.
        cache_write_usd_per_mtok: Of prompt tokens that it put there; None for those of others.
        reasoning_usd_per_mtok: Of completion tokens that were reasoning; None for those of others.
    """

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_input_usd_per_mtok: float | None = None
    cache_write_usd_per_mtok: float | None = None
    reasoning_usd_per_mtok: float | None = None

    def cost_usd(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Cost of one call in US dollars, without a cache and without reasoning."""
        return (prompt_tokens * self.input_usd_per_mtok + completion_tokens * self.output_usd_per_mtok) / 1e6

    def cost_of_usage_usd(self, usage: Usage) -> float:
        """Cost of one call in US dollars by what the expert counted, each kind of token at its own price."""
        cost = self.cost_usd(usage.prompt_tokens, usage.completion_tokens)
        for tokens, price, usual in (
            (usage.cached_tokens, self.cached_input_usd_per_mtok, self.input_usd_per_mtok),
            (usage.cache_write_tokens, self.cache_write_usd_per_mtok, self.input_usd_per_mtok),
            (usage.reasoning_tokens, self.reasoning_usd_per_mtok, self.output_usd_per_mtok),
        ):
            if tokens and price is not None:
                cost += tokens * (price - usual) / 1e6
        return cost

    @property
    def worst_input_usd_per_mtok(self) -> float:
        """The most that a prompt token may cost, whatever a cache makes of it."""
        return max(self.input_usd_per_mtok, self.cached_input_usd_per_mtok or 0.0, self.cache_write_usd_per_mtok or 0.0)

    @property
    def worst_output_usd_per_mtok(self) -> float:
        """The most that a completion token may cost, whether it is reasoning or not."""
        return max(self.output_usd_per_mtok, self.reasoning_usd_per_mtok or 0.0)

    def worst_cost_usd(self, prompt_tokens: float, completion_tokens: float) -> float:
        """The most that a call with so many tokens may cost, in US dollars."""
        prompt_usd = prompt_tokens * self.worst_input_usd_per_mtok
        return (prompt_usd + completion_tokens * self.worst_output_usd_per_mtok) / 1e6


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """Linear latency of an unloaded expert: `ttft = base + prompt * prefill`, `e2e = ttft + completion * tpot`.

    Linear in both lengths, `T = a0 + a1 l_in + a2 l_out`, after MoE² (arXiv 2501.09410).
    `p95_factor` turns a typical figure into the worst case that hard caps are held against.
    """

    base_ms: float
    prefill_ms_per_token: float
    tpot_ms: float
    p95_factor: float = 1.5
    source: Source = Source.ESTIMATED

    def ttft_ms(self, prompt_tokens: float) -> float:
        """Time to first token in ms."""
        return self.base_ms + prompt_tokens * self.prefill_ms_per_token

    def latency_ms(self, prompt_tokens: float, completion_tokens: float) -> float:
        """End-to-end latency in ms."""
        return self.ttft_ms(prompt_tokens) + completion_tokens * self.tpot_ms


@dataclass(frozen=True, slots=True)
class EnergyModel:
    """Linear energy of one call: `E = b0 + b1 l_in + b2 l_out` in joules (after MoE², arXiv 2501.09410)."""

    base_j: float
    j_per_prompt_token: float
    j_per_completion_token: float
    source: Source = Source.ESTIMATED

    def energy_j(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Energy of one call in joules."""
        return self.base_j + prompt_tokens * self.j_per_prompt_token + completion_tokens * self.j_per_completion_token


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call as the expert itself reported them.

    Attributes:
        prompt_tokens: Of the prompt, those of a cache included.
        completion_tokens: Of the answer, reasoning included.
        cached_tokens: Of the prompt, those that came from the expert's cache.
        cache_write_tokens: Of the prompt, those that went into it.
        reasoning_tokens: Of the answer, those that were reasoning.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt plus completion."""
        return self.prompt_tokens + self.completion_tokens


#: What a server writes at once where nothing is stated: a full batch of vLLM on one GPU.
USUAL_BATCH: Final = 64


@dataclass(frozen=True, slots=True)
class ExpertSpec:
    """What an expert is; never changes while it is in the pool.

    Attributes:
        name: The name clients may ask for and decisions speak of; unique in the pool.
        backend: Name of the backend that reaches it (`openai_http`, `litellm`, `embedded`, `replay`, `fake`, `null`).
        model: The model id as the backend knows it.
        card: A sentence on what the expert is good at, for people and for a cold start.
        capabilities: What it can do, as far as that is known.
        capabilities_stated: Whether the operator states them; where not, it may be capable of more (`may_be_capable`).
        context_window_tokens: Prompt plus completion; None when unknown (no context filter then).
        default_max_tokens: Where the expert ends an answer of its own accord when the caller states no limit; None when
            only the context window ends it. Worst cases of latency, energy and cost depend on it.
        params_total_b: Resident parameters in billions.
        params_active_b: Parameters active per token in billions (differs for a mixture of experts).
        price: None when unknown; a stated cost cap then rejects the expert (`cost_unknown`).
        latency: None when unknown; a stated latency cap then rejects the expert unless the live state knows better.
        energy: None when unknown; a stated energy cap then rejects the expert.
        generalist: Uncertain prompts go to a generalist.
        local: Prompts stay on the operator's own hardware (the `secure` flag keeps only such experts).
        released: ISO date of the model's release, for the recency flag; None when unknown.
        readability: How easily laypeople read its answers, in [0, 1], as the operator states it; None when not stated.
        known_as: The name under which router artefacts know this model, when it differs from `name`.
        quality_prior: Expected quality in [0, 1] per category (`"*"` for all) where no artefact knows the expert.
        engine: Name of the server that it shares with others of the pool, as a base model and its adapters do. Empty
            for one of its own.
        max_concurrency: Calls in flight, with those of its engine's other experts, above which it counts as saturated;
            None where its server queues what is too much by itself.
        stream_usage: Whether it may be asked for the token counts of a stream (`stream_options.include_usage`).
        cache_salt: Its server keeps apart the cached prefixes of requests with different salts.
        limit_field: The name of the limit that its chats know.
        instructing_role: The roles that its chats know for instructions.
        reasoning_effort: Whether its chats may say `reasoning_effort`.
    """

    name: str
    backend: str
    model: str
    card: str = ""
    capabilities: frozenset[Capability] = TEXT_CAPABILITIES
    capabilities_stated: bool = True
    context_window_tokens: int | None = None
    default_max_tokens: int | None = None
    params_total_b: float | None = None
    params_active_b: float | None = None
    price: Price | None = None
    latency: LatencyModel | None = None
    energy: EnergyModel | None = None
    generalist: bool = False
    local: bool = False
    released: str | None = None
    readability: float | None = None
    known_as: str | None = None
    quality_prior: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    engine: str = ""
    max_concurrency: int | None = None
    stream_usage: bool = True
    cache_salt: bool = False
    limit_field: LimitField = LimitField.EITHER
    instructing_role: InstructingRole = InstructingRole.ANY
    reasoning_effort: bool = True

    @property
    def null(self) -> bool:
        """Whether it answers without a model, and only what it has an answer to."""
        return self.backend == NULL_BACKEND

    def may_be_capable(self, required: frozenset[Capability]) -> bool:
        """Whether nothing speaks against it: what it lacks is the model's, and nobody said what the model can do.

        A model that is said to see pictures may also take sound, video and files, of which nothing is said.
        """
        lacking = required - self.capabilities
        if not self.capabilities_stated:
            return lacking <= MODEL_CAPABILITIES
        return not lacking or (lacking <= _MEDIA and Capability.VISION in self.capabilities)

    @property
    def batch(self) -> int:
        """Calls in flight at which it is full, and takes twice as long as alone: the limit, else what is usual."""
        return USUAL_BATCH if self.max_concurrency is None else self.max_concurrency

    @property
    def artifact_name(self) -> str:
        """The name to look up in a router artefact."""
        return self.known_as or self.name

    def cost_usd(self, usage: Usage | None) -> float | None:
        """US dollars of a call by its tokens; None where these or the price are unknown."""
        if usage is None or self.price is None:
            return None
        return self.price.cost_of_usage_usd(usage)

    def worst_cost_usd(self, usage: Usage) -> float | None:
        """The most that a call with so many tokens may cost in US dollars; None where the price is unknown."""
        if self.price is None:
            return None
        return self.price.worst_cost_usd(usage.prompt_tokens, usage.completion_tokens)

    def energy_j(self, usage: Usage | None) -> float | None:
        """Joules of a call by its tokens; None where these or the energy model are unknown."""
        if usage is None or self.energy is None:
            return None
        return self.energy.energy_j(usage.prompt_tokens, usage.completion_tokens)


@dataclass(frozen=True, slots=True)
class Speed:
    """What a call to an expert may expect under some load; None where nobody has seen it.

    Attributes:
        ttft_ms: Time to first token of an empty prompt.
        prefill_ms_per_token: What every token of the prompt adds.
        tpot_ms: Time per token of the answer.
        ttft_p95_factor: The worst time to first token over the typical one.
        tpot_p95_factor: The same for the time per token.
    """

    ttft_ms: float | None = None
    prefill_ms_per_token: float | None = None
    tpot_ms: float | None = None
    ttft_p95_factor: float | None = None
    tpot_p95_factor: float | None = None


UNSEEN: Final = Speed()


@dataclass(frozen=True, slots=True)
class TokenFactors:
    """How many tokens an expert finds in a prompt over what the gateway estimates, as a rule and in the worst case."""

    typical: float = 1.0
    worst: float = 1.0


AS_ESTIMATED: Final = TokenFactors()


@dataclass(frozen=True, slots=True)
class ExpertState:
    """The state of an expert at the moment of the snapshot.

    Attributes:
        healthy: False while its circuit is open or its probe fails.
        awake: False when coarse selection has put it to sleep.
        in_flight: Calls dispatched and not yet finished.
        speed: What one more call may expect under the load of this moment, learned from its calls.
        idle_speed: What it may expect once the expert is idle.
        tokens: What it makes of the estimated tokens of a prompt.
        recent_calls: Calls begun so far, each weighing half as much as one 10 s later, as a logarithm; orders experts
            that are equal in all else.
        detail: Why it is not healthy, for people.
    """

    healthy: bool = True
    awake: bool = True
    in_flight: int = 0
    speed: Speed = UNSEEN
    idle_speed: Speed = UNSEEN
    tokens: TokenFactors = AS_ESTIMATED
    recent_calls: float = -math.inf
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PoolView:
    """An immutable snapshot of the pool. The decision never asks the pool, it is told.

    Attributes:
        entries: Pairs of spec and state in the operator's order.
        taken_at_s: When it was taken, in seconds of a monotonic clock.
    """

    entries: tuple[tuple[ExpertSpec, ExpertState], ...]
    taken_at_s: float = 0.0

    @classmethod
    def of(cls, *specs: ExpertSpec) -> PoolView:
        """A view in which every given expert is healthy and idle, for replay and for tests."""
        return cls(tuple((spec, ExpertState()) for spec in specs))

    def __len__(self) -> int:
        return len(self.entries)
