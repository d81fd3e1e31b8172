"""One artefact for every preference (MOGFN's idea) against routers fitted for one preference each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pointsman.evals.fitting import fit_on_table
from pointsman.evals.metrics.bootstrap import interval, resample_counts
from pointsman.evals.metrics.hypervolume import hypervolume, r2_indicator
from pointsman.evals.near_duplicates import near_duplicate_clusters
from pointsman.evals.plan_pool import read_pool
from pointsman.evals.replay import requests
from pointsman.evals.simulate import DEFAULT_POOL
from pointsman.evals.studies.drawing import BLUE, GREY, ORANGE, axes, save
from pointsman.evals.studies.study import Study, StudyContext
from pointsman.evals.tables import OutcomeTable, load_table
from pointsman.experts.spec import ExpertSpec, PoolView
from pointsman.routers.protocols import RouterProtocol
from pointsman.routers.types import Assessment, Budget, RouteRequest, Weights

Floats = npt.NDArray[np.float64]

#: What cost and energy are worth against quality, in the router's own words; the first is (0, 0).
_PREFERENCES = tuple((cost, energy) for cost in (0.0, 0.1, 0.4) for energy in (0.0, 0.1, 0.4))
#: What the one artefact can also be asked, at no further fitting.
_SWEEP = tuple((cost, energy) for cost in (0.0, *np.geomspace(0.01, 1.0, 9)) for energy in (0.0, 0.03, 0.1, 0.3, 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class _Ground:
    """Prompts and what every expert would do with each, shape (n, m)."""

    table: OutcomeTable
    asked: list[RouteRequest]
    view: PoolView
    cost: Floats
    energy: Floats

    @property
    def objectives(self) -> Floats:
        """Score, and cost and energy as shares of the dearest expert's mean, negated; shape (3, n, m)."""
        return np.stack(
            [
                self.table.scores,
                -self.cost / self.cost.mean(axis=0).max(),
                -self.energy / self.energy.mean(axis=0).max(),
            ]
        )


def _run(ground: StudyContext) -> str:
    pool = read_pool(DEFAULT_POOL)
    table = load_table(ground.data / "mmlu_pro").pool([spec.artifact_name for spec in pool]).common()
    train, test = table.split("train"), table.split("test")
    here, learnt = _ground(test, pool), _ground(train, pool)
    one = fit_on_table(train, "one for all").router()
    assessed = [one.assess(request) for request in here.asked]
    ground.progress(1 / (len(_PREFERENCES) + 1))
    preferences = _PREFERENCES[::4] if ground.quick else _PREFERENCES
    separate = []
    for done, preference in enumerate(preferences):
        router = fit_on_table(_scalarised(learnt, preference), "one for this").router()
        own = [router.assess(request) for request in here.asked]
        separate.append(_choices(router, own, here, (0.0, 0.0)))
        ground.progress((done + 2) / (len(preferences) + 1))
    matched = [_choices(one, assessed, here, preference) for preference in preferences]
    swept = [_choices(one, assessed, here, preference) for preference in _SWEEP]
    fronts = {
        "separate routers": _reached(here, separate),
        "one artefact, the same preferences": _reached(here, matched),
        "one artefact, swept": _reached(here, swept),
    }
    _draw(ground, fronts)
    return _page(ground, here, fronts, preferences)


def _ground(table: OutcomeTable, pool: tuple[ExpertSpec, ...]) -> _Ground:
    cost, energy = np.zeros(table.scores.shape), np.zeros(table.scores.shape)
    for j, spec in enumerate(pool):
        if spec.price is None or spec.energy is None:
            raise AssertionError(f"{spec.name} states neither price nor energy")
        given, answered = table.prompt_tokens[:, j], table.completion_tokens[:, j]
        cost[:, j] = (given * spec.price.input_usd_per_mtok + answered * spec.price.output_usd_per_mtok) / 1e6
        model = spec.energy
        energy[:, j] = model.base_j + given * model.j_per_prompt_token + answered * model.j_per_completion_token
    return _Ground(table, requests(table), PoolView.of(*pool), cost, energy)


def _scalarised(learnt: _Ground, preference: tuple[float, float]) -> OutcomeTable:
    """The table with its score replaced by the whole utility, true costs in it, stretched into [0, 1]."""
    cost, energy = preference
    utility = (
        learnt.table.scores
        - cost * learnt.cost / learnt.cost.max(axis=1, keepdims=True)
        - energy * learnt.energy / learnt.energy.max(axis=1, keepdims=True)
    )
    return replace(learnt.table, scores=np.clip((utility + cost + energy) / (1 + cost + energy), 0.0, 1.0))


def _choices(
    router: RouterProtocol, assessed: list[Assessment], here: _Ground, preference: tuple[float, float]
) -> npt.NDArray[np.int64]:
    budget = Budget(weights=Weights(cost=preference[0], energy=preference[1]))
    column = {spec.name: j for j, (spec, _) in enumerate(here.view.entries)}
    found = np.zeros(len(assessed), dtype=np.int64)
    for i, (assessment, request) in enumerate(zip(assessed, here.asked, strict=True)):
        decision = router.select(assessment, replace(request, budget=budget), here.view)
        if decision.expert is None:
            raise AssertionError("a pool without caps always answers")
        found[i] = column[decision.expert]
    return found


