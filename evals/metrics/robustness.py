"""Does the choice stay the same when the words change and the meaning does not?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def flip_rate(before: Ints, after: Ints) -> float:
    """Share of prompts whose choice changes. RouterArena's robustness is one minus it.

    Args:
        before: Column chosen for each prompt, shape (n,); -1 for nobody: left out, as RouterArena leaves out prompts
            without a prediction.
        after: The same for the reworded prompts.
    """
    made = (before >= 0) & (after >= 0)
    return float((before[made] != after[made]).mean()) if made.any() else float("nan")
