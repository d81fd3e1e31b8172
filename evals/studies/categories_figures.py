"""Figures of the page on categories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pointsman.evals.metrics.calibration import reliability
from pointsman.evals.studies.drawing import BLACK, BLUE, GREY, ORANGE, axes, save
from pointsman.evals.studies.seed_sets import SHARES, SeedCurve

Floats = npt.NDArray[np.float64]

#: Shares in % that are written into their cell.
_WRITTEN = 3.0

#: Prompts a bin of the reliability diagram must hold to be drawn.
_LEAST_IN_BIN = 20


def plot_confusion(names: Sequence[str], confusion: Floats, path: Path) -> None:
    """Heat map of where each category's prompts were put; rows sum to 1."""
    figure, (ax,) = axes(1, (5.2, 4.6))
    size = len(names)
    # One rectangle per cell: an image would be embedded as a bitmap.
    ax.pcolormesh(100 * confusion[::-1], cmap="Blues", vmin=0, vmax=100, edgecolors="white", linewidth=0.4)
    for row, column in np.argwhere(100 * confusion >= _WRITTEN):
        share = 100 * confusion[row, column]
        ink = "white" if share > 55 else "black"
        ax.text(column + 0.5, size - row - 0.5, f"{share:.0f}", size=5.5, ha="center", va="center", color=ink)
    ax.set_xticks(np.arange(size) + 0.5, names, rotation=90, size=6.5)
    ax.set_yticks(np.arange(size) + 0.5, list(names)[::-1], size=6.5)
    ax.set_xlabel("put in, % of the row", size=7.5)
    ax.set_ylabel("belongs to", size=7.5)
    save(figure, path)


def plot_trust(tables: Sequence[tuple[str, npt.NDArray[np.int64], Floats, Floats, Floats]], path: Path) -> None:
    """Reliability before and after calibration, and accuracy over coverage.

    Args:
        tables: Name, true categories (n,), posterior before and after calibration (n, C), entropy after it (n,).
        path: File to write.
    """
    figure, (left, right) = axes(2, (8, 3.2))
    left.plot([0, 1], [0, 1], c=GREY, lw=0.8, ls="--")
    for (name, truth, before, after, entropy), colour in zip(tables, (BLUE, ORANGE), strict=True):
        correct = (after.argmax(axis=1) == truth).astype(np.float64)
        for posterior, style, when in ((before, ":", "before"), (after, "-", "after temperature")):
            bins = [one for one in reliability(posterior.max(axis=1), correct) if one.count >= _LEAST_IN_BIN]
            said, was = [one.predicted for one in bins], [one.observed for one in bins]
            left.plot(said, was, ls=style, marker=".", c=colour, lw=1.3, label=f"{name}, {when}")
        running = np.cumsum(correct[np.argsort(entropy, kind="stable")]) / np.arange(1, len(correct) + 1)
        covered = np.linspace(0.05, 1.0, 40)
        right.plot(covered, running[(covered * len(running)).astype(int) - 1], c=colour, lw=1.3, label=name)
    left.set_xlabel("probability of the category", size=8)
    left.set_ylabel("share that is right", size=8)
    right.set_xlabel("share of prompts kept, least entropy first", size=8)
    right.set_ylabel("accuracy of those kept", size=8)
    for ax in (left, right):
        ax.grid(alpha=0.2)
        ax.legend(fontsize=6.5, frameon=False)
    save(figure, path)


def plot_seeds(curves: Sequence[SeedCurve], path: Path) -> None:
    """Accuracy over the share of prompts with a label, one panel per table."""
    figure, row = axes(len(curves), (8, 3.2))
    for ax, curve in zip(row, curves, strict=True):
        ax.axhline(curve.full, c=GREY, lw=0.8, ls="--", label="all labels")
        for way, colour in zip(curve.ways, (BLACK, ORANGE, BLUE), strict=False):
            ax.plot(SHARES, way.accuracy, marker=".", lw=1.3, c=colour, label=way.name)
        ax.set_xscale("log")
        ax.set_xticks(SHARES, [f"{100 * share:g} %" for share in SHARES])
        ax.minorticks_off()
        ax.set_xlabel(f"{curve.table}: prompts with a label", size=8)
        ax.grid(alpha=0.2)
        ax.legend(fontsize=6.5, frameon=False)
    row[0].set_ylabel("test accuracy", size=8)
    save(figure, path)
