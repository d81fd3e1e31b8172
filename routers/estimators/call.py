"""What each expert of a pool would do with one request: quality, answer length, latency, energy, cost.

All figures are arrays of shape (n,) over the pool, NaN where nothing is known, and worked out when first asked for: a
request without caps and prices pays for none of them.

Length: of one answer, never more than the caller's limit (or the expert's own where the caller states none), nor than
what is left of the context window. At worst it is that limit, unless lengths of answers to such prompts are known.

Prompt tokens are an estimate from bytes, times what the expert's reports made of such estimates
(`experts/token_counts.py`).

Cost and energy are linear in prompt and answer tokens, `E = b0 + b1 l_in + b2 l_out` (after MoE²,
arXiv 2501.09410), at the expected and at the worst-case length, of all answers that are asked for at once. Latency
takes these to be written side by side.

Latency: an expert follows its linear model, `ttft = base + l_in prefill`, `e2e = ttft + l_out tpot` (the same source).
What was learned from its calls goes before what is stated, and holds the load of the moment already
(`experts/speed.py`). A batch server slows as it fills: figures that are only stated are multiplied by
`1 + in_flight / max_concurrency` (a full expert takes twice as long; 64 stand for a limit that is not stated). The
worst case is that of the worst-case length, times a p95 factor, learned or stated. The idle case is the worst case of
an expert without a call: a cap that it would keep is broken by load alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pointsman.experts.spec import Source
from pointsman.routers.arrays import Column
from pointsman.routers.estimators.live import LiveFigures, SpeedFigures
from pointsman.routers.estimators.online import Corrections
from pointsman.routers.estimators.roster import Roster
from pointsman.routers.estimators.tokens import worst_tokens
from pointsman.routers.types import ONE_ANSWER, Assessment, Candidate, Estimates, Offers, Quality, Work

_NO_OFFERS = Offers()
_NO_ANSWER = Quality(math.nan, math.nan, Source.STATED)


@dataclass(frozen=True, slots=True)
class Estimate:
    """An amount per expert, as expected and in the worst case; hard caps are held against the worst case."""

    expected: Column
    worst: Column


@dataclass(frozen=True, slots=True)
class LatencyEstimate(Estimate):
    """A time per expert; `idle` is the worst case of an expert without a call."""

    idle: Column


class CallFigures:
    """The figures of one request over a pool.

    Args:
        roster: The experts.
        live: Their live figures.
        assessment: What stage 1 made of the prompt.
        prompt_tokens: Input tokens.
        limit_tokens: The caller's own limit of the answer, None when not stated.
        learned: What judged answers have taught since the artefact was fitted; None for nothing.
        offers: What the null experts make of the request.
        work: How much it asks for beyond one answer to one prompt.
    """

    def __init__(
        self,
        roster: Roster,
        live: LiveFigures,
        assessment: Assessment,
        prompt_tokens: int,
        limit_tokens: int | None,
        learned: Corrections | None = None,
        offers: Offers = _NO_OFFERS,
        work: Work = ONE_ANSWER,
    ) -> None:
        self.roster = roster
        self.live = live
        self.prompt_tokens = prompt_tokens
        self.limit_tokens = limit_tokens
        self._assessment = assessment
        self._learned = learned
        self._offers = offers
        self._work = work
        self._quality: Column | None = None

    @property
    def quality(self) -> Column:
        """Predicted quality; known for every expert, from its size if from nothing else. NaN without an answer."""
        # Every decision asks, and before Python 3.12 a cached_property takes a lock.
        if self._quality is None:
            self._quality = self._predicted()
        return self._quality

    def _predicted(self) -> Column:
        quality = self.roster.quality(self._assessment.quality, self._assessment.classification, self._learned)
        for index in self.roster.null_positions:
            quality[index] = self._offered(index).mean
        return quality

    @cached_property
    def learned(self) -> Column:
        """What of the quality was learned since the artefact was fitted."""
        learned = np.zeros(len(self.quality))
        if self._learned is not None:
            learned = self.quality - self.roster.quality(self._assessment.quality, self._assessment.classification)
            learned[list(self.roster.null_positions)] = 0.0
        return learned

    @cached_property
    def completion_tokens(self) -> Estimate:
        """Length of one answer in tokens."""
        roster, work = self.roster, self._work
        shortest = work.shortest_prompt_tokens
        prompt = (self.prompt_tokens if shortest is None else shortest) * self.live.tokens_typical
        room = np.maximum(roster.window_tokens - prompt, 0.0)
        if self.limit_tokens is not None:
            stated = np.full(len(room), float(self.limit_tokens))
        elif work.unread_limit is None:
            stated = roster.own_limit_tokens
        else:
            stated = np.full(len(room), math.inf)
        mean, q95 = roster.lengths(self._assessment.completion_tokens)
        if self._assessment.classification.unlike_training:
            q95 = np.full(len(room), math.nan)
        limit = np.minimum(room, stated)
        return Estimate(np.minimum(mean, limit), np.minimum(worst_tokens(q95, stated), limit))

    @cached_property
    def cost_usd(self) -> Estimate:
        """List price of the call in US dollars.

        What an expert finds in its cache, or reasons, nobody knows beforehand: it is expected to do neither, and the
        worst case takes every token at the highest of its prices.
        """
        roster, tokens, work = self.roster, self.completion_tokens, self._work
        prompt, each = self.prompt_tokens * roster.usd_per_prompt_mtok, roster.usd_per_completion_mtok
        expected = prompt * self.live.tokens_typical + tokens.expected * (each * float(work.answers))
        worst_prompt = self.prompt_tokens * self.live.tokens_worst + work.unseen_tokens
        worst = worst_prompt * roster.worst_usd_per_prompt_mtok
        worst = worst + tokens.worst * (roster.worst_usd_per_completion_mtok * float(work.answers))
        return Estimate(expected / 1e6, worst / 1e6)

    @cached_property
    def energy_j(self) -> Estimate:
        """Energy of the call in joules."""
        roster, tokens, work = self.roster, self.completion_tokens, self._work
        prompt, each = self.prompt_tokens * roster.j_per_prompt_token, roster.j_per_completion_token
        expected = roster.base_j + prompt * self.live.tokens_typical
        worst = roster.base_j + prompt * self.live.tokens_worst
        if work is not ONE_ANSWER:
            each = each * float(work.answers)
            worst = worst + work.unseen_tokens * roster.j_per_prompt_token
        return Estimate(expected + tokens.expected * each, worst + tokens.worst * each)

    @cached_property
    def ttft_ms(self) -> LatencyEstimate:
        """Time to first token."""
        roster, live = self.roster, self.live
        stated = roster.base_ms + self.prompt_tokens * roster.prefill_ms_per_token
        expected, factor = self._seen_ttft_ms(live.speed, stated * live.load)
        idle, idle_factor = self._seen_ttft_ms(live.idle_speed, stated)
        return LatencyEstimate(expected, expected * factor, idle * idle_factor)

    def _seen_ttft_ms(self, speed: SpeedFigures, stated: Column) -> tuple[Column, Column]:
        """The time to first token and its p95 factor: as seen, or where nothing was seen as stated."""
        seen = ~np.isnan(speed.ttft_ms)
        learned = speed.ttft_ms + self.prompt_tokens * speed.prefill_ms_per_token
        return np.where(seen, learned, stated), np.where(seen, speed.ttft_p95_factor, self.roster.p95_factor)

    @cached_property
    def latency_ms(self) -> LatencyEstimate:
        """End-to-end latency; unknown where the time to first token is."""
        roster, live, ttft, tokens = self.roster, self.live, self.ttft_ms, self.completion_tokens
        tpot, factor = self._seen_tpot_ms(live.speed, roster.tpot_ms * live.load)
        idle, idle_factor = self._seen_tpot_ms(live.idle_speed, roster.tpot_ms)
        return LatencyEstimate(
            ttft.expected + tokens.expected * tpot,
            ttft.worst + tokens.worst * tpot * factor,
            ttft.idle + tokens.worst * idle * idle_factor,
        )

    def _seen_tpot_ms(self, speed: SpeedFigures, stated: Column) -> tuple[Column, Column]:
        """The same for the time per output token."""
        seen = ~np.isnan(speed.tpot_ms)
        return np.where(seen, speed.tpot_ms, stated), np.where(seen, speed.tpot_p95_factor, self.roster.p95_factor)

    def estimates(self, index: int) -> Estimates:
        """All figures of one expert; None for unknown."""
        roster = self.roster
        spec = roster.specs[index]
        ttft, latency, energy, cost = self.ttft_ms, self.latency_ms, self.energy_j, self.cost_usd
        return Estimates(
            quality=self._quality_of(index),
            completion_tokens=float(self.completion_tokens.expected[index]),
            completion_tokens_worst=float(self.completion_tokens.worst[index]),
            ttft_ms=known(ttft.expected, index),
            ttft_ms_worst=known(ttft.worst, index),
            latency_ms=known(latency.expected, index),
            latency_ms_worst=known(latency.worst, index),
            energy_j=known(energy.expected, index),
            energy_j_worst=known(energy.worst, index),
            cost_usd=known(cost.expected, index),
            cost_usd_worst=known(cost.worst, index),
            energy_source=None if spec.energy is None else spec.energy.source,
            latency_source=self._latency_source(index),
        )

    def candidate(self, index: int, utility: float | None, terms: Mapping[str, float]) -> Candidate:
        """One expert in words of the decision; `utility` is None where a filter dropped it."""
        spec = self.roster.specs[index]
        offer = self._offers.of.get(spec.name) if self.roster.null[index] else None
        return Candidate(spec, self.live.states[index], self.estimates(index), utility, terms, offer)

    def _quality_of(self, index: int) -> Quality:
        if self.roster.null[index]:
            return self._offered(index)
        seen = self._assessment
        return self.roster.quality_of(index, seen.quality, seen.classification, self._learned)

    def _offered(self, index: int) -> Quality:
        """What a null expert says of its own answer."""
        offer = self._offers.of.get(self.roster.names[index])
        if offer is None or offer.quality is None:
            return _NO_ANSWER
        return Quality(offer.quality, math.nan, offer.source)

    def _latency_source(self, index: int) -> Source | None:
        state, model = self.live.states[index], self.roster.specs[index].latency
        if model is None:
            return None if state.speed.ttft_ms is None else Source.MEASURED
        observed = state.speed.ttft_ms is not None and state.speed.tpot_ms is not None
        return Source.MEASURED if observed else model.source


def known(column: Column, index: int) -> float | None:
    """One figure of a column; None where it is NaN."""
    value = float(column[index])
    return None if math.isnan(value) else value
