"""Fit a router on prompts with labels and outcomes.

Everything that is chosen (temperature, thresholds, blend) is chosen on out-of-fold predictions inside
the given data; a table's test split is never seen here.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.artifacts import DEFAULT_NAME, RouterParts, default_embedder
from pointsman.routers.classifiers.uncertainty import Thresholds
from pointsman.routers.embed import StorableEmbedder
from pointsman.routers.embed.lexical import LexicalEmbedder
from pointsman.routers.embed.prompt_features import FormatEmbedder, prompt_features
from pointsman.routers.errors import TrainingError
from pointsman.routers.estimators.quality import BlendedQuality, BlendWeights, CategoryMeans, LinearHeads
from pointsman.routers.estimators.tokens import CompletionTokens
from pointsman.routers.evidence.policy import SequentialPolicy
from pointsman.routers.training import classify, heads
from pointsman.routers.training.clusters import cluster_labels
from pointsman.routers.training.data import TrainingData
from pointsman.routers.training.evidence import fit_evidence
from pointsman.routers.training.folds import fold_of
from pointsman.routers.training.lengths import fit_lengths
from pointsman.routers.training.metrics import (
    auroc,
    best_single_quality,
    expected_calibration_error,
    routed_quality,
    selection_accuracy,
)
from pointsman.routers.training.ridge import PromptFeatures, Ridge, compress, fit_ridges, merge_ridges
from pointsman.routers.training.stage1 import HeadChoice, HeldOutHead, choose_head
from pointsman.routers.training.uncertain import choose_max_entropy
from pointsman.routers.types import FloatArray

FOLDS = 5

#: Share of the training prompts beyond each bound of a prompt's figures.
BEYOND_BOUNDS = 0.005

Progress = Callable[[float], None]


def make_embedder(name: str | None) -> StorableEmbedder:
    """An embedder by name: None or `static` for the packaged static one, else a sentence-transformers model.

    Raises:
        EmbedderError: The model cannot be had.
        ArtifactError: The packaged artefact is damaged.
    """
    if name is None or name in ("static", DEFAULT_NAME):
        return _plain(default_embedder())
    from pointsman.routers.embed.sentence_transformers import SentenceTransformersEmbedder

    return SentenceTransformersEmbedder(name)


def _plain(embedder: StorableEmbedder) -> StorableEmbedder:
    """The embedder without what an earlier fit appended."""
    if isinstance(embedder, FormatEmbedder):
        embedder = embedder.inner
    return embedder.static if isinstance(embedder, LexicalEmbedder) else embedder


def fit_router(
    data: TrainingData,
    *,
    name: str = "two-stage",
    embedder: StorableEmbedder | str | None = None,
    seed: int = 0,
    max_iter: int = classify.MAX_ITER,
    head: HeadChoice = HeadChoice.LINEAR,
    progress: Progress = lambda _: None,
) -> RouterParts:
    """Fit a router.

    Args:
        data: Prompts, labels, outcomes. Without labels that tell prompts apart the categories are k-means clusters.
        name: Of the router, as decisions will name it.
        embedder: A name (see `make_embedder`) or an embedder.
        seed: Of folds, clusters and samples; the same seed and data give the same bytes.
        max_iter: Iterations of the classifier's fit at most.
        head: Of the classifier; `auto` for the one of least held-out log-loss.
        progress: Told the share that is done, in [0, 1].

    Returns:
        The parts of an artefact, with `metrics` measured out of fold. `parts.router()` is the router in memory,
        `pointsman.routers.artifacts.save_router` writes it.

    Raises:
        TrainingError: The data cannot train a router.
        EmbedderError: The embedder cannot be had.
    """
    data.check()
    fold = fold_of(data.texts, FOLDS, seed)
    if len(set(fold.tolist())) < 2:
        different = len({" ".join(text.lower().split()) for text in data.texts})
        raise TrainingError(
            f"{len(data.texts)} prompts of {different} different texts are too few or too much alike: none can be held "
            "out to measure on"
        )
    chosen = make_embedder(embedder) if embedder is None or isinstance(embedder, str) else _plain(embedder)
    features = classify.Features.of(chosen, data.texts)
    progress(0.1)
    clustered = len(set(data.categories) - {None}) < 2
    categories = cluster_labels(features.vectors, seed) if clustered else list(data.categories)
    labels = classify.index_labels(categories, None if clustered else data.fine)
    if len(labels.categories) < 2:
        raise TrainingError("the prompts are too much alike to tell categories apart")
    held, fitted = _cross_fit(data, features, labels, fold, max_iter, lambda share: progress(0.1 + 0.6 * share))
    linear = _linear_head(labels, held)
    found = choose_head(head, linear.held, features.vectors, labels, fold, seed)
    stage1 = _calibrate(data, labels, found)
    figures = np.array([prompt_features(text) for text in data.texts])
    low, high = (np.quantile(figures, q, axis=0).astype(np.float32) for q in (BEYOND_BOUNDS, 1 - BEYOND_BOUNDS))
    prompts = PromptFeatures(features.vectors, figures.clip(low, high), stage1.posterior, fitted.bags(features))
    fit = _fit_quality(data, prompts, labels, fold)
    more, regressions = linear_heads(fit.ridge, prompts, fitted)
    thresholds = _price_uncertainty(stage1, fit)
    runtime, classifier = classify.assemble(fitted, chosen, labels, linear.temperature, thresholds, more)
    quality = BlendedQuality(
        data.experts if fit.base.size else (),
        labels.categories,
        fit.base,
        fit.weights,
        category=fit.category,
        linear=regressions,
    )
    progress(0.95)
    parts = RouterParts(
        name=name,
        embedder=FormatEmbedder(runtime, low, high),
        classifier=classifier if found.build is None else found.build(thresholds),
        quality=quality,
        tokens=_fit_tokens(data, labels, stage1.posterior),
        evidence=_fit_evidence(data, fit, seed),
        training=_describe(data, labels, seed, clustered),
        metrics={
            "classifier": {
                **stage1.metrics,
                "uncertain_share": float((stage1.entropy > thresholds.max_entropy).mean()),
            },
            "routing": fit.metrics,
            "measured": f"out of fold, {FOLDS} folds",
        },
    )
    progress(1.0)
    return parts


@dataclass(frozen=True, slots=True)
class _Linear:
    temperature: float
    held: HeldOutHead


@dataclass(frozen=True, slots=True)
class _Stage1:
    thresholds: Thresholds
    posterior: FloatArray
    entropy: npt.NDArray[np.float64]
    metrics: dict[str, Any]


def _cross_fit(
    data: TrainingData,
    features: classify.Features,
    labels: classify.Labels,
    fold: npt.NDArray[np.int64],
    max_iter: int,
    progress: Progress,
) -> tuple[FloatArray, classify.FittedLogits]:
    """Out-of-fold logits of every prompt, and the classifier fitted on all."""
    labelled = labels.fine >= 0
    classes = len(labels.category_of)
    held = np.zeros((len(data), classes), dtype=np.float32)
    total, done = (FOLDS + 1) * max_iter, 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(min(done / total, 1.0))

    for index in range(FOLDS):
        train = np.flatnonzero(labelled & (fold != index))
        test = np.flatnonzero(fold == index)
        part = classify.fit_logits(features, train, labels.fine, classes, data.weights, max_iter, step)
        held[test] = part.logits(features, test)
    everything = np.flatnonzero(labelled)
    return held, classify.fit_logits(features, everything, labels.fine, classes, data.weights, max_iter, step)


def _linear_head(labels: classify.Labels, held: FloatArray) -> _Linear:
    labelled = np.flatnonzero(labels.fine >= 0)
    temperature = classify.fit_temperature(held[labelled], labels.fine[labelled])
    fine, scope = classify.fine_posterior(held, temperature)
    return _Linear(temperature, HeldOutHead(HeadChoice.LINEAR, labels.sum_up(fine), scope))


def _calibrate(data: TrainingData, labels: classify.Labels, head: HeldOutHead) -> _Stage1:
    labelled = np.flatnonzero(labels.fine >= 0)
    posterior, scope = head.posterior, head.scope
    entropy = -(posterior * np.log(np.maximum(posterior, 1e-30))).sum(axis=1)
    correct = posterior.argmax(axis=1)[labelled] == labels.category[labelled]
    outside = np.empty(0) if data.out_of_scope is None else scope[data.out_of_scope]
    thresholds = Thresholds(
        max_entropy=classify.choose_max_entropy(entropy[labelled], correct),
        min_scope=classify.choose_min_scope(scope[labelled], outside),
        measured=_measured(data, labels),
    )
    figures = {
        "accuracy": float(correct.mean()),
        "log_loss": head.log_loss(labels.category),
        "expected_calibration_error": expected_calibration_error(posterior[labelled].max(axis=1), correct),
        "out_of_scope_auroc": auroc(scope[labelled], outside),
    }
    return _Stage1(thresholds, posterior, entropy.astype(np.float64), finite(figures))


def _price_uncertainty(stage1: _Stage1, fit: _Quality) -> Thresholds:
    """The threshold by what the generalist is worth; by the classifier's mistakes where outcomes decide nothing.

    The second costs nothing measurable on prompts like the table's, and holds for those unlike any.
    """
    if not len(fit.rows):
        return stage1.thresholds
    by_quality = choose_max_entropy(stage1.entropy[fit.rows], fit.routed, fit.single)
    return replace(stage1.thresholds, max_entropy=by_quality) if np.isfinite(by_quality) else stage1.thresholds


def _measured(data: TrainingData, labels: classify.Labels) -> tuple[str, ...] | None:
    """The categories with outcomes; None when all have some, and when there are no outcomes at all."""
    scored = labels.category[np.isfinite(data.scores).any(axis=1)]
    found = [name for index, name in enumerate(labels.categories) if (scored == index).any()]
    return tuple(found) if found and len(found) < len(labels.categories) else None


@dataclass(frozen=True, slots=True)
class _Quality:
    """The fit of quality; all empty without outcomes."""

    base: FloatArray
    weights: BlendWeights
    category: CategoryMeans | None
    ridge: Ridge | None
    metrics: dict[str, Any]
    #: Out-of-fold predictions for the prompts with a score.
    held: npt.NDArray[np.float64]
    #: Prompts with a score, and what the router's pick and the best single expert got on them, out of fold.
    rows: npt.NDArray[np.int64]
    routed: npt.NDArray[np.float64]
    single: npt.NDArray[np.float64]


def _fit_quality(
    data: TrainingData, prompts: PromptFeatures, labels: classify.Labels, fold: npt.NDArray[np.int64]
) -> _Quality:
    """Category means and regressions on all outcomes, blended by how the same did out of fold."""
    rows = np.flatnonzero(np.isfinite(data.scores).any(axis=1))
    if not len(data.experts) or not len(rows):
        nothing = np.empty(0)
        return _Quality(np.empty(0, np.float32), BlendWeights(), None, None, {}, nothing, rows[:0], nothing, nothing)
    membership = _membership(labels, prompts.posterior)[rows]
    scores, prompts, fold = data.scores[rows], prompts.rows(rows), fold[rows]
    base = np.zeros(scores.shape)
    views = [np.zeros(scores.shape) for _ in range(1 + len(heads.RIDGE_PENALTIES))]
    for index in range(FOLDS):
        train, test = np.flatnonzero(fold != index), np.flatnonzero(fold == index)
        if not len(test):
            continue
        if not np.isfinite(scores[train]).any(axis=0).all():
            raise TrainingError(f"too few scored prompts: an expert has all of its own in one of {FOLDS} folds")
        base[test] = heads.overall_means(scores[train])
        means = heads.fit_category_means(scores[train], membership[train])
        asked = prompts.rows(test)
        views[0][test] = asked.posterior @ means.mean.T
        ridges = fit_ridges(prompts.rows(train), scores[train], heads.RIDGE_PENALTIES)
        for view, ridge in zip(views[1:], ridges, strict=True):
            view[test] = ridge.predict(asked)
    weights = heads.choose_blend(base, views, scores)
    share = float(weights[1:].sum())
    merged = None
    if share:
        merged = merge_ridges(fit_ridges(prompts, scores, heads.RIDGE_PENALTIES), weights[1:] / share)
    blended = base + sum(weight * (view - base) for weight, view in zip(weights, views, strict=True))
    blended = blended.clip(0.0, 1.0)
    at = np.arange(len(rows))
    return _Quality(
        heads.overall_means(scores),
        BlendWeights(float(weights[0]), share),
        heads.fit_category_means(scores, membership),
        merged,
        _figures(blended, scores, weights),
        blended,
        rows,
        routed=scores[at, blended.argmax(axis=1)],
        single=scores[at, base.argmax(axis=1)],
    )


def _figures(blended: npt.NDArray[Any], scores: npt.NDArray[Any], weights: npt.NDArray[Any]) -> dict[str, Any]:
    """What the manifest says of out-of-fold predictions."""
    seen = np.isfinite(scores)
    shares = zip(heads.RIDGE_PENALTIES, weights[1:].tolist(), strict=True)
    return finite(
        {
            "prompts": len(scores),
            "routed_quality": routed_quality(blended, scores),
            "best_single_quality": best_single_quality(heads.overall_means(scores), scores),
            "oracle_quality": float(np.nanmean(np.nanmax(scores, axis=1))),
            "selection_accuracy": selection_accuracy(blended, scores),
            "brier_score": float(np.nanmean((blended - scores) ** 2)),
            "expected_calibration_error": expected_calibration_error(blended[seen], scores[seen]),
            "ridge_shares": {f"{penalty:g}": share for penalty, share in shares},
        }
    )


def linear_heads(
    ridge: Ridge | None, prompts: PromptFeatures, fitted: classify.FittedLogits
) -> tuple[FloatArray | None, LinearHeads | None]:
    """A regression in its run-time form: token weights of further lexical scores, and heads on the vectors.

    The vectors' columns are: embedding, lexical scores of the classes (unread), further lexical scores, figures.
    """
    if ridge is None:
        return None, None
    parts, more = [ridge.vectors], None
    if ridge.bags is not None and fitted.lexical is not None:
        more, loadings = compress(ridge.bags, prompts.bags)
        # Both kinds of score share one scale per token, so they are brought to the same spread.
        stretch = np.float32(fitted.lexical.std() / max(float(more.std()), 1e-12)) if more.size else np.float32(1.0)
        more = more * stretch
        parts += [np.zeros((len(loadings), len(fitted.lexical)), np.float32), loadings / stretch]
    return more, LinearHeads(np.concatenate([*parts, ridge.figures], axis=1), ridge.bias, ridge.posterior)


def _membership(labels: classify.Labels, posterior: FloatArray) -> FloatArray:
    """The label where there is one, else the held-out posterior; shape (n, C)."""
    membership = posterior.copy()
    labelled = labels.category >= 0
    membership[labelled] = np.eye(len(labels.categories), dtype=np.float32)[labels.category[labelled]]
    return membership


def _fit_tokens(data: TrainingData, labels: classify.Labels, posterior: FloatArray) -> CompletionTokens | None:
    tokens = data.completion_tokens
    if tokens is None:
        return None
    known = np.flatnonzero(np.isfinite(tokens).any(axis=0))
    if not len(known):
        return None
    mean, high = fit_lengths(tokens[:, known], labels.category, posterior)
    return CompletionTokens([data.experts[index] for index in known], labels.categories, mean, high)


def _fit_evidence(data: TrainingData, fit: _Quality, seed: int) -> SequentialPolicy | None:
    if data.answers is None or not len(fit.rows):
        return None
    tokens, cost = data.completion_tokens, data.cost_usd
    return fit_evidence(
        data.experts,
        fit.held,
        data.scores[fit.rows],
        data.answers[fit.rows],
        None if tokens is None else tokens[fit.rows],
        None if cost is None or not np.isfinite(cost).any() else cost[fit.rows],
        seed,
    )


def _describe(data: TrainingData, labels: classify.Labels, seed: int, clustered: bool) -> dict[str, Any]:
    counts = np.bincount(labels.category[labels.category >= 0], minlength=len(labels.categories))
    return {
        "prompts": len(data),
        "labels": "k-means clusters" if clustered else "given",
        "prompts_per_category": dict(zip(labels.categories, counts.tolist(), strict=True)),
        "scored_prompts_per_expert": dict(
            zip(data.experts, np.isfinite(data.scores).sum(axis=0).tolist(), strict=True)
        ),
        "seed": seed,
        "versions": {package: importlib.metadata.version(package) for package in ("numpy", "scipy", "tokenizers")},
        "data": dict(data.provenance),
    }


def finite(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures with NaN as None, as JSON wants it."""
    return {
        key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in figures.items()
    }
