"""The types of the decision: frozen values with little behaviour. Units stand in the names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from pointsman.experts.spec import Capability, ExpertSpec, ExpertState, Source
from pointsman.routers.arrays import Figures as Figures
from pointsman.routers.arrays import FloatArray as FloatArray
from pointsman.routers.assessment import AnswerLengths as AnswerLengths
from pointsman.routers.assessment import Assessment as Assessment
from pointsman.routers.assessment import Classification as Classification
from pointsman.routers.assessment import Doubt as Doubt
from pointsman.routers.assessment import Posterior as Posterior
from pointsman.routers.assessment import Qualities as Qualities
from pointsman.routers.assessment import Quality as Quality
from pointsman.routers.budget import Budget as Budget
from pointsman.routers.budget import Prices as Prices
from pointsman.routers.budget import Weights as Weights
from pointsman.routers.work import ONE_ANSWER as ONE_ANSWER
from pointsman.routers.work import Work as Work

_NO_BUDGET: Final = Budget()


class Flag(StrEnum):
    """Goals a user may write into the prompt, `[Flag: smallest model]` (Tryage, arXiv 2308.11601)."""

    SMALLEST = "smallest model"
    NEWEST = "most recent"
    SECURE = "secure"
    TERSE = "terse"
    PLAIN = "plain language"
    FASTEST = "fastest"
    CHEAPEST = "cheapest"
    GREENEST = "greenest"
    BEST = "best quality"


@dataclass(frozen=True, slots=True)
class Stay:
    """Who answered the previous turn, and what staying with it is worth: its prefix cache is warm, its style known.

    Attributes:
        expert: Its name.
        bonus: Added to its utility, in units of quality.
    """

    expert: str
    bonus: float


@dataclass(frozen=True, slots=True)
class Offer:
    """What a null expert makes of one request.

    Attributes:
        quality: Predicted quality of its answer in [0, 1]; None where it has none.
        detail: Where the answer comes from, or why there is none, in a few words.
        source: Where the quality comes from.
    """

    quality: float | None
    detail: str
    source: Source = Source.STATED


@dataclass(frozen=True, slots=True)
class Offers:
    """What the null experts make of one request.

    Attributes:
        of: Name of a null expert -> its offer.
        bonus: What an answer without a model is worth, in units of quality: the dial's bonus less its price.
        blocked_by: The null expert that must answer, because the operator blocks what is asked; None otherwise.
    """

    of: Mapping[str, Offer] = field(default_factory=lambda: MappingProxyType({}))
    bonus: float = 0.0
    blocked_by: str | None = None


# Made for every request, and freezing costs a third of the making: not frozen, and never changed.
@dataclass(slots=True)
class RouteRequest:
    """One request as the decision sees it.

    Attributes:
        id: Decision id to be.
        text: What the classifier reads: the latest user turn (with earlier ones as far as the embedder looks).
        prompt_tokens: Estimated input tokens of the whole request.
        max_completion_tokens: The caller's own limit of one answer, None when not stated.
        required: Capabilities without which no expert can answer.
        budget: Caps and weights.
        allowed: Names of the experts this caller may use; None for all.
        stay: Who answered this session's previous turn; None without a session.
        offers: What the null experts make of it.
        work: How much it asks for beyond one answer to one prompt.
        turn: Whose turn it is among experts of equal worth.
    """

    id: str
    text: str
    prompt_tokens: int
    max_completion_tokens: int | None = None
    required: frozenset[Capability] = frozenset()
    budget: Budget = _NO_BUDGET
    allowed: frozenset[str] | None = None
    stay: Stay | None = None
    offers: Offers = Offers()
    work: Work = ONE_ANSWER
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Estimates:
    """What one expert would do with one request. None where nothing is known: never 0 for unknown.

    `*_worst` is what hard caps are held against: the 95 % quantile of the answer's length (or the caller's own
    limit, whichever is smaller) times the latency model's p95 factor and the live queue.
    """

    quality: Quality
    completion_tokens: float
    completion_tokens_worst: float
    ttft_ms: float | None
    ttft_ms_worst: float | None
    latency_ms: float | None
    latency_ms_worst: float | None
    energy_j: float | None
    energy_j_worst: float | None
    cost_usd: float | None
    cost_usd_worst: float | None
    energy_source: Source | None = None
    latency_source: Source | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An expert: what is known, what is estimated and how it scored (`utility` is None when a filter dropped it).

    `offer` is what a null expert made of the request; None for models.
    """

    spec: ExpertSpec
    state: ExpertState
    estimates: Estimates
    utility: float | None = None
    #: The terms of the utility: quality positive, priced constraints negative.
    terms: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    offer: Offer | None = None


