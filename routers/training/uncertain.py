"""Where is a prompt better off with the generalist? The uncertain category's threshold (CoE, arXiv 2412.01868).

The uncertain category is one more category of the mapping: its prompts go to the best single expert. So the entropy
threshold is chosen as the mapping is, by routed quality on validation prompts:

    τ* = argmax_τ  mean over prompts of  s_generalist(x) where H(x) > τ, else s_routed(x)
"""

from __future__ import annotations

import numpy as np

from pointsman.routers.arrays import Floats

#: Shares of the prompts that may be called uncertain. Few candidates: each one more is a chance to fit noise.
SHARES = tuple(share / 20 for share in range(1, 20))


def choose_max_entropy(entropy: Floats, routed: Floats, generalist: Floats) -> float:
    """The threshold of most routed quality, among the twentieths of the entropies.

    A threshold counts only where the prompts above it gain, together, more than two standard errors of that gain: with
    one, the best of nineteen thresholds is found in pure noise every other time.

    Args:
        entropy: Of the held-out posterior in nats, shape (n,).
        routed: Score of the expert that the router picks on held-out predictions, NaN where unscored, shape (n,).
        generalist: Score of the best single expert, NaN where unscored, shape (n,).

    Returns:
        The threshold in nats, infinite where sending nobody to the generalist is best.
    """
    known = np.isfinite(routed) & np.isfinite(generalist)
    gain = (generalist - routed)[known]
    spread = entropy[known]
    best, least = np.inf, 0.0
    if not len(gain):
        return best
    for share in SHARES:
        threshold = float(np.quantile(spread, 1.0 - share))
        gained = np.where(spread > threshold, gain, 0.0)
        total, error = float(gained.sum()), float(np.sqrt(len(gained)) * gained.std())
        if total > max(least, 2.0 * error):
            best, least = threshold, total
    return best
