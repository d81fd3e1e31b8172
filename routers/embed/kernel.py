"""The compiled kernel from text to vector (`_kernel.c`), if the package was installed with a C compiler.

It only changes speed: without it words.py, static.py and lexical.py do the same in Python and numpy.
"""

from __future__ import annotations

import importlib
from typing import Any, Final, Protocol

import numpy.typing as npt

#: What has a C-contiguous buffer.
BufferLike = bytes | npt.NDArray[Any]


class Kernel(Protocol):
    """What is compiled. Buffers are C-contiguous; sizes that do not fit together raise ValueError."""

    def index(self, tokens: list[bytes], prefix: bytes, /) -> bytes:
        """A WordPiece vocabulary to look words up in; `tokens` by id, and b"" for what is never to be found."""

    def tokenise(
        self, text: str, index: bytes, unknown: int, most_chars: int, lowercase: bool, /
    ) -> tuple[bytes, list[str]]:
        """Token ids, packed as C ints, and the pieces that hold other characters than ASCII, which it leaves alone."""

    def pool(
        self,
        ids: BufferLike,
        rows: BufferLike,
        scales: BufferLike,
        words: BufferLike,
        factors: BufferLike,
        out: BufferLike,
        /,
    ) -> None:
        """Write the vector of a bag of tokens.

        Args:
            ids: C int, shape (n,), in any order.
            rows: int8, shape (vocab, dim).
            scales: float32, shape (vocab,).
            words: int8, shape (vocab, K); empty without lexical scores.
            factors: float32, shape (2, vocab): idf, and what a row of `words` is multiplied by; empty likewise.
            out: float32, shape (dim + K,); written.

        Raises:
            IndexError: An id is outside of the vocabulary.
        """


def _compiled() -> Kernel | None:
    try:
        compiled: Any = importlib.import_module("pointsman.routers.embed._kernel")
    except ImportError:
        return None
    kernel: Kernel = compiled
    return kernel


#: None where nothing was compiled.
KERNEL: Final = _compiled()
