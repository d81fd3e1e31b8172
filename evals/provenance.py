"""What was run on what: hashes, versions, seed, command, so that a figure can be traced and repeated."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pointsman.evals.policies import Trial
from pointsman.evals.report import Provenance
from pointsman.evals.router_result import cost_range
from pointsman.evals.tables import OutcomeTable

_PACKAGES = ("pointsman", "numpy", "pyarrow", "scikit-learn", "scipy", "safetensors", "tokenizers", "matplotlib")


def provenance(
    table: OutcomeTable,
    trial: Trial,
    *,
    split: str,
    train_split: str,
    sparse: bool,
    resamples: int,
    seed: int,
    command: str,
    date: str,
    notes: Sequence[str] = (),
) -> Provenance:
    """Collect the provenance of one evaluation.

    Args:
        table: With its pool and prices chosen, before it was split.
        trial: What it was split into.
        split: Name of the evaluated split.
        train_split: Name of the split learned from.
        sparse: Whether prompts without a full set of scores were evaluated.
        resamples: Of the bootstrap.
        seed: Of everything random.
        command: As typed.
        date: ISO 8601; passed in, because results must not depend on a clock.
        notes: More that a reader must know.
    """
    commit, dirty = git_state(Path(__file__).resolve().parent)
    priced = set(trial.priced_experts.tolist())
    return Provenance(
        table=table.name,
        sha256=dict(table.sha256),
        split=split,
        train_split=train_split,
        prompts=len(trial.test),
        prompts_in_split=sum(1 for name in table.splits if name == split),
        prompts_with_cost=len(trial.priced) if trial.has_costs else 0,
        train_prompts=len(trial.train),
        prompts_mode="any" if sparse else "common",
        experts=len(trial.test.experts),
        left_out=dict(table.left_out),
        unpriced=tuple(name for j, name in enumerate(trial.test.experts) if j not in priced),
        cost_basis=table.cost_basis,
        cost_range_usd=cost_range(trial),
        near_duplicate_clusters=int(np.unique(trial.clusters).size),
        leaked_prompts=trial.leaked.get("any", 0),
        leaks={way: count for way, count in trial.leaked.items() if way != "any"},
        dropped_train_prompts=trial.dropped,
        bootstrap=resamples,
        seed=seed,
        command=command,
        date=date,
        git_commit=commit,
        git_dirty=dirty,
        versions={"python": platform.python_version(), **package_versions()},
        notes=(*trial.test.notes, *notes),
    )


def package_versions() -> dict[str, str]:
    """Versions of the packages that bear on the results, as far as they are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Commit of the code and whether tracked files differ from it; (None, None) outside a checkout of this project."""
    # A wheel may be installed below somebody else's checkout: only believe a repository that holds this very package.
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None or Path(top) != folder.parent:
        return None, None
    commit = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit, None if status is None else bool(status)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 (fixed arguments)
            ["git", "-C", str(folder), *arguments],  # noqa: S607 (whichever git the user has)
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
