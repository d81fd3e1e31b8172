"""Answers of a fake expert to endpoints without text: vectors, rankings and scores made from the words of the texts.

A text's vector counts its words in a few positions, each selected by the word's hash. So texts with words in common
point in similar directions, and the same text always gets the same vector.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from pointsman.experts.protocols import Endpoint

DIMENSIONS = 16


def vector_of(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """A unit vector; all zeros for no words."""
    vector = [0.0] * dimensions
    for word in text.lower().split():
        digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
        place = int.from_bytes(digest, "big")
        vector[place % dimensions] += 1.0 if place >> 63 else -1.0
    norm = math.sqrt(sum(value * value for value in vector))
    return [value / norm for value in vector] if norm else vector


def likeness(one: str, other: str) -> float:
    """Cosine of two texts' vectors."""
    return sum(a * b for a, b in zip(vector_of(one), vector_of(other), strict=True))


def answer_without_writing(
    endpoint: Endpoint, payload: Mapping[str, Any], model: str, answer_id: str, created_s: int
) -> dict[str, Any] | str:
    """The answer of an endpoint that writes nothing, in the shape of vLLM's server; a message where it cannot be given.

    Args:
        endpoint: `EMBEDDINGS`, `RERANK` or `SCORE`.
        payload: The parsed body.
        model: Name in the answer.
        answer_id: Unique part of the answer's id.
        created_s: Unix time.
    """
    if endpoint is Endpoint.EMBEDDINGS:
        texts = _texts(payload.get("input"))
        data = [_embedding(index, text, payload) for index, text in enumerate(texts)]
        usage = _usage(texts)
        return {"object": "list", "data": data, "model": model, "usage": usage} if texts else "input: no text"
    if endpoint is Endpoint.RERANK:
        query, documents = payload.get("query"), _texts(payload.get("documents"))
        if not isinstance(query, str) or not documents:
            return "query and documents: no text"
        scores = [likeness(query, text) for text in documents]
        results = [
            {"index": index, "document": {"text": documents[index]}, "relevance_score": scores[index]}
            for index in sorted(range(len(documents)), key=lambda index: -scores[index])
        ]
        usage = {"total_tokens": _usage([query, *documents])["total_tokens"]}
        most = payload.get("top_n") or len(results)
        return {"id": f"rerank-{answer_id}", "model": model, "usage": usage, "results": results[:most]}
    ones, others = _texts(payload.get("text_1")), _texts(payload.get("text_2"))
    if len(ones) not in (1, len(others)):
        return "text_1 and text_2: no pairs"
    pairs = zip(ones * len(others) if len(ones) == 1 else ones, others, strict=True)
    pair_scores = [{"index": index, "object": "score", "score": likeness(*pair)} for index, pair in enumerate(pairs)]
    frame = {"id": f"score-{answer_id}", "object": "list", "created": created_s, "model": model}
    return {**frame, "data": pair_scores, "usage": _usage([*ones, *others])}


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _embedding(index: int, text: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    vector = vector_of(text, payload.get("dimensions") or DIMENSIONS)
    if payload.get("encoding_format") == "base64":
        packed = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        return {"object": "embedding", "index": index, "embedding": packed}
    return {"object": "embedding", "index": index, "embedding": vector}


def _usage(texts: Sequence[str]) -> dict[str, int]:
    words = sum(len(text.split()) for text in texts)
    return {"prompt_tokens": words, "completion_tokens": 0, "total_tokens": words}
