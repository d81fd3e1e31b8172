"""How fast one expert answers under the load it has, learned online from its own calls.

The time that a call takes is linear in what the gateway itself knows when the call goes out, fitted by least squares:

    T = b + p l_in + w W + Σ_k a_k max(0, n - k) + l_out (d + Σ_m e_m min(n, m))

with l_in the prompt's tokens, W the prompt tokens of calls that wait for their first byte, n the calls in flight, and
l_out the tokens of the answer so far. A first byte is an observation with l_out = 0, the rest of a stream one of the
last terms, a whole answer one of all. The knees k and m stand for the width of the engine's batch, which nobody has to
know: up to it calls slow each other's answers, beyond it they queue. All factors are at least 0, so the time to first
token is convex in the load and the time per token concave. Linear in both lengths after MoE² (arXiv 2501.09410); the
terms of load are ours.

Observations weigh by 1/T, between least squares of the time and of its relative error, and half as much after
every `HALF_LIFE_S`. What burst and idleness share must not be taken from the burst alone: b and d never exceed what was
seen of calls that met an idle expert. As long as the expert gets no call, that bound fades towards the least ever seen
(or the stated model), so that the past alone locks no expert out, and one call corrects it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import mul
from typing import Final

from pointsman.experts.spec import UNSEEN, LatencyModel, Speed

#: After how long an observation weighs half.
HALF_LIFE_S: Final = 120.0

#: After how long without a call half of what was seen on the idle expert is forgotten.
IDLE_HALF_LIFE_S: Final = 30.0

#: Calls in flight from which on one more may cost more.
KNEES: Final = (0, 4, 8, 16, 32, 64, 128, 256)

#: Calls in flight from which on an answer gets no slower.
WIDTHS: Final = (16, 64, 256)

#: What the figures are in the middle of their range, so that one weight of the prior fits all of them.
_TYPICAL: Final = (1.0, 500.0, 1000.0, *(8.0 for _ in KNEES), 100.0, *(800.0 for _ in WIDTHS))
_FACTORS: Final = len(_TYPICAL)
_PER_TOKEN: Final = _FACTORS - 1 - len(WIDTHS)

#: How many observations the stated model (or nothing) counts for.
_PRIOR_WEIGHT: Final = 0.05
_POWER: Final = 1.0
_LEAST_MS: Final = 0.1

#: Passes over the factors at one fit. Each fit goes on from the one before, so few will do.
_PASSES: Final = 6
#: The least time between two fits.
_FIT_EVERY_S: Final = 0.1
#: Half-lives after which the sums are scaled anew: weights grow instead of sums fading, which costs less.
_MOST_HALVES: Final = 50.0

#: The worst case is the factor that this share of the answers keeps, followed in steps of the logarithm.
_KEPT_SHARE: Final = 0.95
_STEP: Final = 0.1
_LEAST_SPREAD: Final = math.log(1.1)
_MOST_SPREAD: Final = math.log(8.0)
_USUAL_P95: Final = LatencyModel(0.0, 0.0, 0.0).p95_factor

_IDLE_LEFT: Final = 0.7

#: The pace of fewer tokens is an accident: several may come in one piece, with the first.
_TELLING_TOKENS: Final = 16


@dataclass(frozen=True, slots=True)
class Load:
    """What a call meets when it goes out.

    Attributes:
        in_flight: Calls that others have in flight with the expert.
        awaiting_tokens: Prompt tokens of those that wait for their first byte.
    """

    in_flight: int = 0
    awaiting_tokens: int = 0


NO_LOAD: Final = Load()


class SpeedModel:
    """The speed of one expert.

    Args:
        stated: Its latency without load as the operator states it, None where not stated.
    """

    __slots__ = (
        "_began_s",
        "_factors",
        "_fitted_s",
        "_gram",
        "_idle_token",
        "_idle_ttft",
        "_moment",
        "_new",
        "_prior",
        "_seen_s",
        "_seen_tokens",
        "_token_spread",
        "_ttft_spread",
    )

    def __init__(self, stated: LatencyModel | None) -> None:
        prior = [0.0] * _FACTORS
        if stated is not None:
            prior[0], prior[1], prior[_PER_TOKEN] = stated.base_ms, stated.prefill_ms_per_token, stated.tpot_ms
        self._prior = prior
        self._factors = list(prior)
        self._gram = [[0.0] * _FACTORS for _ in range(_FACTORS)]
        self._moment = [0.0] * _FACTORS
        self._idle_ttft = _IdleBound(None if stated is None else stated.base_ms)
        self._idle_token = _IdleBound(None if stated is None else stated.tpot_ms)
        usual = math.log(_USUAL_P95 if stated is None else stated.p95_factor)
        self._ttft_spread, self._token_spread = _Spread(usual), _Spread(usual)
        self._seen_s: float | None = None
        self._seen_tokens = False
        self._began_s = 0.0
        self._fitted_s = -math.inf
        self._new = False

    def first_byte(self, load: Load, prompt_tokens: int, ttft_ms: float, now_s: float) -> None:
        """A first byte came."""
        if self._seen_s is not None:
            self._ttft_spread.judge(self._foreseen(load, prompt_tokens, 0), ttft_ms)
        self._observe(load, 1, prompt_tokens, 0, ttft_ms, now_s)
        if not load.in_flight:
            self._idle_ttft.see(ttft_ms - self._factors[1] * prompt_tokens)
        self._idle_ttft.least(ttft_ms)

    def rest(self, load: Load, tokens: int, rest_ms: float, now_s: float) -> None:
        """The rest of a stream came: so many tokens after the first."""
        if self._seen_tokens:
            self._token_spread.judge(self._tpot_ms(load.in_flight) * tokens, rest_ms)
        self._observe(load, 0, 0, tokens, rest_ms, now_s)
        self._seen_tokens = True
        if not load.in_flight:
            self._idle_token.see(rest_ms, tokens)
        if tokens >= _TELLING_TOKENS:
            self._idle_token.least(rest_ms / tokens)

    def whole(self, load: Load, prompt_tokens: int, tokens: int, latency_ms: float, now_s: float) -> None:
        """A whole answer of so many tokens came at once."""
        if self._seen_tokens:
            self._token_spread.judge(self._foreseen(load, prompt_tokens, tokens), latency_ms)
        self._observe(load, 1, prompt_tokens, tokens, latency_ms, now_s)
        self._seen_tokens = True
        # How much of it was the first token's and how much the others' is for the fit to say.
        self._idle_ttft.least(latency_ms)
        if tokens >= _TELLING_TOKENS:
            self._idle_token.least(latency_ms / tokens)

    def under(self, load: Load, now_s: float) -> Speed:
        """What a call may expect that goes out now, under this load; nothing where no call was seen."""
        seen_s = self._seen_s
        if seen_s is None:
            return UNSEEN
        fresh = 0.5 ** ((now_s - seen_s) / IDLE_HALF_LIFE_S)
        self._fit(now_s, fresh)
        return Speed(
            self._foreseen(load, 0, 0),
            self._factors[1],
            self._tpot_ms(load.in_flight) if self._seen_tokens else None,
            self._ttft_spread.factor(fresh),
            self._token_spread.factor(fresh),
        )

    def holds_until_s(self, now_s: float) -> float:
        """Until when `under` says about the same if nothing else happens."""
        if self._seen_s is None or (self._idle_ttft.firm and self._idle_token.firm):
            return math.inf
        return now_s + IDLE_HALF_LIFE_S / 8

    def _foreseen(self, load: Load, prompt_tokens: int, tokens: int) -> float:
        row = _row(load, 1, prompt_tokens, tokens)
        return sum([self._factors[i] * value for i, value in row])

    def _tpot_ms(self, in_flight: int) -> float:
        factors = self._factors[_PER_TOKEN:]
        return factors[0] + sum([f * min(in_flight, width) for f, width in zip(factors[1:], WIDTHS, strict=True)])

    def _observe(self, load: Load, begins: int, prompt_tokens: int, tokens: int, took_ms: float, now_s: float) -> None:
        took_ms = max(took_ms, _LEAST_MS)
        weight = took_ms**-_POWER * self._growth(now_s)
        row = _row(load, begins, prompt_tokens, tokens)
        for i, value in row:
            weighted, line = weight * value, self._gram[i]
            for j, other in row:
                line[j] += weighted * other
            self._moment[i] += weighted * took_ms
        self._seen_s = now_s
        self._new = True

    def _growth(self, now_s: float) -> float:
        """What an observation of this moment weighs beside one of `_began_s`."""
        halves = (now_s - self._began_s) / HALF_LIFE_S
        if halves > _MOST_HALVES:
            left = 0.5**halves
            self._gram = [[value * left for value in line] for line in self._gram]
            self._moment = [value * left for value in self._moment]
            self._began_s, halves = now_s, 0.0
        return float(2.0**halves)

    def _fit(self, now_s: float, fresh: float) -> None:
        """The factors now: least squares with a weak prior, all at least 0, by descent along one after the other."""
        factors = self._factors
        most = [math.inf] * _FACTORS
        most[0], most[_PER_TOKEN] = self._idle_ttft.most(fresh), self._idle_token.most(fresh)
        if self._new and now_s - self._fitted_s >= _FIT_EVERY_S:
            self._new, self._fitted_s = False, now_s
            typical_ms = max(self._prior[0], most[0] if math.isfinite(most[0]) else 0.0, 1.0)
            belief = _PRIOR_WEIGHT * typical_ms**-_POWER * self._growth(now_s)
            for _ in range(_PASSES):
                for i in range(_FACTORS):
                    line, prior = self._gram[i], belief / _TYPICAL[i] ** 2
                    pull = self._moment[i] - sum(map(mul, line, factors)) + prior * (self._prior[i] - factors[i])
                    factors[i] = min(max(factors[i] + pull / (line[i] + prior), 0.0), most[i])
        else:
            factors[0] = min(factors[0], most[0])
            factors[_PER_TOKEN] = min(factors[_PER_TOKEN], most[_PER_TOKEN])


class _Spread:
    """The logarithm of the factor between what is foreseen and the worst of what comes."""

    __slots__ = ("_now", "_usual")

    def __init__(self, usual: float) -> None:
        self._usual = self._now = usual

    def judge(self, foreseen_ms: float, took_ms: float) -> None:
        """Follow what came."""
        off = math.log(max(took_ms, _LEAST_MS) / max(foreseen_ms, _LEAST_MS))
        step = _KEPT_SHARE if off > self._now else _KEPT_SHARE - 1.0
        self._now = min(max(self._now + _STEP * step, _LEAST_SPREAD), _MOST_SPREAD)

    def factor(self, fresh: float) -> float:
        """The factor, of which the share `fresh` in [0, 1] is not forgotten yet."""
        return math.exp(self._usual + (self._now - self._usual) * fresh)


class _IdleBound:
    """The most that a figure of an idle expert may be: what was seen of calls that met it idle."""

    __slots__ = ("_least", "_stated", "_sum", "_weights")

    def __init__(self, stated: float | None) -> None:
        self._stated = stated
        self._least = math.inf
        self._sum = self._weights = 0.0

    @property
    def _seen(self) -> float | None:
        return self._sum / self._weights if self._weights else None

    @property
    def firm(self) -> bool:
        """Whether the bound does not fade, because nothing lower is known."""
        seen = self._seen
        return seen is None or seen <= 1.25 * self._floor

    @property
    def _floor(self) -> float:
        return self._least if self._stated is None else min(self._least, max(self._stated, 0.0))

    def least(self, value: float) -> None:
        """A call took as much, whatever the load: an idle expert needs no more."""
        self._least = min(self._least, value)

    def see(self, amount: float, weight: float = 1.0) -> None:
        """A call took as much for so many units that met the expert idle."""
        self._sum = self._sum * _IDLE_LEFT + max(amount, 0.0)
        self._weights = self._weights * _IDLE_LEFT + weight

    def most(self, fresh: float) -> float:
        """The bound, of which the share `fresh` in [0, 1] is not forgotten yet."""
        seen = self._seen
        if seen is None:
            return self._least
        floor = min(self._floor, seen)
        return floor + (seen - floor) * fresh


def _row(load: Load, begins: int, prompt_tokens: int, tokens: int) -> list[tuple[int, float]]:
    """What the factors are multiplied with, without the zeros: a call's beginning, its tokens, or both."""
    n, row = load.in_flight, []
    if begins:
        row = [(0, 1.0), (1, float(prompt_tokens)), (2, float(load.awaiting_tokens))]
        row += [(3 + k, float(n - knee)) for k, knee in enumerate(KNEES) if n > knee]
    if tokens:
        row.append((_PER_TOKEN, float(tokens)))
        if n:
            row += [(_PER_TOKEN + 1 + k, float(tokens * min(n, width))) for k, width in enumerate(WIDTHS)]
    return row
