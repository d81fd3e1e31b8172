"""Embedding a text without stalling the event loop."""

from __future__ import annotations

import asyncio

from pointsman.routers.protocols import Embedder
from pointsman.routers.types import FloatArray


async def embed_one(embedder: Embedder, text: str) -> FloatArray:
    """The vector of one text, shape (dim,): here where it takes a fraction of a millisecond, in a thread where not."""
    slow = embedder.slow
    vectors = await asyncio.to_thread(embedder.embed, (text,)) if slow else embedder.embed((text,))
    vector: FloatArray = vectors[0]
    return vector
