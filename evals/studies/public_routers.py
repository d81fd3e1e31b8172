"""Public routers and ours, side by side in one run: same prompts, same split, same expert pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from pointsman.evals.contenders import FITTED, Contender, compete
from pointsman.evals.metrics.bootstrap import interval, resample_counts, resampled_means
from pointsman.evals.metrics.multiplicity import bootstrap_p, holm
from pointsman.evals.metrics.selection import picked_values
from pointsman.evals.policies import Policy, Trial, make_trial
from pointsman.evals.public_routers.beside import ROUTERS, public_policies
from pointsman.evals.research_baselines import research_baselines
from pointsman.evals.studies.pools import CLOSE_POOL, routellm_pair
from pointsman.evals.studies.study import Study, StudyContext
from pointsman.evals.tables import load_table
from pointsman.evals.text_features import text_features

Floats = npt.NDArray[np.float64]

_SEED = 42


@dataclass(frozen=True, slots=True)
class _Row:
    """One router on one table: its quality, and how far ours is above it."""

    name: str
    quality: float
    ahead: float
    ahead_ci95: tuple[float, float]
    p: float


def run(ground: StudyContext) -> str:
    """Fit everybody on the train split of each table and compare on its test split."""
    resamples = 300 if ground.quick else 2000
    pages = [_INTRODUCTION.format(**{name.replace("-", "_"): version(name) for name in _PACKAGES})]
    trials = list(_trials(ground))
    for done, (title, trial) in enumerate(trials):
        ground.progress(done / len(trials))
        pages.append(_section(title, trial, _rows(trial, resamples)))
    return "\n\n".join([*pages, _READING])


def _trials(ground: StudyContext) -> Iterator[tuple[str, Trial]]:
    mmlu_pro = load_table(ground.data / "mmlu_pro")
    yield "`mmlu_pro`, close pool of six", make_trial(mmlu_pro.pool(CLOSE_POOL))
    yield "`ulab9`", make_trial(load_table(ground.data / "ulab9"))
    for dataset in ("mmlu", "gsm8k"):
        yield f"RouteLLM's pair on `{dataset}` (a third held out)", routellm_pair(ground.data, dataset, _SEED)


def _rows(trial: Trial, resamples: int) -> list[_Row]:
    features = text_features(trial.train.prompts, trial.test.prompts)
    routers, yardsticks = compete(trial, [Contender(FITTED, None)], _silent, seed=_SEED)
    others = [
        *public_policies(trial, tuple(ROUTERS), features),
        *research_baselines(trial, features),
        next(policy for policy in yardsticks if policy.name == "best_single"),
    ]
    ours = _quality(trial, routers[0])
    theirs = np.stack([_quality(trial, policy) for policy in others])
    samples = np.concatenate(
        [resampled_means(ours - theirs, counts) for counts in resample_counts(trial.clusters, resamples, _SEED)], axis=1
    )
    rows = [_Row("**ours**", float(np.nanmean(ours)), float("nan"), (float("nan"),) * 2, float("nan"))]
    for policy, quality, drawn in zip(others, theirs, samples, strict=True):
        ahead = float(np.nanmean(ours - quality))
        rows.append(_Row(policy.name, float(np.nanmean(quality)), ahead, interval(drawn), bootstrap_p(drawn)))
    return rows


def _quality(trial: Trial, policy: Policy) -> Floats:
    return picked_values(trial.test.scores, policy.mix)


def _silent(_: str) -> Callable[[float], None]:
    return lambda _: None


def _section(title: str, trial: Trial, rows: list[_Row]) -> str:
    oracle = float(np.nanmean(trial.test.scores.max(axis=1)))
    adjusted = holm([row.p for row in rows])
    counts = f"{len(trial.test):,} test and {len(trial.train):,} train prompts, {len(trial.test.experts)} experts"
    lines = [
        f"## {title}",
        f"{counts}; the oracle reaches {oracle:.4f}.",
        "| router | quality | ours minus it [95 %] | p, Holm |\n|---|---|---|---|",
    ]
    table = []
    for row, p in zip(rows, adjusted, strict=True):
        low, high = row.ahead_ci95
        gap = f"{row.ahead:+.4f} [{low:+.4f}, {high:+.4f}]" if np.isfinite(row.ahead) else ""
        table.append(f"| {row.name} | {row.quality:.4f} | {gap} | {f'{p:.3f}' if np.isfinite(p) else ''} |")
    return "\n\n".join(lines) + "\n" + "\n".join(table)


_PACKAGES = ("llmrouter-lib", "semantic-router")

_INTRODUCTION = """\
Does the shipped recipe beat the routers one can install? They run here with their own code in the same process:
LLMRouter's kNN, SVM, MLP and matrix factorisation (`llmrouter-lib` {llmrouter_lib}) and `semantic-router`
{semantic_router}. Everybody fits on the same train prompts and chooses for the same test prompts; cost plays no part.

Their own text encoders are downloads or paid services. In their place they see TF-IDF and SVD features (256
dimensions), the same that the two research baselines `knn100` and `linear` see. Ours is `pointsman train` with no
setting changed. Both packages learn one label per prompt, the first best expert; on right-or-wrong tables most prompts
tie, and the experts are listed best first, the kindest order. Settings are those of the packages' published
configurations.

RouteLLM's trained routers are not here: `mf` and `sw_ranking` ask a paid embedding service for every prompt, `bert` and
`causal_llm` download their weights. Its evaluator is [run beside ours](routellm_evaluator.md)."""

_READING = """\
## Reading it

*ours minus it* is the mean paired difference with a 95 % percentile interval from a bootstrap over clusters of
near-duplicate prompts; p is two-sided and corrected by Holm over the rows of its table. These are one split and one
seed each, on features that are not the packages' own: the figures say how their learning rules fare on equal terms, not
how the packages fare with their encoders. `semantic-router` is made to tell subjects apart, not experts; it is here
because people use it for routing."""

STUDY = Study(
    name="public_routers",
    title="Public routers beside ours",
    needs=("mmlu_pro", "ulab9", "routellm"),
    run=run,
    packages=("llmrouter", "semantic_router"),
)
