"""Ridge regressions of every expert's quality on all that is known of a prompt, words included.

The words are a sparse matrix of some ten thousand columns, so the normal equations are solved by conjugate gradients
(Hestenes and Stiefel 1952), all experts together; an expert's unscored prompts are masked, never filled in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.types import FloatArray

Floats = npt.NDArray[Any]

#: Standard deviation that the prompt's figures get, beside unit vectors.
FIGURE_SCALE = 0.1

#: Where a solution is good enough: the residual's share of the right side, and the most steps.
TOLERANCE = 1e-3
MAX_STEPS = 100

#: Columns that carry the words' share of the prediction at run time, for all experts together.
MAX_RANK = 16


@dataclass(frozen=True, slots=True)
class PromptFeatures:
    """What a regression sees of n prompts.

    Attributes:
        vectors: Unit rows, shape (n, d).
        figures: How they are written (`pointsman.routers.embed.prompt_features`), shape (n, F).
        posterior: Held-out category posterior, shape (n, C).
        bags: TF-IDF rows, CSR, shape (n, V); None where the embedder has no tokens.
    """

    vectors: FloatArray
    figures: FloatArray
    posterior: FloatArray
    bags: Any = None

    def rows(self, index: npt.NDArray[np.int64]) -> PromptFeatures:
        """Some of the prompts, in order."""
        bags = None if self.bags is None else self.bags[index]
        return PromptFeatures(self.vectors[index], self.figures[index], self.posterior[index], bags)


@dataclass(frozen=True, slots=True)
class Ridge:
    """Weights of every expert's regression, one row each, in the units of `PromptFeatures`; `bias` of shape (m,)."""

    vectors: FloatArray
    figures: FloatArray
    posterior: FloatArray
    bags: FloatArray | None
    bias: FloatArray

    def predict(self, prompts: PromptFeatures) -> FloatArray:
        """Predicted quality, shape (n, m), not held to [0, 1]."""
        out = prompts.vectors @ self.vectors.T + prompts.figures @ self.figures.T + prompts.posterior @ self.posterior.T
        if self.bags is not None:
            out += prompts.bags @ self.bags.T
        return np.asarray(out + self.bias, dtype=np.float32)


def fit_ridges(prompts: PromptFeatures, scores: Floats, penalties: Sequence[float]) -> tuple[Ridge, ...]:
    """One regression per expert on its scored prompts for every penalty, `min Σ (y - w x - b)² + penalty |w|²`.

    Args:
        prompts: n of them. The figures are brought to a common spread first, and so penalised alike.
        scores: Shape (n, m), NaN where unscored.
        penalties: All greater than 0.

    Returns:
        In the order of the penalties.
    """
    spread = prompts.figures.std(axis=0)
    scale = np.divide(FIGURE_SCALE, spread, out=np.zeros_like(spread), where=spread > 1e-9)
    dense = np.concatenate([prompts.vectors, prompts.figures * scale, prompts.posterior], axis=1, dtype=np.float32)
    centre = dense.mean(axis=0)
    dense -= centre
    bags = prompts.bags
    turned = None if bags is None else bags.T.tocsr()
    seen = np.isfinite(scores)
    count = np.maximum(seen.sum(axis=0), 1)
    width = dense.shape[1]

    def centred(values: Floats) -> Floats:
        """Without each expert's mean over its scored prompts: that is what the intercept takes."""
        held = np.where(seen, values, 0.0)
        return np.where(seen, held - held.sum(axis=0) / count, 0.0).astype(np.float32)

    def applied(weights: Floats) -> Floats:
        out = dense @ weights[:width]
        return out if bags is None else out + bags @ weights[width:]

    def gathered(values: Floats) -> Floats:
        out = dense.T @ values
        return out if turned is None else np.concatenate([out, turned @ values])

    goal = gathered(centred(scores))
    weights = np.zeros_like(goal)
    found = {}
    # The largest penalty is solved in the fewest steps, and each solution is a good start for the next.
    for penalty in sorted(penalties, reverse=True):
        weights = _conjugate_gradients(
            lambda w, penalty=penalty: gathered(centred(applied(w))) + np.float32(penalty) * w, goal, weights
        )
        left = np.where(seen, scores - applied(weights), 0.0).sum(axis=0) / count
        ends = np.cumsum([prompts.vectors.shape[1], len(scale)])
        on_vectors, on_figures, on_posterior = np.split(weights[:width].T, ends, axis=1)
        found[penalty] = Ridge(
            on_vectors,
            on_figures * scale,
            on_posterior,
            None if bags is None else weights[width:].T,
            np.asarray(left - centre @ weights[:width], dtype=np.float32),
        )
    return tuple(found[penalty] for penalty in penalties)


def merge_ridges(ridges: Sequence[Ridge], shares: Floats) -> Ridge:
    """The regression whose prediction is the mean of those given, one share each, with a sum of 1."""

    def mean(values: Sequence[Floats]) -> FloatArray:
        return np.asarray(np.tensordot(shares, np.stack(values), axes=1), dtype=np.float32)

    bags = [one.bags for one in ridges if one.bags is not None]
    return Ridge(
        mean([one.vectors for one in ridges]),
        mean([one.figures for one in ridges]),
        mean([one.posterior for one in ridges]),
        mean(bags) if bags else None,
        mean([one.bias for one in ridges]),
    )


def compress(weights: FloatArray, bags: Any) -> tuple[FloatArray, FloatArray]:
    """Few columns that all experts share in place of one per expert: reduced-rank regression (Izenman 1975).

    Args:
        weights: Of the words, shape (m, V).
        bags: The prompts fitted on, CSR, shape (n, V).

    Returns:
        Weights of the columns' words, shape (r, V), and of the columns per expert, shape (m, r), whose product is
        `weights` up to rank 16: exact for so many experts, else what moves the predictions most.
    """
    predicted = np.asarray(bags @ weights.T, dtype=np.float64)
    _, axes = np.linalg.eigh(predicted.T @ predicted)
    loadings = np.asarray(axes[:, ::-1][:, :MAX_RANK], dtype=np.float32)
    return np.asarray(loadings.T @ weights, dtype=np.float32), loadings


def _conjugate_gradients(operator: Any, goal: Floats, start: Floats) -> Floats:
    """Solve `operator(w) = goal` column by column, all at once; the operator is symmetric and positive definite."""
    tiny = np.float32(1e-30)
    solution = start
    residual = goal - operator(start)
    direction = residual
    length = (residual**2).sum(axis=0)
    enough = TOLERANCE**2 * (goal**2).sum(axis=0)
    for _ in range(MAX_STEPS):
        if (length <= enough).all():
            break
        bent = operator(direction)
        step = length / np.maximum((direction * bent).sum(axis=0), tiny)
        solution = solution + step * direction
        residual = residual - step * bent
        before, length = length, (residual**2).sum(axis=0)
        direction = residual + length / np.maximum(before, tiny) * direction
    return solution
