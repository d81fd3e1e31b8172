"""The report's figures as inline SVG that follows the page's light or dark theme.

Matplotlib draws with placeholder colours; each is replaced by a CSS variable of the page. Text stays text, so that it
takes the page's font and can be found and copied.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pointsman.evals.policies import Kind
from pointsman.evals.report import EvaluationReport, RouterRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Placeholder -> CSS variable. Colours of series: Okabe & Ito's palette, told apart by colour-blind readers.
INK = "#010101"
FAINT = "#020202"
_PAPER = "#030303"
SERIES = tuple(f"#0405{i:02x}" for i in range(8))
_VARIABLES = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    _PAPER: "var(--paper)",
    **{colour: f"var(--series-{i})" for i, colour in enumerate(SERIES)},
}
#: Baselines whose predictions are worth a look beside a router's.
_PREDICTORS = ("knn100", "linear")


def cost_quality(report: EvaluationReport) -> str | None:
    """Every expert, router and baseline in the cost-quality plane, with curves and hulls; None without costs."""
    if report.provenance.cost_range_usd is None:
        return None

    def draw(ax: Axes) -> None:
        known = [
            (row.name, row.cost_usd, row.quality) for row in report.pool if row.cost_usd and row.quality is not None
        ]
        ax.scatter(
            [1000 * cost for _, cost, _ in known],
            [quality for *_, quality in known],
            s=16,
            c=FAINT,
            zorder=2,
            label="single experts",
        )
        best = {name for name, *_ in sorted(known, key=lambda item: -item[2])[:1]}
        cheap = {name for name, *_ in sorted(known, key=lambda item: item[1])[:1]}
        for name, cost, quality in known:
            if name in best | cheap:
                ax.annotate(
                    name,
                    (1000 * cost, quality),
                    xytext=(-4, -11),
                    textcoords="offset points",
                    size=7,
                    color=INK,
                    ha="right" if name in best else "left",
                    alpha=0.8,
                )
        for i, row in enumerate(row for row in _with_curves(report)):
            colour = SERIES[i % len(SERIES)]
            hull = [point for point in row.curve if point.on_hull]
            costs, qualities = [1000 * point.cost_usd for point in hull], [point.quality for point in hull]
            router = row.kind is Kind.ROUTER
            # Mixing two settings is a straight line in dollars, and a bent one on a log axis.
            dollars = np.union1d(costs, np.geomspace(max(costs[0], 1e-9), max(costs[-1], 1e-9), 80))
            ax.plot(
                dollars,
                np.interp(dollars, costs, qualities),
                color=colour,
                lw=2.2 if router else 1.3,
                ls="-" if router else (0, (4, 2)),
                label=row.name,
                zorder=4 if router else 3,
            )
            ax.plot(costs, qualities, ".", color=colour, ms=5 if router else 3, zorder=4 if router else 3)
        _log_dollars(ax)
        ax.set_xlabel("US dollars per 1,000 prompts (log scale)")
        ax.set_ylabel("mean quality")
        _legend(ax)

    return figure_svg("plane", draw, width=8.6, height=4.6)


def deferral(report: EvaluationReport) -> str | None:
    """Quality relative to the best single expert against cost relative to it; None without costs."""
    single = next((row for row in report.routers if row.name == "best_single"), None)
    rows = [row for row in _with_curves(report) if row.name not in ("oracle", "zero_router")]
    if single is None or not (base := single.metrics["quality"]) or not single.metrics["cost_usd"] or not rows:
        return None

    def draw(ax: Axes) -> None:
        lowest = 1.0
        for i, row in enumerate(_with_curves(report)):
            if row.name == "oracle":
                continue
            hull = [point for point in row.curve if point.on_hull and point.cost_share is not None]
            if not hull:
                continue
            lowest = min(lowest, hull[0].quality / base)
            # After its best setting a router gains nothing by spending more: the hull is padded flat.
            xs = [100 * (point.cost_share or 0.0) for point in hull]
            ys = [100 * point.quality / base for point in hull]
            if row.band:
                ax.fill_between(
                    [100 * point.cost_share for point in row.band],
                    [100 * point.low for point in row.band],
                    [100 * point.high for point in row.band],
                    color=SERIES[i % len(SERIES)],
                    alpha=0.16,
                    lw=0,
                )
            ax.plot(
                [*xs, max(100.0, xs[-1])],
                [*ys, ys[-1]],
                color=SERIES[i % len(SERIES)],
                lw=2.2 if row.kind is Kind.ROUTER else 1.3,
                ls="-" if row.kind is Kind.ROUTER else (0, (4, 2)),
                label=row.name,
            )
        ax.axhline(100, color=FAINT, lw=0.8)
        ax.axhline(95, color=FAINT, lw=0.8, ls=":")
        ax.axvline(100, color=FAINT, lw=0.8)
        ax.set_xlim(0, 105)
        ax.set_ylim(100 * max(lowest, 0.8) - 1, None)
        ax.set_xlabel("cost, % of always asking the best single expert")
        ax.set_ylabel("quality, % of the best single expert")
        _legend(ax, loc="lower right")

    return figure_svg("deferral", draw, width=8.6, height=4.2)


def two_experts(report: EvaluationReport) -> str | None:
    """Mean quality against the share of calls to the better of two experts; None for other pools."""
    rows = [row for row in report.routers if row.pair_curve and not row.name.startswith("category_predicted")]
    if not rows:
        return None

    def draw(ax: Axes) -> None:
        ends = sorted(row.quality for row in report.pool if row.quality is not None)
        ax.plot([0, 100], ends, color=FAINT, lw=1, ls=":", label="random")
        for i, row in enumerate(sorted(rows, key=lambda row: row.kind is Kind.BASELINE)):
            ax.plot(
                [100 * share for share, _ in row.pair_curve],
                [quality for _, quality in row.pair_curve],
                color=SERIES[i % len(SERIES)],
                lw=2.2 if row.kind is Kind.ROUTER else 1.2,
                ls="-" if row.kind is Kind.ROUTER else (0, (4, 2)),
                label=_named(row, "APGR", row.metrics["apgr"]),
            )
        ax.set_xlim(0, 100)
        ax.set_xlabel("calls to the better expert, %")
        ax.set_ylabel("mean quality")
        _legend(ax, loc="lower right")

    return figure_svg("pair", draw, width=8.6, height=4.2)


def calibration(report: EvaluationReport) -> str | None:
    """Predicted against observed quality of the routers and of the research baselines; None where nobody predicts."""
    rows = [row for row in report.routers if row.calibration and (row.kind is Kind.ROUTER or row.name in _PREDICTORS)]
    if not rows:
        return None

    def draw(ax: Axes) -> None:
        ax.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=":")
        most = max(one.count for row in rows for one in row.calibration)
        for i, row in enumerate(sorted(rows, key=lambda row: row.kind is Kind.BASELINE)):
            colour = SERIES[i % len(SERIES)]
            xs, ys = [one.predicted for one in row.calibration], [one.observed for one in row.calibration]
            ax.plot(
                xs,
                ys,
                color=colour,
                lw=1.8 if row.kind is Kind.ROUTER else 1.1,
                label=_named(row, "ECE", row.metrics["calibration_error"]),
            )
            sizes = [8 + 70 * one.count / most for one in row.calibration]
            ax.scatter(xs, ys, s=sizes, color=colour, alpha=0.8, lw=0)
        ax.set_xlim(-0.02, 1.02)
        ax.set_ylim(-0.02, 1.02)
        ax.set_xlabel("predicted quality, all experts; the dot's area is the number of predictions")
        ax.set_ylabel("observed quality")
        _legend(ax, loc="upper left")

    return figure_svg("calibration", draw, width=8.6, height=4.4)


def quality_bars(report: EvaluationReport) -> str:
    """Quality of every router and baseline with its interval, and the best single expert as a line."""
    rows = [row for row in report.routers if row.metrics["quality"] is not None and row.name != "zero_router"]
    rows.sort(key=lambda row: row.metrics["quality"] or 0.0)
    single = next((row.metrics["quality"] for row in rows if row.name == "best_single"), None)

    def draw(ax: Axes) -> None:
        for y, row in enumerate(rows):
            quality = row.metrics["quality"] or 0.0
            router = row.kind is Kind.ROUTER
            low, high = row.intervals.get("quality", (quality, quality))
            ax.barh(y, quality, color=SERIES[0] if router else FAINT, height=0.66, alpha=1.0 if router else 0.55)
            ax.plot([low, high], [y, y], color=INK, lw=1.4)
            ax.annotate(
                f"{quality:.3f}",
                (high, y),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                size=8,
                color=INK,
            )
        if single is not None:
            ax.axvline(single, color=INK, lw=0.9, ls=":")
        ax.set_yticks(range(len(rows)), [row.name for row in rows])
        highest = max(row.intervals.get("quality", (0.0, row.metrics["quality"] or 0.0))[1] for row in rows)
        ax.set_xlim(0, min(1.12, highest * 1.1))
        ax.set_xlabel("mean quality with 95 % interval; the dotted line is the best single expert")
        ax.grid(axis="y", visible=False)

    return figure_svg("bars", draw, width=8.6, height=0.9 + 0.32 * len(rows))


def choice_shares(report: EvaluationReport, most: int = 7) -> str | None:
    """Which experts each router and learned baseline asks, as stacked shares; None when nobody chooses."""
    plain = {"random", "cheapest", "best_single"}
    rows = [
        row
        for row in report.routers
        if row.choice_shares and row.name not in plain and "random_matched" not in row.name
    ]
    if not rows:
        return None
    total: dict[str, float] = {}
    for row in rows:
        for name, share in row.choice_shares.items():
            total[name] = total.get(name, 0.0) + share
    shown = sorted(total, key=lambda name: -total[name])[:most]

    def draw(ax: Axes) -> None:
        others_named = False
        for y, row in enumerate(reversed(rows)):
            left = 0.0
            for i, name in enumerate(shown):
                share = 100 * row.choice_shares.get(name, 0.0)
                ax.barh(y, share, left=left, color=SERIES[i], height=0.66, label=name if y == 0 else None)
                left += share
            if left < 99.9:
                label = None if others_named else "others"
                ax.barh(y, 100 - left, left=left, color=FAINT, alpha=0.4, height=0.66, label=label)
                others_named = True
        ax.set_yticks(range(len(rows)), [row.name for row in reversed(rows)])
        ax.set_xlim(0, 100)
        ax.set_xlabel("share of prompts, %")
        ax.grid(axis="y", visible=False)
        handles, labels = ax.get_legend_handles_labels()
        ax.legend(
            handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=8, labelcolor=INK
        )

    return figure_svg("shares", draw, width=8.6, height=1.1 + 0.34 * max(len(rows), 4))


def _with_curves(report: EvaluationReport) -> list[RouterRow]:
    """Rows to draw as curves, in an order that gives routers the first colours."""
    rows = [row for row in report.routers if row.curve]
    return sorted(rows, key=lambda row: row.kind is Kind.BASELINE)


def _named(row: RouterRow, measure: str, value: float | None) -> str:
    return row.name if value is None else f"{row.name} ({measure} {value:.3f})"


def _log_dollars(ax: Axes) -> None:
    """A log axis with plain figures: 0.02, 0.05, 0.1 instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _legend(ax: Axes, loc: str = "best") -> None:
    style: Any = {"loc": loc, "frameon": False, "fontsize": 8, "labelcolor": INK}
    ax.legend(**style)


def figure_svg(salt: str, draw: Callable[[Axes], None], width: float, height: float) -> str:
    """One figure as SVG in the page's colours.

    Args:
        salt: Keeps the ids of the figures of one page apart.
        draw: Draws on the axes, in `INK`, `FAINT` and the colours of `SERIES`.
        width: In inches.
        height: In inches.
    """
    import matplotlib as mpl

    style: Any = {
        "svg.fonttype": "none",
        # Ids stay the same from run to run, and differ between the figures of one page.
        "svg.hashsalt": salt,
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": INK,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": FAINT,
        "grid.alpha": 0.25,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with mpl.rc_context(style):
        from matplotlib.figure import Figure

        figure: Figure = Figure(figsize=(width, height), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        draw(axes)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return _themed(out.getvalue())


def _themed(svg: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for placeholder, variable in _VARIABLES.items():
        svg = svg.replace(placeholder, variable)
    # Scale with the page instead of matplotlib's fixed points.
    return re.sub(
        r'<svg ([^>]*?)width="[^"]*"', r'<svg \1width="100%"', re.sub(r' height="[\d.]+pt"', "", svg, count=1), count=1
    )
