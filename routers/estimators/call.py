"""What each expert of a pool would do with one request: quality, answer length, latency, energy, cost.

All figures are arrays of shape (n,) over the pool, NaN where nothing is known, and worked out when first asked for: a
request without caps and prices pays for none of them.

Length: of one answer, never more than the caller's limit (or the expert's own where the caller states none), nor than
what is left of the context window. At worst it is that limit, unless lengths of answers to such prompts are known.

Cost and energy are linear in prompt and answer tokens, `E = b0 + b1 l_in + b2 l_out` (after MoE²,
arXiv 2501.09410), at the expected and at the worst-case length, of all answers that are asked for at once. Latency
takes these to be written side by side.

Latency: unloaded, an expert follows its linear model, `ttft = base + l_in prefill`, `e2e = ttft + l_out tpot` (the
same source). What the pool has observed lately goes before the model: an observed time per token replaces `tpot`, and
an observed time to first token is a floor under `l_in prefill`. A batch server slows as it fills: figures that are not
observed are multiplied by `1 + in_flight / max_concurrency` (a full expert takes twice as long); observed ones already
hold the load they were observed under. The worst case takes the factor in any case, times the model's p95 factor, at
the worst-case length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pointsman.experts.spec import Source
from pointsman.routers.arrays import Column
from pointsman.routers.estimators.live import LiveFigures
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
        room = np.maximum(roster.window_tokens - (self.prompt_tokens if shortest is None else shortest), 0.0)
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
        """List price of the call in US dollars."""
        roster, tokens, work = self.roster, self.completion_tokens, self._work
        prompt = self.prompt_tokens * roster.usd_per_prompt_mtok
        each = roster.usd_per_completion_mtok
        if work is ONE_ANSWER:
            return Estimate((prompt + tokens.expected * each) / 1e6, (prompt + tokens.worst * each) / 1e6)
        each = each * float(work.answers)
        worst = prompt + work.unseen_tokens * roster.usd_per_prompt_mtok + tokens.worst * each
        return Estimate((prompt + tokens.expected * each) / 1e6, worst / 1e6)

    @cached_property
    def energy_j(self) -> Estimate:
        """Energy of the call in joules."""
        roster, tokens, work = self.roster, self.completion_tokens, self._work
        prompt = roster.base_j + self.prompt_tokens * roster.j_per_prompt_token
        each = roster.j_per_completion_token
        if work is ONE_ANSWER:
            return Estimate(prompt + tokens.expected * each, prompt + tokens.worst * each)
        each = each * float(work.answers)
        worst = prompt + work.unseen_tokens * roster.j_per_prompt_token + tokens.worst * each
        return Estimate(prompt + tokens.expected * each, worst)

    @cached_property
    def ttft_ms(self) -> Estimate:
        """Time to first token."""
        roster, live = self.roster, self.live
        prefill = self.prompt_tokens * roster.prefill_ms_per_token
        unloaded = roster.base_ms + prefill
        factor = live.load * roster.p95_factor
        seen = ~np.isnan(live.ttft_ms)
        floor = np.fmax(live.ttft_ms, prefill)
        return Estimate(np.where(seen, floor, unloaded * live.load), np.where(seen, floor, unloaded) * factor)

    @cached_property
    def latency_ms(self) -> Estimate:
        """End-to-end latency; unknown where the time to first token is."""
        roster, live, ttft, tokens = self.roster, self.live, self.ttft_ms, self.completion_tokens
        seen = ~np.isnan(live.tpot_ms)
        tpot = np.where(seen, live.tpot_ms, roster.tpot_ms * live.load)
        tpot_worst = np.where(seen, live.tpot_ms, roster.tpot_ms) * (live.load * roster.p95_factor)
        return Estimate(ttft.expected + tokens.expected * tpot, ttft.worst + tokens.worst * tpot_worst)

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
            return None if state.ttft_ms is None else Source.MEASURED
        observed = state.ttft_ms is not None and state.tpot_ms is not None
        return Source.MEASURED if observed else model.source


def known(column: Column, index: int) -> float | None:
    """One figure of a column; None where it is NaN."""
    value = float(column[index])
    return None if math.isnan(value) else value
