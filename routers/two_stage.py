"""The two-stage router: what is this prompt and who would do well on it; who may answer, and who should.

Stage 1 (`assess`) embeds once and reads category, uncertainty, quality and answer length per expert from the vector.
Stage 2 (`select`) filters by the caller's caps, policy, health and load, prices what is left, and ranks.

Sources: category posterior with uncertainty and a generalist for the unsure, Composition of Experts (arXiv 2412.01868);
predicted quality per expert and priced constraints, Tryage (arXiv 2308.11601); masking one gate to any admissible
subset, MoE² (arXiv 2501.09410).
"""

from __future__ import annotations

from collections.abc import Mapping

from experts.spec import PoolView
from routers.estimators.candidate import build_candidate
from routers.estimators.tokens import CompletionTokens
from routers.protocols import Classifier, Embedder, Picker, QualityEstimator
from routers.selection.filters import filters_for
from routers.selection.pickers import HighestUtility
from routers.selection.scorers import score_candidates
from routers.types import (
    AnswerLengths,
    Assessment,
    Candidate,
    Decision,
    Reason,
    Rejection,
    RouteRequest,
    Rule,
    Weights,
)

_NO_LENGTHS = AnswerLengths()


class TwoStageRouter:
    """Decide by category, predicted quality, caps and prices.

    Args:
        id: Name and version, as it appears in decisions.
        artifact_hash: Of the fitted parameters, empty without an artefact.
        embedder: Text to vector.
        classifier: Vector to category posterior.
        quality: Vector and posterior to predicted quality per expert.
        tokens: Answer lengths, or None.
        uncertain_to_generalist: Whether uncertain prompts go to generalists first.
        picker: Ranks what is left.
    """

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 (the protocol's word)
        artifact_hash: str,
        embedder: Embedder,
        classifier: Classifier,
        quality: QualityEstimator,
        tokens: CompletionTokens | None = None,
        uncertain_to_generalist: bool = True,
        picker: Picker | None = None,
    ) -> None:
        self._id = id
        self._artifact_hash = artifact_hash
        self._embedder = embedder
        self._classifier = classifier
        self._quality = quality
        self._tokens = tokens
        self._uncertain_to_generalist = uncertain_to_generalist
        self._picker = HighestUtility() if picker is None else picker

    @property
    def id(self) -> str:
        """Name and version, as it appears in decisions."""
        return self._id

    @property
    def artifact_hash(self) -> str:
        """Hash of the fitted parameters, empty when there are none."""
        return self._artifact_hash

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories of stage 1."""
        return self._classifier.categories

    @property
    def slow(self) -> bool:
        """Whether `assess` would stall an event loop."""
        return self._embedder.slow

    def assess(self, request: RouteRequest) -> Assessment:
        """Everything that depends on the prompt alone. Pure."""
        vector = self._embedder.embed((request.text,))[0]
        classification = self._classifier.classify(vector)
        return Assessment(
            classification,
            self._quality.estimate(vector, classification),
            _NO_LENGTHS if self._tokens is None else self._tokens.estimate(classification),
            self._artifact_hash,
        )

    def select(self, assessment: Assessment, request: RouteRequest, view: PoolView) -> Decision:
        """Decide on an assessed prompt under a budget and a pool snapshot. Pure.

        Every expert that is not chosen has one rejection. An uncertain prompt goes to the admissible generalists first;
        the others stay its fallbacks. That rule stands back when no generalist is admissible, and when the caller's
        prices together outweigh quality: then answer quality is not what decides.
        """
        chain = filters_for(request)
        candidates: list[Candidate] = []
        admissible: list[Candidate] = []
        rejections: dict[str, Rejection] = {}
        for spec, state in view.entries:
            candidate = build_candidate(spec, state, request, assessment)
            candidates.append(candidate)
            for rule in chain:
                rejection = rule.reject(request, candidate)
                if rejection is not None:
                    rejections[spec.name] = rejection
                    break
            else:
                admissible.append(candidate)
        if not admissible:
            return self._decision(request, assessment, candidates, None, (), Reason.INFEASIBLE, rejections)
        ranked = list(self._picker.rank(request, score_candidates(request, admissible)))
        reason = Reason.ONLY_CANDIDATE if len(ranked) == 1 else Reason.BEST_UTILITY
        if self._uncertain_to_generalist and assessment.classification.uncertain:
            generalists = [candidate for candidate in ranked if candidate.spec.generalist]
            if generalists and not _prices_decide(request.budget.weights):
                specialists = [candidate for candidate in ranked if not candidate.spec.generalist]
                ranked = generalists + specialists
                reason = Reason.UNCERTAIN
                for candidate in specialists:
                    rejections[candidate.spec.name] = _not_generalist(candidate, assessment)
        best = ranked[0]
        for candidate in ranked[1:]:
            if candidate.spec.name not in rejections:
                rejections[candidate.spec.name] = _outscored(candidate, best)
        scored = {candidate.spec.name: candidate for candidate in ranked}
        return self._decision(
            request,
            assessment,
            [scored.get(candidate.spec.name, candidate) for candidate in candidates],
            best.spec.name,
            tuple(candidate.spec.name for candidate in ranked[1:]),
            reason,
            rejections,
        )

    def decide(self, request: RouteRequest, view: PoolView) -> Decision:
        """`select(assess(request), request, view)`. Pure and deterministic."""
        return self.select(self.assess(request), request, view)

    def _decision(
        self,
        request: RouteRequest,
        assessment: Assessment,
        candidates: list[Candidate],
        expert: str | None,
        fallbacks: tuple[str, ...],
        reason: Reason,
        rejections: Mapping[str, Rejection],
    ) -> Decision:
        return Decision(
            id=request.id,
            expert=expert,
            fallbacks=fallbacks,
            reason=reason,
            classification=assessment.classification,
            candidates=tuple(candidates),
            rejections=tuple(
                rejections[candidate.spec.name] for candidate in candidates if candidate.spec.name in rejections
            ),
            router=self._id,
            artifact_hash=assessment.artifact_hash,
        )


def _prices_decide(weights: Weights) -> bool:
    prices = weights.latency + weights.energy + weights.cost + weights.size + weights.recency
    return prices > weights.quality


def _not_generalist(candidate: Candidate, assessment: Assessment) -> Rejection:
    seen = assessment.classification
    if seen.out_of_scope:
        why = "the prompt resembles no known category"
    elif seen.category in seen.posterior:
        why = f"no expert has been measured on prompts of the category {seen.category!r}"
    else:
        why = f"the prompt's category is uncertain (entropy {seen.entropy:.2f} nats)"
    return Rejection(candidate.spec.name, Rule.NOT_GENERALIST, f"{why}, and it is no generalist")


def _outscored(candidate: Candidate, best: Candidate) -> Rejection:
    return Rejection(
        candidate.spec.name,
        Rule.OUTSCORED,
        f"utility {candidate.utility:.3f} against {best.utility:.3f} of {best.spec.name} "
        f"(predicted quality {candidate.estimates.quality.mean:.3f} against {best.estimates.quality.mean:.3f})",
    )
