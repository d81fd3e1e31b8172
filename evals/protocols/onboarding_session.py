"""`pointsman eval --protocol onboarding`: the rows as a table, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pointsman.evals.baselines import best_single_column
from pointsman.evals.errors import EvalError
from pointsman.evals.policies import Trial
from pointsman.evals.protocols.onboarding import OnboardingRow, onboard


def onboard_all(
    trial: Trial,
    newcomers: Sequence[str],
    resamples: int,
    seed: int,
    start: Callable[[str], Callable[[float], None]],
) -> list[OnboardingRow]:
    """Let the named experts join one after the other, each the pool of all others; the best single one by default.

    Raises:
        EvalError: The table does not allow it, or an expert is unknown.
        RouterError: A router cannot be fitted.
    """
    if unknown := [name for name in newcomers if name not in trial.test.experts]:
        raise EvalError(f"--newcomer {', '.join(unknown)}: not in the pool {', '.join(trial.test.experts)}")
    best = best_single_column(trial.train)
    if best is None:
        raise EvalError("onboarding needs a train split with scores")
    # Reaches for scikit-learn: only here is it wanted.
    from pointsman.routers.training.onboarding import place_expert

    chosen = newcomers or (trial.test.experts[best],)
    return [
        row
        for name in chosen
        for row in onboard(
            trial, name, place_expert, resamples=resamples, seed=seed, progress=start(f"joining: {name}")
        )
    ]


def print_onboarding(rows: Sequence[OnboardingRow], console: Console) -> None:
    """A table per newcomer, one line per way and number of labelled prompts."""
    for newcomer in dict.fromkeys(row.newcomer for row in rows):
        mine = [row for row in rows if row.newcomer == newcomer]
        console.print(f"[bold]{newcomer}[/bold] joins; it is among the best on {mine[0].best:.1%} of the prompts")
        table = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("let in", no_wrap=True)
        for title in ("labelled", "quality", "Δ without it", "asked", "Brier"):
            table.add_column(title, justify="right", no_wrap=True)
        for row in mine:
            low, high = row.minus_without_ci95
            table.add_row(
                row.way,
                f"{row.labelled:,}",
                f"{row.quality:.4f}",
                f"{row.minus_without:+.4f} [{low:+.3f}, {high:+.3f}]",
                f"{row.asked:.1%}",
                f"{row.brier:.4f}" if math.isfinite(row.brier) else "–",
            )
        console.print(table)


def onboarding_json(rows: Sequence[OnboardingRow], command: str) -> str:
    """The rows as JSON, unknown figures as null."""
    told = [{name: _known(value) for name, value in asdict(row).items()} for row in rows]
    return json.dumps({"command": command, "rows": told}, indent=2, allow_nan=False) + "\n"


def _known(value: Any) -> Any:
    if isinstance(value, tuple):
        return value if all(math.isfinite(one) for one in value) else None
    return None if isinstance(value, float) and not math.isfinite(value) else value
