"""Fit the vote: maximum likelihood of the right answer over random sets of experts, with shrunken pair terms."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pointsman.routers.arrays import Figures, Floats, Ints
from pointsman.routers.evidence.vote import VoteModel, group_answers, logit, surprise

#: Penalties: on the difference from the independent weighted vote, and on the pair terms.
PENALTY = 1.0
PAIR_PENALTY = 20.0

#: Random sets per prompt, and their largest size.
SETS_PER_PROMPT = 3
LARGEST_SET = 6
MAX_ITER = 60


def fit_vote(
    quality: Figures,
    codes: npt.NDArray[np.integer],
    scores: Figures,
    completion_tokens: Figures,
    seed: int,
) -> VoteModel:
    """Fit on outcomes of m experts on n prompts.

    An answer counts as right when its score is at least a half and nobody in the set did better.

    Args:
        quality: Out-of-fold predictions, shape (n, m).
        codes: Answers, negative for none, shape (n, m).
        scores: Shape (n, m); experts without a score are left out of the sets drawn for that prompt.
        completion_tokens: Shape (n, m), NaN where unknown.
        seed: Of the sets drawn.
    """
    from scipy.optimize import minimize

    n, m = scores.shape
    mean, std = _length_habits(completion_tokens)
    start = _start(m)
    rng = np.random.default_rng(seed)
    rows = np.tile(np.arange(n), SETS_PER_PROMPT)
    asked = _draw(rng, np.isfinite(scores)[rows])
    keep = (asked >= 0).any(axis=1)
    rows, asked = rows[keep], asked[keep]
    problem = _Problem(rows, asked, quality, codes, scores, surprise(completion_tokens, mean, std))
    found = minimize(problem.loss, start, args=(start,), jac=True, method="L-BFGS-B", options={"maxiter": MAX_ITER})
    bias, slope, length, refusal, nobody, pair = _unpack(found.x, m)
    return VoteModel(bias, slope, length, refusal, pair + pair.T, nobody, mean, std)


def _length_habits(tokens: Figures) -> tuple[Floats, Floats]:
    """Mean and standard deviation of ln(1 + tokens) per expert; 0 where fewer than two are known."""
    logs = np.log1p(tokens)
    known = np.isfinite(logs).sum(axis=0) >= 2
    mean, std = np.zeros(len(known)), np.zeros(len(known))
    mean[known] = np.nanmean(logs[:, known], axis=0)
    std[known] = np.nanstd(logs[:, known], axis=0)
    return mean, std


def _start(m: int) -> Floats:
    """The independent weighted vote; what a refusal says starts at nothing."""
    return np.concatenate([np.zeros(m), np.ones(m), np.zeros(m), np.zeros(m), [0.0, 0.2], np.zeros(m * m)])


def _unpack(theta: Floats, m: int) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    bias, slope, length, refusal = theta[: 4 * m].reshape(4, m)
    return bias, slope, length, refusal, theta[4 * m : 4 * m + 2], theta[4 * m + 2 :].reshape(m, m)


def _draw(rng: np.random.Generator, available: npt.NDArray[np.bool_]) -> Ints:
    """A random set of available experts per row, ascending, -1 for the places left empty."""
    n, m = available.shape
    width = min(LARGEST_SET, m)
    order = np.argsort(np.where(available, rng.random((n, m)), 2.0), axis=1)[:, :width]
    size = np.minimum(rng.integers(1, width + 1, n), available.sum(axis=1))
    drawn = np.where(np.arange(width)[None, :] < size[:, None], order, m)
    drawn.sort(axis=1)
    return np.where(drawn < m, drawn, -1)


class _Problem:
    """Loss and gradient over drawn sets, in slots: place i of a set holds expert `asked[:, i]`."""

    def __init__(
        self, rows: Ints, asked: Ints, quality: Figures, codes: npt.NDArray[np.integer], scores: Figures, z: Floats
    ) -> None:
        self._m = scores.shape[1]
        self._n, self._size = asked.shape
        self._expert = np.maximum(asked, 0)
        here = asked >= 0
        at = (rows[:, None], self._expert)
        self._groups = group_answers(np.where(here, codes[at], -1))
        self._odds = logit(quality[at])
        self._surprise = z[at]
        self._refused = here & (self._groups < 0)
        self._answered = self._groups >= 0
        won = np.where(self._answered, scores[at], -1.0)
        best = won.argmax(axis=1)
        every = np.arange(self._n)
        self._right = np.where(won[every, best] >= 0.5, self._groups[every, best], self._size)
        self._negative_odds = -np.where(self._answered, self._odds, 0.0).sum(axis=1)
        self._seen = np.zeros((self._n, self._size + 1), dtype=np.bool_)
        self._seen[:, self._size] = True
        for i in range(self._size):
            self._seen[every[self._answered[:, i]], self._groups[self._answered[:, i], i]] = True
        self._slots = [
            (np.flatnonzero(self._answered[:, i]), np.flatnonzero(self._refused[:, i])) for i in range(self._size)
        ]
        self._pairs = [self._agreeing(i, j) for i in range(self._size) for j in range(i + 1, self._size)]

    def _agreeing(self, i: int, j: int) -> tuple[Ints, Ints, Ints]:
        """Rows in which places i and j agree, their answer, and the flat index of their pair."""
        row = np.flatnonzero(self._answered[:, i] & (self._groups[:, i] == self._groups[:, j]))
        return row, self._groups[row, i], self._expert[row, i] * self._m + self._expert[row, j]

    def loss(self, theta: Floats, start: Floats) -> tuple[float, Floats]:
        """Negative log likelihood with penalties, and its gradient."""
        m, size = self._m, self._size
        bias, slope, length, refusal, nobody, pair = _unpack(theta, m)
        score = np.zeros((self._n, size + 1))
        support = bias[self._expert] + slope[self._expert] * self._odds + length[self._expert] * self._surprise
        for i, (row, refused) in enumerate(self._slots):
            score[row, self._groups[row, i]] += support[row, i]
            score[refused, size] += refusal[self._expert[refused, i]]
        flat = pair.ravel()
        for row, group, index in self._pairs:
            score[row, group] += flat[index]
        score[:, size] += nobody[0] + nobody[1] * self._negative_odds
        score = np.where(self._seen, score, -np.inf)
        score -= score.max(axis=1, keepdims=True)
        share = np.exp(score)
        share /= share.sum(axis=1, keepdims=True)
        every = np.arange(self._n)
        loss = -np.log(np.maximum(share[every, self._right], 1e-300)).sum()
        share[every, self._right] -= 1.0
        # What is added to the parts, which are views, is added to the gradient.
        gradient = np.zeros_like(theta)
        g_bias, g_slope, g_length, g_refusal, g_nobody, g_pair = _unpack(gradient, m)
        for i, (row, refused) in enumerate(self._slots):
            residual, expert = share[row, self._groups[row, i]], self._expert[row, i]
            g_bias += np.bincount(expert, residual, m)
            g_slope += np.bincount(expert, residual * self._odds[row, i], m)
            g_length += np.bincount(expert, residual * self._surprise[row, i], m)
            g_refusal += np.bincount(self._expert[refused, i], share[refused, size], m)
        g_nobody[:] = share[:, size].sum(), (share[:, size] * self._negative_odds).sum()
        pooled = np.zeros(m * m)
        for row, group, index in self._pairs:
            pooled += np.bincount(index, share[row, group], m * m)
        g_pair[:] = pooled.reshape(m, m)
        apart = theta - start
        strength = np.full(theta.size, PENALTY)
        strength[4 * m + 2 :] = PAIR_PENALTY
        return float(loss + 0.5 * (strength * apart**2).sum()), gradient + strength * apart
