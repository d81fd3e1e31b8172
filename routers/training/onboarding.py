"""Put a new expert beside a fitted router by its results on a few labelled prompts, fitting nothing else again.

UniRoute (arXiv 2502.08773) represents an expert by its results on clusters of prompts, so that one fitted on other
experts can serve it. Here the clusters are the artefact's categories, and the known experts are a second
representation: the newcomer is like those whose predicted results look like its own.

    w_j ∝ exp(-Σ_i (y_i - q̂_j(x_i) - d_j)² / 2σ²)            which known expert is it like, but for its level?
    r(x) = Σ_j w_j q̂_j(x),  u_i = y_i - r(x_i) - Σ_c p(c|x_i) s_c
    δ    = Σ_i u_i / (n + σ²/τ²)                              its level
    δ_c  = Σ_i p(c|x_i) (u_i - δ) / (n_c + σ²/τ_C²)           its level in a category
    q̂(x) = r(x) + δ + Σ_c p(c|x) (δ_c + s_c)

d_j is the level beside expert j alone, as δ is beside r: level is told once, not by the choice of likes as well.
Without a prompt w is uniform and all δ are 0: it counts as the pool's average. σ² is the variance of the pool's scores.
τ² is how much levels differ over the pool, and τ_C² how much an expert's categories stray from its level: in the pool,
or in the newcomer's own results as far as they stray by more than chance: a specialist among generalists shows there.

A card lifts the categories it claims to 0.02 above the best of the pool, as it does where there is no artefact
(`estimators/cards.py`), and its word is worth six prompts: s_c = claim_c (best_c + 0.02 - r_c)₊ 6 / (6 + n_c).

Every head stands alone: what an artefact holds of the others is copied byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.arrays import Floats
from pointsman.routers.artifacts import RouterParts
from pointsman.routers.classifiers.cards import CardReader
from pointsman.routers.errors import TrainingError
from pointsman.routers.estimators.cards import OPTIMISM
from pointsman.routers.estimators.quality import BlendedQuality
from pointsman.routers.estimators.tokens import CompletionTokens

#: Prompts that a card's word is worth: 0.25 / 0.2², the variance of a judgement over that of a card's claim.
CARD_PROMPTS = 6.0

#: Answers that the pool's answer lengths are worth.
LENGTH_PROMPTS = 5.0


def place_expert(
    parts: RouterParts,
    name: str,
    texts: Sequence[str],
    scores: Floats,
    *,
    card: str | None = None,
    completion_tokens: Floats | None = None,
) -> RouterParts:
    """Put an expert beside those that a fitted router knows.

    Args:
        parts: A fitted router with outcomes of at least two experts.
        name: Of the newcomer.
        texts: Its labelled prompts, n of them; none to place it by its card alone.
        scores: Its scores on them in [0, 1], NaN where unscored, shape (n,).
        card: A sentence on what it is good at.
        completion_tokens: Lengths of its answers, NaN where unknown, shape (n,); None when nothing is known.

    Returns:
        The parts with the expert; the predictions for the others are those of before.

    Raises:
        TrainingError: The artefact knows it already or has too few experts, the scores are none, or there is neither a
            scored prompt nor a card that names a domain.
    """
    known = parts.quality.experts
    given = np.asarray(scores, dtype=np.float64)
    if name in known:
        raise TrainingError(f"the artefact knows {name!r} already")
    if len(known) < 2:
        raise TrainingError("placing an expert needs a router with outcomes of at least two others")
    if given.shape != (len(texts),) or not np.all((given >= 0) & (given <= 1) | np.isnan(given)):
        raise TrainingError(f"{len(texts)} prompts need as many scores, each in [0, 1]")
    claims = None if card is None else CardReader(parts.embedder, parts.classifier).claims(card)
    seen = np.flatnonzero(np.isfinite(given))
    if not len(seen) and claims is None:
        raise TrainingError(f"nothing places {name!r}: no scored prompt, and no card that names a domain")
    categories = parts.classifier.categories
    posterior, predicted = np.zeros((0, len(categories))), np.zeros((0, len(known)))
    if len(seen):
        vectors = parts.embedder.embed([texts[index] for index in seen.tolist()])
        soft = parts.classifier.posteriors(vectors)[0]
        posterior, predicted = soft.astype(np.float64), parts.quality.predict(vectors, soft).astype(np.float64)
    claimed = np.array([(claims or {}).get(category, 0.0) for category in categories])
    place = _place(_Pool.of(parts.quality.tensors()), predicted, posterior, given[seen], claimed)
    tokens = parts.tokens
    if tokens is not None and completion_tokens is not None and len(seen):
        tokens = _with_lengths(tokens, name, posterior, np.asarray(completion_tokens, np.float64)[seen])
    told = {"labelled": len(seen), "mean_score": float(given[seen].mean()) if len(seen) else None, "card": card}
    placed = {**dict(parts.training.get("placed", {})), name: told}
    return replace(
        parts,
        quality=_with_head(parts.quality, name, place),
        tokens=tokens,
        training={**parts.training, "placed": placed},
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Pool:
    """What an artefact says of its m experts: means, shape (m,), and category means, shape (m, C), None without."""

    base: Floats
    category: Floats | None

    @classmethod
    def of(cls, tensors: Mapping[str, npt.NDArray[Any]]) -> _Pool:
        category = tensors.get("quality.category.mean")
        return cls(
            np.asarray(tensors["quality.base"], np.float64),
            None if category is None else np.asarray(category, np.float64),
        )

    @property
    def level_variance(self) -> float:
        """τ²: how much levels differ."""
        return max(float(self.base.var(ddof=1)), 1e-4)

    @property
    def stray_variance(self) -> float:
        """τ_C² of the pool: how much categories stray from an expert's level, once the hard ones are hard for all."""
        if self.category is None:
            return 0.0
        stray = self.category - self.base[:, None]
        return float((stray - stray.mean(axis=0)).var())


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """Where an expert stands: shares of the known ones, shape (m,), its level, and that per category, shape (C,)."""

    like: Floats
    level: float
    category: Floats
    error: Floats


