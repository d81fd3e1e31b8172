"""Build the artefact that ships with the package: one command, and the same bytes for the same seed and machine.

    python -m pointsman.routers.training.shipped.artifact [--outcomes DIR] [--shared DIR] [--out DIR] [--seed N]

`--outcomes` is the nano experts' outcome table; left out, `experts/nano/training/losses.py` measures it first. Its
prompts say what code, math, clinical and prose look like, its scores how every nano expert does on them. What else
there is to ask is learned from labelled prompts: the domains of MMLU-Pro, those of CLINC150 with its out-of-scope
queries, ulab9's sets, and short requests made from patterns. Train splits only. RouteLLM's and RouterBench's tables are
never touched.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from pointsman.routers.artifacts import DEFAULT_DIR, save_router
from pointsman.routers.errors import TrainingError
from pointsman.routers.training.data import TrainingData
from pointsman.routers.training.distill import distil_static
from pointsman.routers.training.fit import fit_router
from pointsman.routers.training.shipped.requests import make_requests
from pointsman.routers.training.tables import PromptTable, read_prompts, read_scores

NAME = "pointsman-default/1"
SEED = 20240817
REQUESTS_PER_CATEGORY = 800

#: Prompts of the nano experts' outcome table, when it is measured here.
TRAIN_PER_DOMAIN, TEST_PER_DOMAIN = 400, 120

#: Characters of a single line worth learning from.
MIN_LINE, MAX_LINE = 18, 110

#: Weight of a prompt of the nano experts' domains: the labelled sets of everything else are several times larger, and
#: no guide to what the embedded pool will be asked.
MEASURED_WEIGHT = 3.0

#: Iterations of the classifier's fit: more than a table gets, since this artefact is fitted once.
MAX_ITER = 100

#: MMLU-Pro's domains under the categories of the artefact; the rest keep their names.
MMLU_CATEGORIES: Mapping[str, str] = MappingProxyType(
    {"math": "math", "health": "clinical", "computer science": "computer_science", "other": "general_knowledge"}
)

#: ulab9's sets under the categories of the artefact; sets that mix subjects are left out.
ULAB_CATEGORIES: Mapping[str, str] = MappingProxyType(
    {
        "gsm8k": "math",
        "math": "math",
        "agentverse-mgsm": "math",
        "mbpp": "code",
        "human_eval": "code",
        "natural_qa": "general_knowledge",
        "trivia_qa": "general_knowledge",
        "commonsense_qa": "commonsense",
        "arc_challenge": "science",
        "agentverse-logicgrid": "logic",
    }
)

#: An intent of CLINC150 that belongs to another category than its domain.
CLINC_INTENTS: Mapping[str, str] = MappingProxyType({"calculator": "math"})


@dataclass(slots=True)
class _Rows:
    """Labelled prompts as they are gathered."""

    texts: list[str] = field(default_factory=list)
    categories: list[str | None] = field(default_factory=list)
    fine: list[str | None] = field(default_factory=list)
    sources: dict[str, Any] = field(default_factory=dict)

    def add(self, text: str, category: str | None, fine: str | None) -> None:
        """One prompt."""
        self.texts.append(text)
        self.categories.append(category)
        self.fine.append(fine)

    def source(self, table: PromptTable, count: int, **more: str) -> None:
        """Where `count` prompts came from."""
        self.sources[table.name] = {"prompts": count, "prompts_sha256": table.sha256, **more}


def gather(shared: Path, outcomes: Path, seed: int) -> TrainingData:
    """The training data of the default artefact.

    Args:
        shared: Folder that holds `data/`.
        outcomes: The nano experts' outcome table.
        seed: Of the made requests.

    Raises:
        TrainingError: A table is absent.
    """
    rows = _Rows()
    nano = read_prompts(outcomes)
    experts, nano_scores, scores_hash = read_scores(outcomes, nano.columns["prompt_id"])
    kept = [index for index, split in enumerate(nano.columns["split"]) if split == "train"]
    kinds = nano.columns.get("kind", [""] * len(nano))
    for index in kept:
        category = nano.columns["category"][index]
        rows.add(nano.columns["prompt"][index], category, f"{category} {kinds[index]}".strip())
    rows.sources["nano_outcomes"] = {
        "prompts": len(kept),
        "prompts_sha256": nano.sha256,
        "outcomes_sha256": scores_hash,
    }
    scored = nano_scores[kept]
    lines = _lines([(nano.columns["prompt"][index], nano.columns["category"][index]) for index in kept], seed)
    for text, category in lines:
        rows.add(text, category, f"{category} line")
    rows.sources["lines"] = {"prompts": len(lines), "cut_from": "nano_outcomes"}
    _add_mmlu(rows, read_prompts(shared / "data" / "mmlu_pro"))
    _add_clinc(rows, read_prompts(shared / "data" / "clinc150"))
    _add_ulab(rows, read_prompts(shared / "data" / "ulab9"))
    made = make_requests(REQUESTS_PER_CATEGORY, seed)
    for category, texts in made.items():
        for text in texts:
            rows.add(text, category, f"{category} request")
    rows.sources["requests"] = {
        "prompts": sum(map(len, made.values())),
        "made_by": "pointsman.routers.training.shipped.requests",
    }
    scores = np.full((len(rows.texts), len(experts)), np.nan)
    scores[: len(scored)] = scored
    measured = {nano.columns["category"][index] for index in kept}
    return TrainingData(
        texts=rows.texts,
        categories=rows.categories,
        experts=experts,
        scores=scores,
        fine=rows.fine,
        out_of_scope=np.array([category is None for category in rows.categories]),
        weights=np.array([MEASURED_WEIGHT if category in measured else 1.0 for category in rows.categories]),
        provenance=rows.sources,
    )


def _lines(prompts: Iterable[tuple[str, str]], seed: int) -> list[tuple[str, str]]:
    """One line out of each prompt of several: people paste a single line of code or of a play as often as a page."""
    rng = random.Random(seed)
    found: dict[str, str] = {}
    for text, category in prompts:
        pieces = text.splitlines() if category == "code" else re.split(r"\n|(?<=[.?!;:])\s+", text)
        fitting = [piece.strip() for piece in pieces if MIN_LINE <= len(piece.strip()) <= MAX_LINE]
        if len(pieces) > 1 and fitting:
            found.setdefault(rng.choice(fitting), category)
    return list(found.items())


def _train_rows(table: PromptTable, splits: Iterable[str]) -> list[int]:
    wanted = set(splits)
    return [index for index, split in enumerate(table.columns["split"]) if split in wanted]


def _add_mmlu(rows: _Rows, table: PromptTable) -> None:
    kept = _train_rows(table, ("train",))
    for index in kept:
        domain = table.columns["category"][index]
        rows.add(table.columns["prompt"][index], MMLU_CATEGORIES.get(domain, domain), f"mmlu_pro {domain}")
    rows.source(table, len(kept))


def _add_clinc(rows: _Rows, table: PromptTable) -> None:
    kept = _train_rows(table, ("train",))
    # Out-of-scope queries are never fitted on: they only set the threshold, so the validation ones come along.
    outside = [index for index in _train_rows(table, ("train", "val")) if table.columns["out_of_scope"][index]]
    for index in sorted({*kept, *outside}):
        intent = table.columns["intent"][index]
        if table.columns["out_of_scope"][index]:
            rows.add(table.columns["prompt"][index], None, None)
        else:
            category = CLINC_INTENTS.get(intent, table.columns["category"][index])
            rows.add(table.columns["prompt"][index], category, f"clinc150 {category}")
    rows.source(table, len({*kept, *outside}))


def _add_ulab(rows: _Rows, table: PromptTable) -> None:
    kept = [index for index in _train_rows(table, ("train",)) if table.columns["dataset"][index] in ULAB_CATEGORIES]
    for index in kept:
        dataset = table.columns["dataset"][index]
        rows.add(table.columns["prompt"][index], ULAB_CATEGORIES[dataset], dataset)
    rows.source(table, len(kept))


def measure_outcomes(folder: Path) -> None:
    """Have the nano experts' outcome table measured, by their own command: routers know experts as plain data only.

    Raises:
        TrainingError: The command failed.
    """
    command = [sys.executable, "-m", "pointsman.experts.nano.training.losses", "--out", str(folder)]
    command += ["--train-per-domain", str(TRAIN_PER_DOMAIN), "--test-per-domain", str(TEST_PER_DOMAIN)]
    if subprocess.run(command, check=False).returncode:  # noqa: S603 (our own module, no shell)
        raise TrainingError(f"measuring the nano experts failed: {' '.join(command)}")


def main(arguments: list[str] | None = None) -> None:
    """Gather, distil, fit, save, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m pointsman.routers.training.shipped.artifact", description=__doc__)
    parser.add_argument("--outcomes", type=Path, help="the nano experts' outcome table; measured first when left out")
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("POINTSMAN_SHARED", "../shared")))
    parser.add_argument("--out", type=Path, default=DEFAULT_DIR, help="folder of the artefact")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    from rich.console import Console
    from rich.progress import Progress

    if options.outcomes is None:
        with tempfile.TemporaryDirectory() as folder:
            measure_outcomes(Path(folder))
            data = gather(options.shared, Path(folder), options.seed)
    else:
        data = gather(options.shared, options.outcomes, options.seed)
    console = Console(stderr=True)
    console.print(f"{len(data)} prompts, {len(data.experts)} experts; distilling the embedding (about a minute)")
    embedder = distil_static()
    with Progress(console=console) as progress:
        task = progress.add_task("fitting", total=1.0)
        parts = fit_router(
            data,
            name=NAME,
            embedder=embedder,
            seed=options.seed,
            max_iter=MAX_ITER,
            progress=lambda share: progress.update(task, completed=share),
        )
    artifact_hash = save_router(options.out, parts)
    Console().print_json(json.dumps({"artifact_hash": artifact_hash, "metrics": dict(parts.metrics)}))


if __name__ == "__main__":
    main()
