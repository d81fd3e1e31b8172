"""Figures of the pages: SVG with text as text, and the same bytes for the same data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Okabe & Ito's palette, told apart by colour-blind readers.
GREY, BLUE, ORANGE, BLACK = "#888888", "#0072b2", "#d55e00", "#000000"


def axes(columns: int, size: tuple[float, float], **more: Any) -> tuple[Figure, list[Any]]:
    """A figure with so many axes side by side, with small ticks."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    figure, found = plt.subplots(1, columns, figsize=size, layout="constrained", squeeze=False, **more)
    row = list(found[0])
    for ax in row:
        ax.tick_params(labelsize=7)
    return figure, row


def save(figure: Figure, path: Path) -> None:
    """Write the figure and forget it."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    with mpl.rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