def _place(pool: _Pool, predicted: Floats, posterior: Floats, scores: Floats, claimed: Floats) -> _Place:
    mean = float(np.clip(pool.base.mean(), 0.05, 0.95))
    noise = mean * (1.0 - mean)
    count = posterior.sum(axis=0)
    gap = scores[:, None] - predicted
    gap -= gap.sum(axis=0) / (len(gap) + noise / pool.level_variance)
    distance = (gap**2).sum(axis=0) / (2.0 * noise)
    like = np.exp(-(distance - distance.min()))
    like /= like.sum()
    lift = np.zeros(len(claimed))
    if pool.category is not None:
        above = pool.category.max(axis=0) + OPTIMISM - like @ pool.category
        lift = claimed * np.maximum(above, 0.0) * CARD_PROMPTS / (CARD_PROMPTS + count)
    left = scores - predicted @ like - posterior @ lift
    level = float(left.sum() / (len(left) + noise / pool.level_variance))
    strays = posterior.T @ (left - level)
    found = np.divide(strays, count, out=np.zeros_like(count), where=count > 0)
    # Without any stray Σ n_c u_c² / σ² is about chi-squared: what is beyond its mean and two deviations is its own.
    cells = int((count > 0).sum())
    beyond = float((count * found**2).sum()) - noise * (cells + 2.0 * np.sqrt(2.0 * cells))
    own = beyond / max(float(count.sum()), 1.0)
    prior = noise / max(pool.stray_variance, own, 1e-6)
    return _Place(like, level, strays / (count + prior) + lift, np.sqrt(noise / (count + prior)))


def _with_head(quality: BlendedQuality, name: str, place: _Place) -> BlendedQuality:
    """The heads with one more: the mixture of those it is like, moved to its own levels."""
    spec = quality.spec()
    tensors = dict(quality.tensors())
    shares = float(spec["blend"]["category"]) + float(spec["blend"]["linear"])
    # The blend multiplies what looks at categories by its shares; what was found of the newcomer is added in full.
    by_category = place.category / shares if shares > 0.0 else np.zeros_like(place.category)
    moved: dict[str, float | Floats] = {
        "quality.base": place.level,
        "quality.category.mean": place.level + by_category,
        "quality.linear.bias": place.level,
        "quality.linear.posterior": by_category,
    }
    if "quality.linear.posterior" not in tensors and "quality.linear.bias" in tensors and shares > 0.0:
        tensors["quality.linear.posterior"] = np.zeros((len(quality.experts), len(place.category)), np.float32)
    for key, rows in tensors.items():
        row: Floats = place.error if key == "quality.category.error" else np.asarray(place.like @ rows)
        if key in moved:
            row = row + moved[key]
        tensors[key] = np.concatenate([rows, row[None].astype(rows.dtype)])
    return BlendedQuality.from_parts({**spec, "experts": [*quality.experts, name]}, tensors)


def _with_lengths(tokens: CompletionTokens, name: str, posterior: Floats, lengths: Floats) -> CompletionTokens:
    """Answer lengths with one more expert: the pool's average, stretched by one factor."""
    spec, held = tokens.spec(), tokens.tensors()
    mean, high = held["tokens.mean"], held["tokens.q95"]
    seen = np.isfinite(lengths) & (lengths > 0)
    typical = posterior[seen] @ mean.mean(axis=0)
    stretch = np.exp(float(np.log(lengths[seen] / typical).sum()) / (int(seen.sum()) + LENGTH_PROMPTS))
    bounded = np.isfinite(high).all(axis=1)
    pool = {"tokens.mean": mean, "tokens.q95": high[bounded] if bounded.any() else high}
    added = {
        key: np.concatenate([held[key], (rows.mean(axis=0) * stretch)[None].astype(rows.dtype)])
        for key, rows in pool.items()
    }
    return CompletionTokens.from_parts({**spec, "experts": [*spec["experts"], name]}, added)
