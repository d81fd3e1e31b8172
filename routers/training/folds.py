"""Cross-validation folds: seeded, and prompts of the same normalised text never on both sides."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def fold_of(texts: Sequence[str], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Fold index of each text, from a hash of the seed and the text without case and spacing; shape (n,)."""
    return np.fromiter(
        (
            int.from_bytes(hashlib.sha256(f"{seed}:{' '.join(text.lower().split())}".encode()).digest()[:8]) % folds
            for text in texts
        ),
        np.int64,
        len(texts),
    )
