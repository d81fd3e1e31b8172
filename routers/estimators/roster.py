"""The specs of a pool as arrays: read once, and used by every decision on that pool."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import cached_property

import numpy as np

from pointsman.experts.spec import Capability, ExpertSpec, Source
from pointsman.routers.arrays import Column, Mask
from pointsman.routers.estimators.cards import CARD_STD, CONFIDENT, Claims
from pointsman.routers.estimators.online import Corrections
from pointsman.routers.estimators.prior import ANY_CATEGORY, quality_prior
from pointsman.routers.estimators.tokens import UNKNOWN_COMPLETION_TOKENS
from pointsman.routers.types import AnswerLengths, Assessment, Classification, Qualities, Quality

#: p95 over typical where only observations exist, the same as `LatencyModel`'s default.
OBSERVED_P95_FACTOR = 1.5

ReadCard = Callable[[str], Mapping[str, float] | None]

_NOWHERE = Classification({}, "", 0.0)


class Roster:
    """The experts of a pool, n of them in the view's order, as columns of shape (n,); NaN where a spec is silent.

    Args:
        specs: The experts.
        assessment: Any of the router's: which experts the artefact knows, and for which it knows answer lengths.
        read_card: Card -> claims on categories (`CardReader.claims`); None leaves cards unread.
    """

    def __init__(
        self, specs: tuple[ExpertSpec, ...], assessment: Assessment, read_card: ReadCard | None = None
    ) -> None:
        self.specs = specs
        self.names = tuple(spec.name for spec in specs)
        self.positions = np.arange(len(specs))
        #: Position of each name in alphabetical order: the last tie-break.
        self.name_rank = np.argsort(np.argsort(np.array(self.names)))
        self.generalist = np.array([spec.generalist for spec in specs], dtype=np.bool_)
        self.local = np.array([spec.local for spec in specs], dtype=np.bool_)
        self.null = np.array([spec.null for spec in specs], dtype=np.bool_)
        self.null_positions: tuple[int, ...] = tuple(np.flatnonzero(self.null).tolist())
        self.generalists = bool(self.generalist.any())
        self.max_concurrency = tuple(
            math.inf if spec.max_concurrency is None else spec.max_concurrency for spec in specs
        )
        self.most = _column(self.max_concurrency)
        self.batch = _column(spec.batch for spec in specs)
        #: Prompt plus completion; infinite where unknown, as is the expert's own end of an answer.
        self.window_tokens = _column((spec.context_window_tokens for spec in specs), math.inf)
        self.least_window_tokens = float(self.window_tokens.min())
        self.own_limit_tokens = _column((spec.default_max_tokens for spec in specs), math.inf)
        prices = [spec.price for spec in specs]
        self.usd_per_prompt_mtok = _column(None if price is None else price.input_usd_per_mtok for price in prices)
        self.usd_per_completion_mtok = _column(None if price is None else price.output_usd_per_mtok for price in prices)
        self.worst_usd_per_prompt_mtok = _column(
            None if price is None else price.worst_input_usd_per_mtok for price in prices
        )
        self.worst_usd_per_completion_mtok = _column(
            None if price is None else price.worst_output_usd_per_mtok for price in prices
        )
        models = [spec.latency for spec in specs]
        self.base_ms = _column(None if model is None else model.base_ms for model in models)
        self.prefill_ms_per_token = _column(None if model is None else model.prefill_ms_per_token for model in models)
        self.tpot_ms = _column(None if model is None else model.tpot_ms for model in models)
        self.p95_factor = _column(OBSERVED_P95_FACTOR if model is None else model.p95_factor for model in models)
        joules = [spec.energy for spec in specs]
        self.base_j = _column(None if model is None else model.base_j for model in joules)
        self.j_per_prompt_token = _column(None if model is None else model.j_per_prompt_token for model in joules)
        self.j_per_completion_token = _column(
            None if model is None else model.j_per_completion_token for model in joules
        )
        self.params_b = _column(spec.params_total_b for spec in specs)
        self.released_day = _column(_day(spec.released) for spec in specs)
        self.readability = _column(spec.readability for spec in specs)
        self._quality = _Lookup(specs, assessment.quality.experts)
        self._lengths = _Lookup(specs, assessment.completion_tokens.experts)
        # A prior that looks at the category is worked out per prompt, any other once.
        unknown = [index for index in range(len(specs)) if self._quality.at[index] < 0]
        self._varying = tuple(index for index in unknown if set(specs[index].quality_prior) - {ANY_CATEGORY})
        self._prior = np.full(len(specs), np.nan)
        self._prior[unknown] = [quality_prior(specs[index], _NOWHERE).mean for index in unknown]
        self._claims = None if read_card is None else self._read(read_card, unknown)
        self._unknown_lengths = np.full(len(specs), UNKNOWN_COMPLETION_TOKENS[0]), np.full(len(specs), np.nan)
        self._capable: dict[frozenset[Capability], tuple[Mask, bool]] = {}
        self._perhaps: dict[frozenset[Capability], Mask] = {}

    def knows(self, assessment: Assessment) -> bool:
        """Whether it was made for the artefact that the assessment comes from."""
        quality, lengths = assessment.quality.experts, assessment.completion_tokens.experts
        return (quality is self._quality.known or quality == self._quality.known) and (
            lengths is self._lengths.known or lengths == self._lengths.known
        )

    def capable(self, required: frozenset[Capability]) -> Mask:
        """Who can do all that is required. There are few capabilities, so every set of them is answered once."""
        return self._able(required)[0]

    def all_capable(self, required: frozenset[Capability]) -> bool:
        """Whether everybody can."""
        return self._able(required)[1]

    def perhaps_capable(self, required: frozenset[Capability]) -> Mask:
        """Of whom nobody says that they cannot."""
        perhaps = self._perhaps.get(required)
        if perhaps is None:
            perhaps = np.array([spec.may_be_capable(required) for spec in self.specs], dtype=np.bool_)
            self._perhaps[required] = perhaps
        return perhaps

    def _able(self, required: frozenset[Capability]) -> tuple[Mask, bool]:
        able = self._capable.get(required)
        if able is None:
            mask = np.array([required <= spec.capabilities for spec in self.specs], dtype=np.bool_)
            able = self._capable[required] = mask, bool(mask.all())
        return able

    def quality(
        self, predicted: Qualities, classification: Classification, learned: Corrections | None = None
    ) -> Column:
        """Predicted quality of every expert: the artefact's, else the operator's, else from its card or its size.

        What judged answers have taught since moves it, whatever it comes from.
        """
        quality = self._unlearned(predicted, classification)
        if learned is None:
            return quality
        return learned.corrected(self.names, quality, self._std(predicted), classification)

    def _unlearned(self, predicted: Qualities, classification: Classification) -> Column:
        if self._quality.all_known:
            return np.asarray(predicted.mean.take(self._quality.at), dtype=np.float64)
        quality = self._prior.copy()
        quality[self._quality.rows] = predicted.mean.take(self._quality.columns)
        for index in self._varying:
            quality[index] = quality_prior(self.specs[index], classification).mean
        if self._claims is not None:
            quality[self._claims.rows] = self._claims.quality(classification, quality)
        return quality

    def quality_of(
        self, index: int, predicted: Qualities, classification: Classification, learned: Corrections | None = None
    ) -> Quality:
        """As `quality`, for one expert, with its uncertainty and source."""
        mean = float(self._unlearned(predicted, classification)[index])
        std = float(self._std(predicted)[index])
        if index in self._quality.rows:
            source = predicted.sources[self._quality.at[index]]
        elif self._carded[index]:
            source = Source.STATED if self.claimed(classification)[index] else Source.ESTIMATED
        else:
            source = quality_prior(self.specs[index], classification).source
        if learned is None:
            return Quality(mean, std, source)
        return learned.corrected_one(self.names[index], Quality(mean, std, source), classification)

    def claimed(self, classification: Classification) -> Mask:
        """Whose card claims the prompt's domain, shape (n,)."""
        claimed = np.zeros(len(self.specs), dtype=np.bool_)
        if self._claims is not None and not classification.out_of_scope:
            claimed[self._claims.rows] = self._claims.match(classification) >= CONFIDENT
        return claimed

    def _std(self, predicted: Qualities) -> Column:
        """Uncertainty of the quality without what was learned since, NaN where unknown, shape (n,)."""
        std = np.where(self._carded, CARD_STD, np.nan)
        std[self._quality.rows] = predicted.std.take(self._quality.columns)
        return std

    @cached_property
    def _carded(self) -> Mask:
        carded = np.zeros(len(self.specs), dtype=np.bool_)
        if self._claims is not None:
            carded[self._claims.rows] = True
        return carded

    def _read(self, read_card: ReadCard, unknown: list[int]) -> Claims | None:
        """The claims of experts whose quality neither an artefact nor the operator states."""
        silent = [index for index in unknown if not self.specs[index].quality_prior]
        found = {index: claims for index in silent if (claims := read_card(self.specs[index].card)) is not None}
        if not found:
            return None
        rows = np.array(list(found), dtype=np.intp)
        return Claims(rows, list(found.values()), self._prior[rows], len(self.specs))

    def lengths(self, predicted: AnswerLengths) -> tuple[Column, Column]:
        """Expected answer length and its 95 % quantile in tokens, before any limit; NaN where nothing was fitted."""
        mean, q95 = self._unknown_lengths
        lookup = self._lengths
        if len(lookup.rows):
            mean, q95 = mean.copy(), q95.copy()
            mean[lookup.rows] = predicted.mean.take(lookup.columns)
            q95[lookup.rows] = predicted.q95.take(lookup.columns)
        return mean, q95


class _Lookup:
    """Where the pool's experts stand among those an artefact knows."""

    def __init__(self, specs: tuple[ExpertSpec, ...], known: tuple[str, ...]) -> None:
        position = {name: index for index, name in enumerate(known)}
        self.known = known
        self.at = np.array([position.get(spec.artifact_name, -1) for spec in specs], dtype=np.intp)
        self.rows = np.flatnonzero(self.at >= 0)
        self.columns = self.at[self.rows]
        self.all_known = len(self.rows) == len(specs)


def _column(values: Iterable[float | None], unknown: float = math.nan) -> Column:
    return np.array([unknown if value is None else value for value in values], dtype=np.float64)


def _day(released: str | None) -> int | None:
    if released is None:
        return None
    try:
        return date.fromisoformat(released).toordinal()
    except ValueError:
        return None
