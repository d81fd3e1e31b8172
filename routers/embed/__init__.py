"""Text to vector. `restore_embedder` brings back what an artefact's manifest names; heavy kinds load lazily."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt

from pointsman.routers.errors import EmbedderError
from pointsman.routers.protocols import Embedder

#: The kinds an artefact may name.
KINDS = ("static", "static+lexical", "sentence_transformers", "fine_tuned", "format")


@runtime_checkable
class StorableEmbedder(Embedder, Protocol):
    """An embedder that an artefact can hold."""

    def spec(self) -> Mapping[str, Any]:
        """JSON-able description with the key `kind`."""

    def tensors(self) -> Mapping[str, npt.NDArray[Any]]:
        """Arrays to store, names starting with `embed.`."""

    def tokenizer_json(self) -> str | None:
        """The tokenizer's file, None when it has none of its own."""


def plain_embedder(embedder: Embedder) -> Embedder:
    """The embedder without what a fit appended to its unit vectors (prompt figures, lexical scores)."""
    from pointsman.routers.embed.lexical import LexicalEmbedder
    from pointsman.routers.embed.prompt_features import FormatEmbedder

    if isinstance(embedder, FormatEmbedder):
        embedder = embedder.inner
    return embedder.static if isinstance(embedder, LexicalEmbedder) else embedder


def restore_embedder(
    spec: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]], tokenizer_json: str | None
) -> StorableEmbedder:
    """The embedder an artefact describes.

    Raises:
        EmbedderError: Of an unknown kind, without its tokenizer, or its extra or model is missing.
    """
    kind = spec.get("kind")
    if kind in ("static", "static+lexical"):
        from pointsman.routers.embed.lexical import LexicalEmbedder
        from pointsman.routers.embed.static import StaticEmbedder

        if tokenizer_json is None:
            raise EmbedderError("a static embedder needs its tokenizer.json")
        restore = StaticEmbedder.from_parts if kind == "static" else LexicalEmbedder.from_parts
        return restore(spec, tensors, tokenizer_json)
    if kind == "sentence_transformers":
        from pointsman.routers.embed.sentence_transformers import SentenceTransformersEmbedder

        return SentenceTransformersEmbedder(str(spec["name"]), max_chars=int(spec["max_chars"]))
    if kind == "fine_tuned":
        from pointsman.routers.embed.fine_tuned import FineTunedEmbedder

        if tokenizer_json is None:
            raise EmbedderError("a fine-tuned embedder needs its tokenizer.json")
        return FineTunedEmbedder.from_parts(spec, tensors, tokenizer_json)
    if kind == "format":
        from pointsman.routers.embed.prompt_features import FormatEmbedder

        inner = restore_embedder(spec["inner"], tensors, tokenizer_json)
        return FormatEmbedder(inner, tensors["embed.format.low"], tensors["embed.format.high"])
    raise EmbedderError(f"unknown embedder kind {kind!r}; known: {', '.join(KINDS)}")
