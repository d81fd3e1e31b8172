"""Multinomial logistic regression on dense and sparse features side by side, by L-BFGS.

    minimise  (1/Σω) Σ_i ω_i (-log p_{y_i}(x_i)) + (|W|² + |B|²) / (2 c n),     p = softmax(W v + B z + b)

The same optimum as scikit-learn's `LogisticRegression(C=c)` (tested); kept apart so that the dense part is one matrix
product and the sparse part never becomes dense, which is what makes 180 classes on 50,000 prompts a matter of a minute.

Two changes of variables leave the optimum where it is and reach it in a third of the iterations. Dense columns are
centred, which the intercept makes good: vectors of one embedder share most of their length. And every column is
stretched by the fourth root of its curvature, half of Jacobi's preconditioner: rare words are learned as fast as common
ones then, where the whole of it would have them learned first and stopped late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.types import FloatArray


def fit_softmax(
    dense: FloatArray,
    sparse: Any,
    labels: npt.NDArray[np.int64],
    classes: int,
    *,
    c: float,
    weights: npt.NDArray[np.float64] | None = None,
    max_iter: int = 100,
    on_step: Callable[[], None] | None = None,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Fit.

    Args:
        dense: v, shape (n, d).
        sparse: z as a CSR matrix, shape (n, s), or None.
        labels: Class index of each row, shape (n,).
        classes: K.
        c: Inverse strength of the penalty, as in scikit-learn.
        weights: ω, shape (n,), None for equal ones.
        max_iter: L-BFGS iterations at most.
        on_step: Called after every iteration.

    Returns:
        W of shape (K, d), B of shape (K, s) and b of shape (K,).
    """
    from scipy.optimize import minimize

    n, d = dense.shape
    s = 0 if sparse is None else sparse.shape[1]
    omega = np.ones(n) if weights is None else weights
    omega = (omega / omega.sum()).astype(np.float32)
    penalty = np.float32(1.0 / (c * n))
    rows = np.arange(n)
    transposed = None if sparse is None else sparse.T.tocsr()
    centre = omega @ dense
    dense = dense - centre
    squares = [omega @ dense**2, np.ones(1, np.float32)]
    if sparse is not None:
        squares.insert(1, sparse.multiply(sparse).T @ omega)
    stretch = ((np.concatenate(squares) / classes + penalty) ** np.float32(-0.25))[:, None]

    def loss(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        params = flat.reshape(d + s + 1, classes).astype(np.float32) * stretch
        head = params[:-1]
        logits = dense @ params[:d]
        if sparse is not None:
            logits += sparse @ params[d : d + s]
        logits += params[-1]
        logits -= logits.max(axis=1, keepdims=True)
        exp = np.exp(logits)
        total = exp.sum(axis=1)
        value = float(omega @ (np.log(total) - logits[rows, labels])) + 0.5 * float(penalty * np.vdot(head, head))
        exp /= total[:, None]
        exp[rows, labels] -= 1.0
        exp *= omega[:, None]
        gradient = np.empty_like(params)
        gradient[:d] = dense.T @ exp
        if transposed is not None:
            gradient[d : d + s] = transposed @ exp
        gradient[:-1] += penalty * head
        gradient[-1] = exp.sum(axis=0)
        return value, (gradient * stretch).astype(np.float64).ravel()

    result = minimize(
        loss,
        np.zeros((d + s + 1) * classes),
        jac=True,
        method="L-BFGS-B",
        callback=None if on_step is None else lambda _: on_step(),
        options={"maxiter": max_iter, "maxcor": 5},
    )
    params = result.x.reshape(d + s + 1, classes).astype(np.float32) * stretch
    params[-1] -= centre @ params[:d]
    return params[:d].T.copy(), params[d : d + s].T.copy(), params[-1].copy()
