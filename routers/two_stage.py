"""The two-stage router: what is this prompt and who would do well on it; who may answer, and who should.

Stage 1 (`assess`) embeds once and reads category, uncertainty, quality and answer length per expert from the vector.
Stage 2 (`select`) filters by the caller's caps, policy, health and load, prices what is left, and ranks.

Sources: category posterior with uncertainty and a generalist for the unsure, Composition of Experts (arXiv 2412.01868);
predicted quality per expert and priced constraints, Tryage (arXiv 2308.11601); masking one gate to any admissible
subset, MoE² (arXiv 2501.09410).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pointsman.experts.spec import PoolView
from pointsman.routers.arrays import Column, Mask
from pointsman.routers.classifiers.cards import CardReader
from pointsman.routers.estimators.call import CallFigures
from pointsman.routers.estimators.live import LiveFigures
from pointsman.routers.estimators.online import Corrections
from pointsman.routers.estimators.roster import Roster
from pointsman.routers.estimators.tokens import CompletionTokens
from pointsman.routers.protocols import Classifier, Embedder, QualityEstimator
from pointsman.routers.reading.asked import asked_of
from pointsman.routers.reading.languages import unread_language
from pointsman.routers.reading.spelling import SpellingCorrector
from pointsman.routers.selection.explanation import ArrayExplanation
from pointsman.routers.selection.filters.chain import FILTERS, applying_of, filters_for
from pointsman.routers.selection.filters.kind import FilterKind
from pointsman.routers.selection.pickers import by_utility
from pointsman.routers.selection.scorers.kind import Scorer
from pointsman.routers.selection.scorers.utility import SCORERS, scores_of, utility_terms
from pointsman.routers.selection.scorers.weighted import prices_decide
from pointsman.routers.types import (
    AnswerLengths,
    Assessment,
    CompleteExplanation,
    Decision,
    Explanation,
    Reason,
    RouteRequest,
)

_NO_LENGTHS = AnswerLengths()
#: Entropy from which on a prompt is looked into for slips of the keyboard.
_UNSURE_NATS = 0.4


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
        spelling: Mends slips of the keyboard in prompts that stage 1 is not sure of; None for nobody.
        languages: Those that the classifier was made for, as ISO 639 names them; None for all.
        filters: Who may answer, in the order they are asked.
        scorers: What weighs on the choice beside quality.
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
        spelling: SpellingCorrector | None = None,
        languages: Sequence[str] | None = None,
        filters: Sequence[FilterKind] = FILTERS,
        scorers: Sequence[Scorer] = SCORERS,
    ) -> None:
        self._id = id
        self._artifact_hash = artifact_hash
        self._embedder = embedder
        self._classifier = classifier
        self._quality = quality
        self._tokens = tokens
        self._uncertain_to_generalist = uncertain_to_generalist
        self._spelling = spelling
        self._languages = None if languages is None else frozenset(languages)
        self._filters = applying_of(filters)
        self._scorers = scores_of(scorers)
        self._cards = CardReader(embedder, classifier)
        self._last_read: _Read | None = None

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
    def embedder(self) -> Embedder:
        """Text to vector."""
        return self._embedder

    @property
    def classifier(self) -> Classifier:
        """Vector to category posterior."""
        return self._classifier

    @property
    def quality(self) -> QualityEstimator:
        """Vector and posterior to predicted quality."""
        return self._quality

    @property
    def slow(self) -> bool:
        """Whether `assess` would stall an event loop."""
        return self._embedder.slow

    def assess(self, request: RouteRequest) -> Assessment:
        """Everything that depends on the prompt alone. Pure."""
        # A turn that is a program's as a whole is all there is to read.
        text = asked_of(request.text) or request.text
        vector = self._embedder.embed((text,))[0]
        classification = self._classifier.classify(vector)
        if self._spelling is not None and classification.entropy > _UNSURE_NATS:
            mended = self._spelling.mended(text)
            if mended is not None:
                vector = self._embedder.embed((mended,))[0]
                classification = self._classifier.classify(vector)
        if self._languages is not None:
            classification.unread_language = unread_language(text, self._languages)
        return Assessment(
            classification,
            self._quality.estimate(vector, classification),
            _NO_LENGTHS if self._tokens is None else self._tokens.estimate(classification),
            self._artifact_hash,
        )

    def select(
        self, assessment: Assessment, request: RouteRequest, view: PoolView, learned: Corrections | None = None
    ) -> Decision:
        """Decide on an assessed prompt under a budget and a pool snapshot. Pure.

        Every expert that is not chosen has one rejection. An uncertain prompt goes first to the admissible generalists,
        and to experts whose card claims its domain; the others stay its fallbacks. That rule stands back when no
        generalist is admissible. When the caller's prices together outweigh quality, answer quality is not what
        decides, and the rule stands back for those who pay no more than the generalist would.
        """
        if not view.entries:
            return self._decision(request, assessment, (), Reason.INFEASIBLE, CompleteExplanation())
        roster, live = self._read(view, assessment)
        figures = CallFigures(
            roster,
            live,
            assessment,
            request.prompt_tokens,
            request.max_completion_tokens,
            learned,
            request.offers,
            request.work,
        )
        chain = filters_for(request, figures, self._filters)
        admissible = roster.positions
        if chain:
            passing = chain[0].passes(figures)
            for rule in chain[1:]:
                passing = passing & rule.passes(figures)
            admissible = admissible[passing]
        terms = utility_terms(request, figures, admissible, self._scorers)
        utility = np.sum(list(terms.values()), axis=0) if len(terms) > 1 else terms["quality"]
        order = by_utility(figures, admissible, utility, request.turn)
        reason = Reason.BEST_UTILITY
        if len(order) < 2:
            reason = Reason.ONLY_CANDIDATE if len(order) else Reason.INFEASIBLE
        ranked = admissible.take(order)
        preferred = len(ranked)
        if roster.generalists and self._uncertain_to_generalist and assessment.classification.for_generalist:
            general = roster.generalist.take(ranked)
            if np.count_nonzero(general):
                # What a null expert offers is an answer to this very prompt, whatever its category.
                general |= roster.claimed(assessment.classification).take(ranked)
                general |= roster.null.take(ranked)
                lifted = prices_decide(request.budget.weights)
                if lifted:
                    general |= _no_dearer((terms["quality"] - utility)[order], general)
                preferred = int(np.count_nonzero(general))
                first = (~general).argsort(kind="stable")
                order, ranked = order.take(first), ranked.take(first)
                if not (lifted and general[0]) and not roster.null[ranked[0]]:
                    reason = Reason.UNCERTAIN
        if request.offers.blocked_by is not None and len(order):
            reason = Reason.BLOCKED
        explanation = ArrayExplanation(
            figures, assessment.classification, chain, ranked, order, utility, terms, preferred
        )
        names = roster.names
        return self._decision(
            request, assessment, tuple([names[index] for index in ranked.tolist()]), reason, explanation
        )

    def decide(self, request: RouteRequest, view: PoolView) -> Decision:
        """`select(assess(request), request, view)`. Pure and deterministic."""
        return self.select(self.assess(request), request, view)

    def _read(self, view: PoolView, assessment: Assessment) -> tuple[Roster, LiveFigures]:
        """The pool as arrays. What was read last is kept: a pool is the same for many requests, a view for some."""
        kept = self._last_read
        if kept is not None and kept.view is view and kept.roster.knows(assessment):
            return kept.roster, kept.live
        specs, states = zip(*view.entries, strict=True)
        if kept is not None and kept.roster.specs == specs and kept.roster.knows(assessment):
            roster = kept.roster
        else:
            roster = Roster(specs, assessment, self._cards.claims)
        live = LiveFigures(roster, states)
        self._last_read = _Read(view, roster, live)
        return roster, live

    def _decision(
        self,
        request: RouteRequest,
        assessment: Assessment,
        ranked: tuple[str, ...],
        reason: Reason,
        explanation: Explanation,
    ) -> Decision:
        return Decision(
            request.id,
            ranked[0] if ranked else None,
            ranked[1:],
            reason,
            assessment.classification,
            self._id,
            assessment.artifact_hash,
            explanation,
        )


def _no_dearer(paid: Column, general: Mask) -> Mask:
    """The experts that cost no more than the best generalist, so more weight on cost never selects a costlier one."""
    return np.asarray(paid <= paid[general.argmax()])


@dataclass(slots=True)
class _Read:
    """A view and what was read from it."""

    view: PoolView
    roster: Roster
    live: LiveFigures
