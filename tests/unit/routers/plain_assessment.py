"""Stage 1 told slowly: an artefact's formulas in float64, straight from its tensors. What `assess` must equal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
from tokenizers import Tokenizer

from pointsman.experts.spec import Source
from pointsman.routers.artifacts import RouterParts
from pointsman.routers.embed.clip import clip_text
from pointsman.routers.types import AnswerLengths, Assessment, Classification, Qualities


def plain_assess(parts: RouterParts) -> Callable[[str], Assessment]:
    """What an artefact with a lexical embedder and a linear classifier says of texts.

    The library tokenises whole texts, every token is added by itself, and nothing is multiplied out beforehand.
    """
    held = {**parts.embedder.tensors(), **parts.classifier.tensors(), **parts.quality.tensors()}
    if parts.tokens is not None:
        held |= parts.tokens.tensors()
    wide = {name: tensor.astype(np.float64) for name, tensor in held.items() if tensor.dtype == np.float32}
    tokenizer = Tokenizer.from_str(str(parts.embedder.tokenizer_json()))
    tokenizer.no_truncation()
    most_chars, temperature = int(parts.embedder.spec()["max_chars"]), float(parts.classifier.spec()["temperature"])
    categories, thresholds = parts.classifier.categories, parts.classifier.thresholds
    blend = parts.quality.spec()["blend"]

    def vector(text: str) -> np.ndarray:
        counts = Counter(tokenizer.encode(clip_text(text, most_chars), add_special_tokens=False).ids)
        meaning, weights = np.zeros(held["embed.rows"].shape[1]), np.zeros(0)
        words = np.zeros(held["embed.lexical.rows"].shape[1])
        for token, count in counts.items():
            meaning += count * wide["embed.scales"][token] * held["embed.rows"][token]
            weight = wide["embed.lexical.idf"][token] * (1 + math.log(count))
            weights = np.append(weights, weight)
            if weight:
                row = held["embed.lexical.row_of"][token]
                words += weight * wide["embed.lexical.scales"][row] * held["embed.lexical.rows"][row]
        return np.concatenate([meaning / (np.linalg.norm(meaning) or 1), words / (np.linalg.norm(weights) or 1)])

    def assess(text: str) -> Assessment:
        seen = vector(text)
        logits = (wide["classifier.weights"] @ seen + wide["classifier.bias"]) / temperature
        fine = np.exp(logits - logits.max())
        scope = math.log(fine.sum()) + logits.max()
        fine /= fine.sum()
        posterior = np.array([fine[held["classifier.category_of"] == at].sum() for at in range(len(categories))])
        told = dict(zip(categories, posterior.tolist(), strict=True))
        entropy = -sum(p * math.log(p) for p in told.values() if p > 0)
        outside, blurred = scope < thresholds.min_scope, entropy > thresholds.max_entropy
        unmeasured = thresholds.measured is not None and sum(told[name] for name in thresholds.measured) < 0.5
        category = "out_of_scope" if outside else "uncertain" if blurred else max(told, key=told.__getitem__)
        kind = Classification(told, category, entropy, outside, outside or blurred, unmeasured)
        return Assessment(kind, qualities(seen, posterior), lengths(posterior), "")

    def qualities(seen: np.ndarray, posterior: np.ndarray) -> Qualities:
        base, mean, error = wide["quality.base"], wide["quality.category.mean"], wide["quality.category.error"]
        heads = wide["quality.linear.weights"]
        linear = heads @ seen[: heads.shape[1]] + wide["quality.linear.bias"]
        if "quality.linear.posterior" in wide:
            linear += wide["quality.linear.posterior"] @ posterior
        quality = base + blend["category"] * (mean @ posterior - base) + blend["linear"] * (linear - base)
        spread = np.sqrt((error**2 + mean**2) @ posterior - (mean @ posterior) ** 2)
        experts = parts.quality.experts
        return Qualities(experts, quality.clip(0, 1), spread, (Source.MEASURED,) * len(experts))

    def lengths(posterior: np.ndarray) -> AnswerLengths:
        if parts.tokens is None:
            return AnswerLengths()
        mean, q95 = wide["tokens.mean"] @ posterior, wide["tokens.q95"] @ posterior
        return AnswerLengths(tuple(parts.tokens.spec()["experts"]), mean, np.maximum(mean, q95))

    return assess
