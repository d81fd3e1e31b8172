"""RouteLLM's own evaluator and ours, on the same beliefs about the same prompts of its own pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np

from pointsman.evals.contenders import FITTED, Contender, compete
from pointsman.evals.evaluate import evaluate
from pointsman.evals.policies import Kind, Policy, Trial
from pointsman.evals.public_routers.routellm import RouteLLMScores, judge, random_beliefs
from pointsman.evals.report import RouterRow
from pointsman.evals.resampling import pair_of
from pointsman.evals.studies.pools import routellm_pair
from pointsman.evals.studies.study import Study, StudyContext

_SEED = 42
_RANDOM = "public:routellm-random"


def run(ground: StudyContext) -> str:
    """Fit on two thirds of each data set of the pair, and let both evaluators judge the third held out."""
    resamples = 200 if ground.quick else 1000
    sections = []
    for done, dataset in enumerate(("mmlu", "gsm8k")):
        ground.progress(done / 2)
        trial = routellm_pair(ground.data, dataset, _SEED)
        sections.append(_section(dataset, trial, resamples))
    return "\n\n".join([_INTRODUCTION.format(routellm=version("routellm")), *sections, _READING])


def _section(dataset: str, trial: Trial, resamples: int) -> str:
    routers, yardsticks = compete(trial, [Contender(FITTED, None)], _silent, seed=_SEED)
    # Where it is not sure it tosses a coin: as a policy it is the uniform mix.
    uniform = np.full(trial.test.scores.shape, 0.5)
    chance = Policy(_RANDOM, Kind.PUBLIC, uniform, deferral_score=random_beliefs(len(trial.test)))
    rows = evaluate(trial, [*routers, chance, *yardsticks], resamples, _SEED).rows
    believing = {
        one.name: pair
        for one in (*routers, chance, *yardsticks)
        if (pair := pair_of(trial, one)) is not None and pair.rows.size == len(trial.test)
    }
    first = next(iter(believing.values()))
    weak, strong = np.empty(len(trial.test)), np.empty(len(trial.test))
    weak[first.rows], strong[first.rows] = first.weak, first.strong
    beliefs = {}
    for name, pair in believing.items():
        beliefs[name] = np.empty(len(trial.test))
        beliefs[name][pair.rows] = pair.score
    theirs = judge(beliefs, weak, strong)
    title = f"## {dataset}: {len(trial.test):,} prompts held out, {len(trial.train):,} fitted on"
    return f"{title}\n\n{_table([row for row in rows if row.name in believing], theirs)}"


def _table(rows: Sequence[RouterRow], theirs: dict[str, RouteLLMScores]) -> str:
    lines = [
        "| router | APGR, ours [95 %] | RouteLLM's | CPT(50 %), ours | RouteLLM's | CPT(80 %), ours | RouteLLM's |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: -(row.metrics["apgr"] or 0.0)):
        metrics = row.metrics
        low, high = row.intervals.get("apgr") or (float("nan"), float("nan"))
        told = theirs.get(row.name)
        apgr, half, most = ("refused",) * 3
        if told is not None:
            apgr, half, most = f"{told.apgr:.6f}", _share(told.cpt50), _share(told.cpt80)
        ours = f"{metrics['apgr']:.6f} [{low:.3f}, {high:.3f}]"
        cells = [row.name, ours, apgr, _share(metrics["cpt50"]), half, _share(metrics["cpt80"]), most]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "never" if value is None else f"{value:.2%}"


def _silent(_: str) -> Callable[[float], None]:
    return lambda _: None


_INTRODUCTION = """\
Are APGR and CPT here what RouteLLM means by them? Its package (`routellm` {routellm}) brings an evaluator. In this run
it judges the same beliefs on the same prompts as ours: its controller asks for the win rates, its benchmark makes the
thresholds and routes, its `generate_results` works out the metrics.

The pair is RouteLLM's (gpt-4-1106-preview and Mixtral-8x7B-Instruct, contaminated prompts dropped), a third of each
data set held out with near-duplicates together. `public:routellm-random` is its random router, one draw, seed 0; the
other rows are the shipped recipe and the baselines of every report. Its trained routers cannot be asked: `mf` and
`sw_ranking` want a paid embedding service for every prompt, `bert` and `causal_llm` download their weights. MT-Bench,
scored by a judge from 1 to 10, goes through another class and is left out."""

_READING = """\
## Reading it

- APGR agrees to every digit shown wherever both give one, and to 12 digits in
  `tests/unit/evals/test_routellm_evaluator.py`.
- *refused*: the belief takes so few values that edges of ten equal bins coincide; the package raises an error there,
  ours takes the edges that differ.
- CPT agrees to the hundredth of a per cent that the package prints. It need not where quality falls again with more
  strong calls: ours is the first share that reaches the level, the package hands the curve to `numpy.interp`, which
  supposes a rising one. Where the level is never reached, ours says so and the package answers the curve's last point.
- Intervals are from a bootstrap over clusters of near-duplicate prompts. RouteLLM gives none."""

STUDY = Study(
    name="routellm_evaluator",
    title="RouteLLM's evaluator beside ours",
    needs=("routellm",),
    run=run,
    packages=("routellm",),
)
