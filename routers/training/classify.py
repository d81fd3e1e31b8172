"""Fit stage 1: the joint logistic classifier, its temperature, and where certainty ends.

Dense and lexical features are fitted together (`fit_softmax`); the lexical part is then folded into the embedder as
one table row per token, so that at run time a prompt costs two lookups (`pointsman.routers.embed.lexical`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.classifiers.linear import LinearClassifier
from pointsman.routers.classifiers.uncertainty import Thresholds
from pointsman.routers.embed import StorableEmbedder
from pointsman.routers.embed.lexical import LexicalEmbedder
from pointsman.routers.embed.static import Bag, StaticEmbedder, quantise_rows
from pointsman.routers.training.bags import count_tokens, inverse_document_frequency, tfidf
from pointsman.routers.training.softmax import fit_softmax
from pointsman.routers.types import FloatArray

#: Inverse penalty and iterations of the logistic fit; tuned on mmlu_pro, ulab9 and clinc150 by cross-validation.
INVERSE_PENALTY = 10.0
MAX_ITER = 20

#: Thresholds that nothing crosses; JSON has no infinity.
NO_BOUND_ABOVE = 1e9
NO_BOUND_BELOW = -1e9

#: Share of in-scope prompts that may be called out of scope.
FALSE_OUT_OF_SCOPE = 0.02


@dataclass(frozen=True, slots=True)
class Labels:
    """Fine classes and how they nest in categories.

    Attributes:
        categories: Names, sorted.
        fine: Index of the fine class of each prompt, -1 without a label, shape (n,).
        category_of: Category index of each fine class, ascending, shape (K,).
    """

    categories: tuple[str, ...]
    fine: npt.NDArray[np.int64]
    category_of: npt.NDArray[np.int64]

    @property
    def category(self) -> npt.NDArray[np.int64]:
        """Category index of each prompt, -1 without a label, shape (n,)."""
        return np.where(self.fine >= 0, self.category_of[self.fine], -1)

    def sum_up(self, posterior: FloatArray) -> FloatArray:
        """Posterior over fine classes, shape (n, K), summed into categories, shape (n, C)."""
        starts = np.flatnonzero(np.diff(self.category_of, prepend=-1))
        return np.asarray(np.add.reduceat(posterior, starts, axis=1))


def index_labels(categories: Sequence[str | None], fine: Sequence[str | None] | None) -> Labels:
    """Number categories and fine classes; fine classes are ordered by category, as `LinearClassifier` wants them."""
    pairs = [
        None if category is None else (category, finer or category)
        for category, finer in zip(categories, fine or [None] * len(categories), strict=True)
    ]
    classes = sorted({pair for pair in pairs if pair is not None})
    names = sorted({category for category, _ in classes})
    index = {pair: number for number, pair in enumerate(classes)}
    return Labels(
        tuple(names),
        np.array([-1 if pair is None else index[pair] for pair in pairs], dtype=np.int64),
        np.array([names.index(category) for category, _ in classes], dtype=np.int64),
    )


@dataclass(frozen=True, slots=True)
class Features:
    """What the fit sees of the prompts: unit vectors, and token counts where the embedder is static."""

    vectors: FloatArray
    counts: Any

    @classmethod
    def of(cls, embedder: StorableEmbedder, texts: Sequence[str]) -> Features:
        """Embed and count."""
        if isinstance(embedder, StaticEmbedder):
            ids = [embedder.token_ids(text) for text in texts]
            vectors = np.zeros((len(texts), embedder.dim), dtype=np.float32)
            for row, tokens in zip(vectors, ids, strict=True):
                row[:] = embedder.pool(Bag.of(tokens))
            return cls(vectors, count_tokens(ids, embedder.vocab))
        return cls(embedder.embed(texts), None)


@dataclass(frozen=True, slots=True)
class FittedLogits:
    """A fitted classifier before it is put into its run-time form."""

    dense: FloatArray
    lexical: FloatArray | None
    bias: FloatArray
    idf: FloatArray | None
    kept: npt.NDArray[np.int64] | None

    def bags(self, features: Features) -> Any:
        """TF-IDF rows of all prompts over the tokens that count, CSR, shape (n, kept tokens); None without tokens."""
        if self.idf is None or self.kept is None:
            return None
        return tfidf(features.counts, self.idf)[:, self.kept].tocsr()

    def logits(self, features: Features, rows: npt.NDArray[np.int64]) -> FloatArray:
        """Logits of the given prompts, shape (len(rows), K)."""
        out = features.vectors[rows] @ self.dense.T + self.bias
        if self.lexical is not None and self.idf is not None and self.kept is not None:
            out += tfidf(features.counts[rows], self.idf)[:, self.kept] @ self.lexical.T
        return np.asarray(out, dtype=np.float32)


def fit_logits(
    features: Features,
    rows: npt.NDArray[np.int64],
    fine: npt.NDArray[np.int64],
    classes: int,
    weights: npt.NDArray[np.float64] | None = None,
    max_iter: int = MAX_ITER,
    on_step: Callable[[], None] | None = None,
) -> FittedLogits:
    """Fit on the given labelled rows; `fine` and `weights` are those of all prompts."""
    idf = kept = bags = None
    if features.counts is not None:
        idf = inverse_document_frequency(features.counts[rows])
        kept = np.flatnonzero(idf > 0)
        bags = tfidf(features.counts[rows], idf)[:, kept].tocsr()
    dense, lexical, bias = fit_softmax(
        features.vectors[rows],
        bags,
        fine[rows],
        classes,
        c=INVERSE_PENALTY,
        weights=None if weights is None else weights[rows],
        max_iter=max_iter,
        on_step=on_step,
    )
    return FittedLogits(dense, None if bags is None else lexical, bias, idf, kept)


def assemble(
    fitted: FittedLogits,
    embedder: StorableEmbedder,
    labels: Labels,
    temperature: float,
    thresholds: Thresholds,
    more: FloatArray | None = None,
) -> tuple[StorableEmbedder, LinearClassifier]:
    """The run-time form: the embedder (with lexical scores where there are any) and the classifier on its vectors.

    Args:
        fitted: The classifier's fit.
        embedder: What it was fitted on.
        labels: What it was fitted to.
        temperature: Of the classifier.
        thresholds: Of the classifier.
        more: Token weights of further lexical scores, after those of the classes, shape (r, kept tokens).
    """
    weights = fitted.dense
    if fitted.lexical is not None and isinstance(embedder, StaticEmbedder):
        assert fitted.idf is not None  # noqa: S101 (both are fitted together with the lexical part)
        assert fitted.kept is not None  # noqa: S101
        tables = [fitted.lexical] if more is None else [fitted.lexical, more]
        rows, scales = quantise_rows(np.ascontiguousarray(np.concatenate(tables).T))
        row_of = np.zeros(embedder.vocab, dtype=np.int32)
        row_of[fitted.kept] = np.arange(len(fitted.kept))
        weights = np.concatenate([weights, np.eye(len(fitted.bias), dtype=np.float32)], axis=1)
        embedder = LexicalEmbedder(embedder, fitted.idf, row_of, rows, scales)
    classifier = LinearClassifier(
        labels.categories, weights, fitted.bias, labels.category_of, temperature=temperature, thresholds=thresholds
    )
    return embedder, classifier


def fit_temperature(logits: FloatArray, fine: npt.NDArray[np.int64]) -> float:
    """The T of least negative log likelihood on held-out logits, by golden-section search over ln T in [-3, 3]."""
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(fine))

    def loss(log_t: float) -> float:
        scaled = logits * np.float32(np.exp(-log_t))
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[rows, fine]).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x))


def fine_posterior(logits: FloatArray, temperature: float) -> tuple[FloatArray, FloatArray]:
    """Softmax of logits over the temperature, shape (n, K), and the scope score of `LinearClassifier`, shape (n,)."""
    scaled = logits / np.float32(temperature)
    peak = scaled.max(axis=1, keepdims=True)
    exp = np.exp(scaled - peak)
    total = exp.sum(axis=1, keepdims=True)
    return exp / total, (peak + np.log(total))[:, 0]


def choose_max_entropy(entropy: npt.NDArray[Any], correct: npt.NDArray[np.bool_]) -> float:
    """The least entropy above which the classifier is wrong more often than right, else `NO_BOUND_ABOVE`."""
    order = np.argsort(-entropy, kind="stable")
    accuracy = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    wrong = np.flatnonzero(accuracy <= 0.5)
    return float(entropy[order[wrong[-1]]]) if len(wrong) else NO_BOUND_ABOVE


def choose_min_scope(in_scope: npt.NDArray[Any], out_of_scope: npt.NDArray[Any]) -> float:
    """The scope score under which at most 2 % of in-scope prompts fall.

    Without out-of-scope examples there is nothing to hold the threshold against, and no prompt is called out of scope.
    """
    if not len(out_of_scope) or not len(in_scope):
        return NO_BOUND_BELOW
    return float(np.quantile(in_scope, FALSE_OUT_OF_SCOPE))
