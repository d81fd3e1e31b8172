"""Settings of the null experts: members of the pool that answer without a model."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from pointsman.gateway.settings.base import Name, Node, NonNegative, Positive, Share

_Text = Annotated[str, Field(min_length=1, max_length=20_000)]


class NullKind(StrEnum):
    """The null experts; the value is their name in the pool."""

    CALCULATOR = "calculator"
    CONSTANT = "constant"
    REFUSAL = "refusal"
    EXACT_CACHE = "exact-cache"
    SEMANTIC_CACHE = "semantic-cache"


class ConstantSettings(Node):
    """One constant answer."""

    ask: Annotated[tuple[_Text, ...], Field(min_length=1)]
    """How people ask for it; a prompt that means the same as one of these gets the answer."""
    answer: _Text
    """The answer, word for word."""
    quality: Share = 1.0
    """How good it is, in [0, 1]; what it is ranked by against the models."""


class ConstantsSettings(Node):
    """Constant answers, such as those of a list of frequent questions."""

    entries: tuple[ConstantSettings, ...] = ()
    """The answers; none: there is no such expert."""
    threshold: Share = 0.9
    """Least cosine between a prompt and an example at which the two count as the same question."""


class TopicSettings(Node):
    """One blocked topic."""

    name: Name
    """What it is called in decisions."""
    examples: tuple[_Text, ...] = ()
    """Prompts of that topic; one that means the same as any of these is refused."""
    categories: tuple[str, ...] = ()
    """Categories of the router that are refused as a whole."""

    @model_validator(mode="after")
    def _states_something(self) -> Self:
        if not self.examples and not self.categories:
            raise ValueError("state examples or categories")
        return self


class RefusalSettings(Node):
    """What is refused, whoever asks and whichever expert the caller names."""

    topics: tuple[TopicSettings, ...] = ()
    """The blocked topics; none: there is no such expert."""
    message: _Text = "I cannot help with that."
    """What the caller reads; it ends with the finish reason `content_filter`."""
    threshold: Share = 0.7
    """Least cosine between a prompt and an example of a topic at which the prompt is refused."""
    probability: Share = 0.5
    """Least probability of a topic's categories together at which a prompt is refused."""
    system_prompts: bool = True
    """Look for blocked topics, and for harm (`safety`), in system prompts, too. One that itself forbids such things in
    many words is refused for them: off where you trust who writes them."""


class AnswerCacheSettings(Node):
    """Answers that models gave, kept per tenant. In Redis they are shared by all replicas."""

    exact: bool = False
    """Give a kept answer again to the same request: same messages, same parameters."""
    semantic: bool = False
    """Give a kept answer to a question that says the same in other words: same numbers, polarity, names and words that
    carry meaning, everything before it in the conversation equal, and a cosine of at least `threshold`."""
    threshold: Share = 0.7
    """Least cosine between two questions that say the same."""
    any_temperature: bool = False
    """Keep answers that were sampled, too. Off: only those of requests with `temperature: 0`."""
    local_entries: int = Field(default=2_000, ge=1)
    """Answers each process keeps itself, in front of Redis."""
    ttl_s: Positive = 3_600.0
    """Seconds an answer is kept."""
    max_answer_bytes: int = Field(default=256 * 1024, ge=1)
    """Longest answer that is kept, as it came over the wire."""


class NullExpertSettings(Node):
    """Members of the pool that answer without a model, where they have an answer. All are off by default."""

    share: Share = 1.0
    """The dial τ: the largest share of requests that they may answer together, refusals aside; 1 for no limit."""
    window: int = Field(default=500, ge=1)
    """Requests over which the share holds within two percentage points."""
    bonus: NonNegative = 0.05
    """What an answer at once is worth, in units of predicted quality."""
    beside_system_prompts: bool = False
    """Let the calculator and the constants answer requests with a system prompt, which they do not read."""
    calculator: bool = False
    """Work out prompts that are arithmetic and nothing else."""
    constants: ConstantsSettings = ConstantsSettings()
    """Constant answers."""
    refusal: RefusalSettings = RefusalSettings()
    """Blocked topics."""
    answers: AnswerCacheSettings = AnswerCacheSettings()
    """The answer cache."""

    @property
    def kinds(self) -> tuple[NullKind, ...]:
        """Those that are switched on, in the order of the pool."""
        on = {
            NullKind.CALCULATOR: self.calculator,
            NullKind.CONSTANT: bool(self.constants.entries),
            NullKind.REFUSAL: bool(self.refusal.topics),
            NullKind.EXACT_CACHE: self.answers.exact,
            NullKind.SEMANTIC_CACHE: self.answers.semantic,
        }
        return tuple(kind for kind, switched_on in on.items() if switched_on)