def _reached(here: _Ground, choices: list[npt.NDArray[np.int64]]) -> Floats:
    """Objectives of each setting on each prompt, shape (k, n, 3)."""
    rows = np.arange(len(here.table))
    return np.stack([here.objectives[:, rows, choice].T for choice in choices])


def _volumes(points: Floats) -> tuple[float, float]:
    """Hypervolume of (quality, cost) and of (quality, cost, energy), above quality 0 at the dearest expert's means."""
    worst = np.array([0.0, -1.0, -1.0])
    return hypervolume(points[:, :2], worst[:2]), hypervolume(points, worst)


_WISHES = np.random.default_rng(0).dirichlet(np.ones(3), 200)


def _figures(points: Floats) -> Floats:
    """Both hypervolumes and R2, shape (3,)."""
    return np.array([*_volumes(points), r2_indicator(points, _WISHES, np.array([1.0, 0.0, 0.0]))])


def _page(
    ground: StudyContext, here: _Ground, fronts: dict[str, Floats], preferences: tuple[tuple[float, float], ...]
) -> str:
    clusters = near_duplicate_clusters(here.table.prompts)
    counts = np.concatenate(list(resample_counts(clusters, 100 if ground.quick else 1000, seed=0)))
    drawn = {
        name: np.stack([_figures(np.einsum("n,knd->kd", one / one.sum(), points)) for one in counts])
        for name, points in fronts.items()
    }
    value = {name: _figures(points.mean(axis=1)) for name, points in fronts.items()}
    rows = []
    base = "separate routers"
    for name in fronts:
        cells = [f"{figure:.4f}" for figure in value[name]]
        if name != base:
            for at in range(3):
                low, high = interval(drawn[name][:, at] - drawn[base][:, at])
                cells[at] += f" ({value[name][at] - value[base][at]:+.4f}; {low:+.4f} to {high:+.4f})"
        rows.append(f"| {name} | {len(fronts[name])} | {' | '.join(cells)} |")
    swept = fronts["one artefact, swept"].mean(axis=1)
    costs = -swept[:, 1].reshape(-1, 5)
    rises = int((np.diff(costs, axis=0) > 0).sum())
    return f"""\
A preference is a weight on quality, cost and energy. MOGFN (arXiv 2210.12765) trains one policy on all of them. Here
the quality heads are independent of the weights and the utility is linear in them, so the conditioned policy is
`select` with weights, and one artefact serves every preference. Is that worse than fitting a router for each?

**Setting.** The {len(here.view.entries)} experts of `evals/simulate/pool.yaml` on mmlu_pro; fitted on the train split,
{len(here.table):,} test prompts. Cost is list price times the table's tokens; energy is that of the pool file (measured
for two experts, estimated for the others). Weights on (cost, energy), {len(preferences)} of them:
{", ".join(f"({cost:g}, {energy:g})" for cost, energy in preferences)}. A separate router has the whole utility as its
target, with the true cost and energy of every training call in it, and the same recipe. Points are means of score, and
of cost and energy as shares of the dearest expert's. Hypervolume is above score 0 at those of the dearest expert; R2 is
the mean regret over 200 wishes drawn from Dirichlet(1), against score 1 for nothing. In brackets: difference to the
separate routers, with its 95 % interval (paired bootstrap over clusters of near-duplicate prompts,
{len(counts):,} resamples).

| front | settings | hypervolume, quality and cost | hypervolume, quality, cost and energy | R2 (lower is better) |
|---|---|---|---|---|
{chr(10).join(rows)}

![Fronts of quality against cost](figures/preferences.svg)

**Monotone.** Along the sweep ({len(_SWEEP)} settings) mean cost rose {rises} times when only the weight on cost rose.
In expected cost it cannot, whatever the pool: for one request the admissible experts and the largest amount among them
do not depend on the weights, so the choice is the highest of lines in the weight, each falling by its expert's cost,
and the highest line falls ever more slowly. A property test holds `select` to it. What a call really costs may still
differ from what was expected.

The paper's own figures are for molecules and not comparable.
"""


def _draw(ground: StudyContext, fronts: dict[str, Floats]) -> None:
    figure, (ax,) = axes(1, (6.0, 3.2))
    style = {"one artefact, swept": (GREY, "."), "separate routers": (ORANGE, "s")}
    for name in ("one artefact, swept", "separate routers", "one artefact, the same preferences"):
        colour, marker = style.get(name, (BLUE, "o"))
        means = fronts[name].mean(axis=1)
        ax.plot(-100 * means[:, 1], means[:, 0], ls="", marker=marker, ms=5, color=colour, label=name)
    ax.set_xlabel("mean cost, % of the dearest expert's", fontsize=8)
    ax.set_ylabel("mean score", fontsize=8)
    ax.legend(fontsize=7, frameon=False)
    save(figure, ground.figures / "preferences.svg")


STUDY = Study("preferences", "One artefact for every preference", ("mmlu_pro",), _run)
