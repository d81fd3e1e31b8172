"""Fit a router on an outcome table: the table's arrays handed to `routers.training`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from evals.tables import UNLABELLED, OutcomeTable
from routers.artifacts import RouterParts, save_router


def fit_on_table(
    table: OutcomeTable,
    name: str,
    embedder: str | None = None,
    seed: int = 0,
    progress: Callable[[float], None] = lambda _: None,
) -> RouterParts:
    """Fit a router on every prompt of a table (callers pass a train split).

    Args:
        table: What to fit on.
        name: Of the router.
        embedder: Name of the embedder; None for the default.
        seed: Of everything random in fitting.
        progress: Told the share that is done.

    Raises:
        RouterError: The data cannot train a router, or the embedder cannot be had.
    """
    from routers.training.data import TrainingData
    from routers.training.fit import fit_router

    data = TrainingData(
        texts=table.prompts,
        categories=tuple(None if label == UNLABELLED else label for label in table.categories),
        experts=table.experts,
        scores=table.scores,
        completion_tokens=table.completion_tokens,
        provenance={
            "table": table.name,
            "sha256": dict(table.sha256),
            "split": sorted(set(table.splits)),
            "prompts": len(table),
            "experts_left_out": dict(table.left_out),
        },
    )
    return fit_router(data, name=name, embedder=embedder, seed=seed, progress=progress)


def save_fitted(folder: Path, parts: RouterParts) -> str:
    """Write the artefact; gives its hash."""
    return save_router(folder, parts)