class Rule(StrEnum):
    """Why an expert may not, or did not, answer. The values appear in decisions, headers and metrics.

    These are the rules that code asks for by name. Caps have rules of their own (budget.py), and so may a filter:
    `selection/filters/chain.py` lists all that a filter can give.
    """

    UNHEALTHY = "unhealthy"
    ASLEEP = "asleep"
    SATURATED = "saturated"
    NOT_ALLOWED = "not_allowed"
    NOT_LOCAL = "not_local"
    CAPABILITY = "capability"
    CONTEXT_WINDOW = "context_window"
    NO_ANSWER = "no_answer"
    BLOCKED = "blocked"
    NOT_GENERALIST = "not_generalist"
    OUTSCORED = "outscored"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one expert is not the answer.

    Attributes:
        expert: Its name.
        rule: The enumerated reason: a `Rule`, or the name of a cap's or a filter's own.
        detail: A sentence with the figures, for people.
        transient: The reason is the present load or health; the same request may pass later (503, not 4xx).
    """

    expert: str
    rule: str
    detail: str
    transient: bool = False


class Reason(StrEnum):
    """Why the chosen expert was chosen."""

    BEST_UTILITY = "best_utility"
    UNCERTAIN = "uncertain_to_generalist"
    ONLY_CANDIDATE = "only_candidate"
    NAMED = "named_by_caller"
    BLOCKED = "blocked"
    INFEASIBLE = "infeasible"


class Score(NamedTuple):
    """How one expert fared in a decision, in short.

    Attributes:
        expert: Its name.
        quality: Predicted, with what was learned; NaN where a null expert has no answer.
        learned: What of it was learned since the artefact was fitted.
        utility: None when a filter dropped it.
        rule: Why it is not the answer; None for the chosen one.
    """

    expert: str
    quality: float
    learned: float
    utility: float | None
    rule: str | None


class Explanation(Protocol):
    """What can be told of a decision; a router may work it out when somebody asks."""

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every expert of the view, chosen or not, in the view's order."""

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """Why each of the others lost; one per expert that was not chosen, in the view's order."""

    @property
    def barred(self) -> Mapping[str, str]:
        """Experts that a filter dropped, and by which rule: cheap to ask for."""

    @property
    def scores(self) -> tuple[Score, ...]:
        """Every expert of the view in short, in the view's order: cheap to ask for."""

    def spends(self, expert: str) -> tuple[float | None, float | None]:
        """Expected cost in US dollars and energy in joules of an expert of the view; None where unknown. Cheap."""


@dataclass(frozen=True, slots=True)
class CompleteExplanation:
    """An explanation that is there in full; as it stands, that of a decision with nothing to explain."""

    candidates: tuple[Candidate, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    barred: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def scores(self) -> tuple[Score, ...]:
        """As the candidates and rejections say."""
        rules = {rejection.expert: rejection.rule for rejection in self.rejections}
        return tuple(
            Score(
                one.spec.name,
                one.estimates.quality.mean,
                one.estimates.quality.learned,
                one.utility,
                rules.get(one.spec.name),
            )
            for one in self.candidates
        )

    def spends(self, expert: str) -> tuple[float | None, float | None]:
        """As the candidate of that name says; unknown without one."""
        found = next((one.estimates for one in self.candidates if one.spec.name == expert), None)
        return (None, None) if found is None else (found.cost_usd, found.energy_j)


# Not frozen, as `RouteRequest`.
@dataclass(slots=True)
class Decision:
    """Who answers, who else could, and why.

    Attributes:
        id: Same as the request's.
        expert: The chosen expert, None when no expert is admissible (`reason` is `infeasible` then).
        fallbacks: Other admissible experts, best first: tried after an error, before the first byte.
        reason: Why this one.
        classification: Stage 1; None when the caller named an expert.
        router: Id of the router.
        artifact_hash: Of the fitted parameters.
        explanation: What can be told of it; `candidates` and `rejections` ask it.
        same_as: Id of the decision whose figures it tells, where it was made before for the same question.
    """

    id: str
    expert: str | None
    fallbacks: tuple[str, ...]
    reason: Reason
    classification: Classification | None
    router: str
    artifact_hash: str
    explanation: Explanation = field(default=CompleteExplanation(), repr=False, compare=False)
    same_as: str | None = None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every expert of the view, chosen or not, in the view's order."""
        return self.explanation.candidates

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """Why each of the others lost; one per expert that was not chosen."""
        return self.explanation.rejections

    @property
    def transient(self) -> bool:
        """No expert is admissible now, yet at least one is kept out by load or health alone."""
        return self.expert is None and any(rejection.transient for rejection in self.rejections)
