"""Fit a router on an outcome table: the table's arrays handed to `pointsman.routers.training`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pointsman.evals.tables import UNLABELLED, OutcomeTable
from pointsman.routers.artifacts import RouterParts, save_router
from pointsman.routers.embed import StorableEmbedder


def fit_on_table(
    table: OutcomeTable,
    name: str,
    embedder: str | None = None,
    seed: int = 0,
    progress: Callable[[float], None] = lambda _: None,
    *,
    head: str = "linear",
    propagate_labels: bool = False,
    evidence: bool = False,
) -> RouterParts:
    """Fit a router on every prompt of a table (callers pass a train split).

    Args:
        table: What to fit on.
        name: Of the router.
        embedder: Name of the embedder; None for the default, `fine-tuned` for one trained on the table first.
        seed: Of everything random in fitting.
        progress: Told the share that is done.
        head: Of the classifier: `linear`, `knn`, `mlp` or `auto`.
        propagate_labels: Label prompts without a category from their labelled neighbours first.
        evidence: Also learn which expert to ask next after some answers, if the table holds answers.

    Raises:
        RouterError: The data cannot train a router, or the embedder cannot be had.
    """
    from threadpoolctl import threadpool_limits

    from pointsman.routers.training.data import TrainingData
    from pointsman.routers.training.fine_tune import FINE_TUNED, tune_encoder
    from pointsman.routers.training.fit import fit_router
    from pointsman.routers.training.semi_supervised import label_the_rest
    from pointsman.routers.training.stage1 import HeadChoice

    data = TrainingData(
        texts=table.prompts,
        categories=tuple(None if label == UNLABELLED else label for label in table.categories),
        experts=table.experts,
        scores=table.scores,
        completion_tokens=table.completion_tokens,
        answers=table.answers if evidence else None,
        cost_usd=table.cost_usd,
        provenance={
            "table": table.name,
            "sha256": dict(table.sha256),
            "split": sorted(set(table.splits)),
            "prompts": len(table),
            "experts_left_out": dict(table.left_out),
        },
    )
    if propagate_labels:
        data = label_the_rest(data, seed)
    chosen: StorableEmbedder | str | None = embedder
    if embedder == FINE_TUNED:
        data, chosen = tune_encoder(data, table.name, seed, lambda share: progress(0.8 * share))
    # Thousands of small products: handing each to several threads costs more than it gains.
    with threadpool_limits(limits=1, user_api="blas"):
        return fit_router(data, name=name, embedder=chosen, seed=seed, head=HeadChoice(head), progress=progress)


def save_fitted(folder: Path, parts: RouterParts) -> str:
    """Write the artefact; gives its hash."""
    return save_router(folder, parts)
