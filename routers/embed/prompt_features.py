"""How a prompt is written, beside what it says: its length and its mix of characters, read off one count of its bytes.

Length alone routes RouteLLM's pair nearly as well as its published routers, and an averaged embedding does not hold
it. All figures come from the histogram of the UTF-8 bytes, so that a prompt costs one pass whatever its length:

    x, x², x³ with x = (ln(1 + bytes) - 6) / 2 within ±3; shares of digits, formula and code marks, bytes beyond ASCII,
    capitals, commas and spaces; ln(1 + newlines); question marks, at most 3

Blanks and empty lines count once however many stand together, and not at all around the text: a prompt that is pasted
with other spacing is the same prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.types import FloatArray

if TYPE_CHECKING:
    from pointsman.routers.embed import StorableEmbedder

_CLASSES = (b"0123456789", b"\\$^_{}=+*/<>", bytes(range(128, 256)), bytes(range(65, 91)), b",", b" ")
_NEWLINE, _QUESTION = b"\n?"

#: How many figures there are.
FEATURES = 3 + len(_CLASSES) + 2

_MEMBERS = np.array([[float(byte in members) for members in _CLASSES] for byte in range(256)])


def prompt_features(text: str) -> FloatArray:
    """The figures of one prompt, of the order of 1 each, float32, shape (FEATURES,)."""
    # Half of a surrogate pair (JSON may hold one) has no UTF-8 of its own; it counts as bytes beyond ASCII.
    data = _once(_once(text.strip().encode("utf-8", "surrogatepass"), b" "), b"\n")
    counts = np.bincount(np.frombuffer(data, dtype=np.uint8), minlength=256)
    length = min(max((np.log1p(len(data)) - 6.0) / 2.0, -3.0), 3.0)
    shares = counts @ _MEMBERS / max(len(data), 1)
    layout = (np.log1p(counts[_NEWLINE]), min(counts[_QUESTION], 3))
    return np.array([length, length**2, length**3, *shares, *layout], dtype=np.float32)


def _once(data: bytes, mark: bytes) -> bytes:
    """Runs of a mark drawn together to one. Halving them until none is left is faster than a regular expression."""
    double = mark + mark
    while double in data:
        data = data.replace(double, mark)
    return data


class FormatEmbedder:
    """An embedder with the prompt's figures as its last columns.

    Args:
        inner: Gives the first columns.
        low: Least value of each figure that the heads were fitted for, shape (FEATURES,).
        high: The greatest. What lies outside is drawn to the bound: a regression says nothing about lengths never seen.
    """

    kind = "format"

    def __init__(self, inner: StorableEmbedder, low: FloatArray, high: FloatArray) -> None:
        if low.shape != (FEATURES,) or high.shape != (FEATURES,):
            raise ValueError(f"bounds of shape {low.shape} and {high.shape} for {FEATURES} figures")
        self._inner = inner
        self._low = low
        self._high = high

    @property
    def inner(self) -> StorableEmbedder:
        """The embedder without the figures."""
        return self._inner

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self._inner.dim + FEATURES

    @property
    def slow(self) -> bool:
        """Whether embedding would stall an event loop."""
        return self._inner.slow

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Embed texts, float32, shape (n, dim)."""
        figures = np.array([prompt_features(text) for text in texts], dtype=np.float32).reshape(-1, FEATURES)
        return np.concatenate([self._inner.embed(texts), figures.clip(self._low, self._high)], axis=1)

    def spec(self) -> Mapping[str, Any]:
        """What a manifest says of this embedder."""
        return {"kind": self.kind, "dim": self.dim, "inner": dict(self._inner.spec())}

    def tensors(self) -> Mapping[str, npt.NDArray[Any]]:
        """What an artefact stores of this embedder."""
        return {**self._inner.tensors(), "embed.format.low": self._low, "embed.format.high": self._high}

    def tokenizer_json(self) -> str | None:
        """The tokenizer of the inner embedder."""
        return self._inner.tokenizer_json()
