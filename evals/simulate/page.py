"""A simulation for people: what the terminal prints, and one self-contained HTML page with its course over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pointsman.evals.page import STYLE
from pointsman.evals.plots import FAINT, INK, SERIES, figure_svg
from pointsman.evals.simulate.report import AverageBudgetAdherence, SimulationReport, SimulationSnapshot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LABELS = {"cost_usd": "cost, $ per 1,000", "energy_j": "energy, J", "late_share": "late answers, %"}
_FACTORS = {"cost_usd": 1000.0, "energy_j": 1.0, "late_share": 100.0}


def print_simulation(report: SimulationReport, console: Console) -> None:
    """The means, and how every budget was kept."""
    console.print(
        f"[bold]{report.requests:,} requests[/bold] after the first {report.warm_up_s:g} s, "
        f"quality [bold]{report.quality:.4f}[/bold], ${1000 * report.cost_usd:.3f} per 1,000, "
        f"{report.energy_j:,.1f} J a request, p95 TTFT {report.p95_ttft_ms:,.0f} ms, "
        f"{report.refused:.2%} refused",
        highlight=False,
    )
    if report.kept:
        console.print(_kept_table(report))
    shares = ", ".join(f"{name} {share:.1%}" for name, share in _by_share(report.shares) if share >= 0.0005)
    console.print(f"[dim]answers by[/dim] {shares}", highlight=False)
    for note in report.notes:
        console.print(f"[yellow]{note}[/yellow]")


def render_page(report: SimulationReport) -> str:
    """The whole page."""
    budget = report.budget
    figures = [
        _figure(
            "Traffic",
            "Requests per second, by who answered. What is not coloured was refused.",
            _panel(report, "traffic", _traffic),
        ),
        _figure(
            "Averages against the budget",
            f"Means of the {budget['window_s'] or 0:g} seconds before, as shares of what is allowed; the dotted line "
            "is the budget, the shaded part the warm-up.",
            _panel(report, "averages", _averages),
        ),
        _figure(
            "Prices",
            "What a request that costs exactly the budget pays, in quality. A price of 0 is a budget that does not "
            "bind.",
            _panel(report, "prices", _prices),
        ),
        _figure("Quality", "Mean score of the answers in the window.", _panel(report, "quality", _quality)),
    ]
    if budget["p95_ttft_ms"] is not None:
        figures.append(
            _figure(
                "Time to first token",
                "95th percentile in the window; the dotted line is the budget.",
                _panel(report, "ttft", _ttft),
            )
        )
    title = f"{report.scenario['name']}: an hour of {escape(report.trace)} on {escape(report.table)}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>"
        f'<p class="sub">{report.requests:,} requests after a warm-up of {report.warm_up_s:g} s, '
        f"{report.replicas} replicas, seed {report.seed}, {report.date}</p>"
        f"<p>Quality <b>{report.quality:.4f}</b>, ${1000 * report.cost_usd:.3f} per 1,000 requests, "
        f"{report.energy_j:,.1f} J a request, p95 of the time to first token {report.p95_ttft_ms:,.0f} ms, "
        f"{report.refused:.2%} refused.</p>"
        f"{_notes(report)}{_kept_html(report)}{''.join(figures)}"
        f"<h2>Provenance</h2><p><code>{escape(report.command)}</code></p></body></html>\n"
    )


def _kept_rows(report: SimulationReport) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, kept in report.kept.items():
        factor = _FACTORS[name]
        rows.append(
            (
                _LABELS[name],
                f"{factor * kept.allowed:.4g}",
                f"{factor * kept.mean:.4g}",
                _excess(kept.highest, kept),
                _excess(kept.lowest, kept),
                f"{kept.within:.1%}",
            )
        )
    return rows


_HEADS = ("budget", "allowed", "mean", "highest window", "lowest window", "windows within +2 %")


def _excess(mean: float, kept: AverageBudgetAdherence) -> str:
    return f"{mean / kept.allowed - 1:+.1%}"


def _kept_table(report: SimulationReport) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for i, head in enumerate(_HEADS):
        table.add_column(head, justify="right" if i else "left")
    for row in _kept_rows(report):
        table.add_row(*row)
    return table


def _kept_html(report: SimulationReport) -> str:
    if not report.kept:
        return ""
    head = "".join(f"<th>{name}</th>" for name in _HEADS)
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in _kept_rows(report))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _notes(report: SimulationReport) -> str:
    if not report.notes:
        return ""
    return f'<div class="notes"><ul>{"".join(f"<li>{escape(note)}</li>" for note in report.notes)}</ul></div>'


def _figure(title: str, caption: str, svg: str) -> str:
    return f"<h2>{title}</h2><p>{caption}</p><figure>{svg}</figure>"


def _panel(report: SimulationReport, name: str, draw: Callable[[Axes, SimulationReport], None]) -> str:
    def drawn(ax: Axes) -> None:
        draw(ax, report)
        if name != "traffic":
            ax.axvspan(0, report.warm_up_s / 60, color=FAINT, alpha=0.12, lw=0)
        ax.set_xlim(0, report.moments[-1].at_s / 60)
        ax.set_xlabel("minutes")

    return figure_svg(name, drawn, 8.6, 3.0)


def _minutes(report: SimulationReport) -> list[float]:
    return [moment.at_s / 60 for moment in report.moments]


def _by_share(shares: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(shares.items(), key=lambda item: -item[1])


def _traffic(ax: Axes, report: SimulationReport) -> None:
    names = [name for name, _ in _by_share(report.shares)]
    columns = [[moment.requests_per_s * moment.shares[name] for moment in report.moments] for name in names]
    colours = [SERIES[i % len(SERIES)] for i in range(len(names))]
    ax.stackplot(_minutes(report), columns, labels=names, colors=colours, lw=0)
    ax.plot(_minutes(report), [moment.requests_per_s for moment in report.moments], color=INK, lw=0.8)
    ax.set_ylabel("requests per second")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=8, labelcolor=INK)


def _averages(ax: Axes, report: SimulationReport) -> None:
    for i, (name, label) in enumerate((("cost_usd", "cost"), ("energy_j", "energy"))):
        if name in report.kept:
            allowed = report.kept[name].allowed
            values = [_share(getattr(moment, name), allowed) for moment in report.moments]
            ax.plot(_minutes(report), values, color=SERIES[i], lw=1.8, label=label)
    ax.axhline(100, color=INK, lw=0.9, ls=":")
    ax.axhspan(98, 102, color=SERIES[2], alpha=0.1, lw=0)
    ax.set_ylim(80, 120)
    ax.set_ylabel("% of the budget")
    ax.legend(frameon=False, fontsize=8, labelcolor=INK)


def _share(value: float | None, allowed: float) -> float:
    return float("nan") if value is None else 100 * value / allowed


def _prices(ax: Axes, report: SimulationReport) -> None:
    budget = report.budget
    wanted: Sequence[tuple[str, str, Callable[[SimulationSnapshot], float]]] = (
        ("max_cost_usd", "cost", lambda moment: moment.per_usd),
        ("max_energy_j", "energy", lambda moment: moment.per_j),
        ("p95_ttft_ms", "time to first token", lambda moment: moment.per_ttft_ms),
    )
    for i, (key, label, price) in enumerate(wanted):
        bound = budget[key]
        if bound is not None:
            ax.plot(
                _minutes(report), [bound * price(moment) for moment in report.moments], color=SERIES[i], label=label
            )
    ax.set_ylim(0, None)
    ax.set_ylabel("price of the whole budget")
    ax.legend(frameon=False, fontsize=8, labelcolor=INK)


def _quality(ax: Axes, report: SimulationReport) -> None:
    values = [float("nan") if moment.quality is None else moment.quality for moment in report.moments]
    ax.plot(_minutes(report), values, color=SERIES[0], lw=1.8)
    ax.set_ylabel("mean score")


def _ttft(ax: Axes, report: SimulationReport) -> None:
    values = [float("nan") if moment.p95_ttft_ms is None else moment.p95_ttft_ms for moment in report.moments]
    ax.plot(_minutes(report), values, color=SERIES[0], lw=1.8)
    ax.axhline(report.budget["p95_ttft_ms"] or 0.0, color=INK, lw=0.9, ls=":")
    ax.set_ylim(0, None)
    ax.set_ylabel("ms")
