"""Tryage's experiment on experts of our own: does a router that predicts losses pick the truly best expert?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pointsman.evals.baselines import best_single, category_oracle, oracle, prompt_length, random_router
from pointsman.evals.metrics.bootstrap import interval, resample_counts, resampled_means
from pointsman.evals.metrics.hull import non_decreasing_hull
from pointsman.evals.metrics.selection import one_hot, picked_a_best, picked_values, regrets
from pointsman.evals.policies import Trial
from pointsman.evals.replay import requests
from pointsman.evals.studies.drawing import BLUE, GREY, axes, save
from pointsman.evals.studies.nano_pool import bits_per_byte, measure, served_specs
from pointsman.evals.studies.study import Study, StudyContext
from pointsman.experts.spec import ExpertSpec, PoolView
from pointsman.routers.types import Assessment, Budget, RouteRequest, Weights

if TYPE_CHECKING:
    from pointsman.routers.embed import StorableEmbedder
    from pointsman.routers.two_stage import TwoStageRouter

Floats = npt.NDArray[np.float64]

#: λ of every sweep: free, then from a price that moves nothing to one that decides alone.
LAMBDAS = (0.0, *np.geomspace(0.005, 5.0, 19).tolist(), 100.0)

#: Row of the router in Tryage's own setting.
LEARNED = "**predicted loss, no labels**"

#: Row of the better of the two selectors that read cards.
CARDS = "card match, MiniLM"

PAPER = (("Tryage", 50.9), ("GPT-3.5-turbo as selector", 23.6), ("Gorilla", 10.8), ("chance among 11", 9.1))


@dataclass(frozen=True, slots=True)
class Selector:
    """A way to pick an expert, as the picks it made: probabilities of shape (n, m)."""

    name: str
    mix: Floats


@dataclass(frozen=True, slots=True)
class Front:
    """A sweep of one λ.

    Attributes:
        name: The constraint.
        unit: Of its amounts.
        amounts: Mean amount per λ, shape (k,).
        losses: Mean loss per λ, shape (k,).
        above: Loss saved against mixing single experts at the same mean amount, (low, mid, high) per λ, shape (k, 3).
        singles: Mean amount and mean loss of every expert alone, shape (m, 2).
    """

    name: str
    unit: str
    amounts: Floats
    losses: Floats
    above: Floats
    singles: Floats


def _run(ground: StudyContext) -> str:
    per_domain = (60, 40) if ground.quick else (250, 125)
    resamples = 200 if ground.quick else 2000
    trial = measure(ground.data, *per_domain, lambda share: ground.progress(0.8 * share))
    specs = served_specs()
    router = _fit(trial, labelled=True)
    asked = requests(trial.test)
    assessments = [router.assess(request) for request in asked]
    unlabelled = _fit(trial, labelled=False)
    ground.progress(0.9)
    selectors = [
        Selector("chance", random_router(trial).mix),
        Selector("card match, static embedding (Gorilla's idea)", _card_match(specs, trial.test.prompts, "static")),
        Selector(CARDS, _card_match(specs, trial.test.prompts, "all-MiniLM-L6-v2")),
        Selector("prompt length", prompt_length(trial).mix),
        Selector("best single", best_single(trial).mix),
        Selector(
            LEARNED,
            _picks(unlabelled, [unlabelled.assess(r) for r in asked], asked, specs, Weights()),
        ),
        Selector("**predicted loss and category**", _picks(router, assessments, asked, specs, Weights())),
        Selector("the true domain's best expert", category_oracle(trial).mix),
        Selector("oracle", oracle(trial).mix),
    ]
    counts = np.concatenate(list(resample_counts(trial.clusters, resamples, seed=0)))
    table = _selection_table(selectors, bits_per_byte(trial.test.scores), counts)
    fronts = [_front(name, router, assessments, asked, specs, trial, counts) for name in ("size", "latency", "energy")]
    _plot(fronts, ground.figures / "tryage.svg")
    order = _order(selectors, bits_per_byte(trial.test.scores), counts)
    return _page(trial, selectors, table, order, fronts, resamples)


def _fit(trial: Trial, *, labelled: bool) -> TwoStageRouter:
    from pointsman.routers.training.data import TrainingData
    from pointsman.routers.training.fit import fit_router

    train = trial.train
    data = TrainingData(
        texts=train.prompts,
        categories=train.categories if labelled else (None,) * len(train),
        experts=train.experts,
        scores=train.scores,
    )
    # The experiment is about predicted loss alone: the rule that sends the unsure to a generalist is off.
    return fit_router(data, name="tryage").router(uncertain_to_generalist=False)


def _card_match(specs: Sequence[ExpertSpec], prompts: Sequence[str], embedder: str) -> Floats:
    """The expert whose card lies nearest to the prompt: what can be known without measuring anybody."""
    from pointsman.routers.training.fit import make_embedder

    chosen: StorableEmbedder = make_embedder(embedder)
    cosines = chosen.embed(prompts) @ chosen.embed([spec.card for spec in specs]).T
    return one_hot(cosines.argmax(axis=1).astype(np.int64), len(specs))


def _picks(
    router: TwoStageRouter,
    assessments: Sequence[Assessment],
    asked: Sequence[RouteRequest],
    specs: Sequence[ExpertSpec],
    weights: Weights,
) -> Floats:
    """What `select` chooses for every request under the weights, one-hot of shape (n, m)."""
    view = PoolView.of(*specs)
    column = {spec.name: index for index, spec in enumerate(specs)}
    chosen = []
    for assessment, request in zip(assessments, asked, strict=True):
        decision = router.select(assessment, replace(request, budget=Budget(weights=weights)), view)
        chosen.append(-1 if decision.expert is None else column[decision.expert])
    return one_hot(np.array(chosen, dtype=np.int64), len(specs))


def _selection_table(selectors: Sequence[Selector], bits: Floats, counts: Floats) -> list[dict[str, tuple[float, ...]]]:
    """Accuracy, loss, regret and gap closed of each selector: (value, low, high)."""
    single = next(s for s in selectors if s.name == "best single")
    single_loss = picked_values(bits, single.mix)
    least = bits.min(axis=1)
    # The denominator of the gap, in every resample.
    gap = resampled_means((single_loss - least)[None, :], counts)[0]
    rows = []
    for selector in selectors:
        loss = picked_values(bits, selector.mix)
        values = {
            "accuracy": picked_a_best(-bits, selector.mix),
            "loss": loss,
            "regret": regrets(-bits, selector.mix),
        }
        row: dict[str, tuple[float, ...]] = {
            name: (float(value.mean()), *interval(resampled_means(value[None, :], counts)[0]))
            for name, value in values.items()
        }
        closed = resampled_means((single_loss - loss)[None, :], counts)[0] / gap
        row["closed"] = (float((single_loss - loss).sum() / (single_loss - least).sum()), *interval(closed))
        rows.append(row)
    return rows


def _amounts(
    name: str, router: TwoStageRouter, assessments: Sequence[Assessment], asked: Sequence[RouteRequest], view: PoolView
) -> tuple[Floats, str]:
    """The constraint's amount of every expert on every prompt as the decision estimates it, shape (n, m), and unit."""
    if name == "size":
        row = [1000 * (spec.params_total_b or np.nan) for spec, _ in view.entries]
        return np.tile(np.array(row), (len(asked), 1)), "million parameters"
    field, unit = {"latency": ("latency_ms", "ms, estimated"), "energy": ("energy_j", "J, estimated")}[name]
    rows = []
    for assessment, request in zip(assessments, asked, strict=True):
        candidates = router.select(assessment, request, view).candidates
        rows.append([getattr(candidate.estimates, field) for candidate in candidates])
    return np.array(rows, dtype=np.float64), unit


def _front(
    name: str,
    router: TwoStageRouter,
    assessments: Sequence[Assessment],
    asked: Sequence[RouteRequest],
    specs: Sequence[ExpertSpec],
    trial: Trial,
    counts: Floats,
) -> Front:
    bits = bits_per_byte(trial.test.scores)
    amounts, unit = _amounts(name, router, assessments, asked, PoolView.of(*specs))
    mixes = [_picks(router, assessments, asked, specs, Weights(**{name: value})) for value in LAMBDAS]
    paid = np.stack([picked_values(amounts, mix) for mix in mixes])
    lost = np.stack([picked_values(bits, mix) for mix in mixes])
    singles = np.stack([amounts.mean(axis=0), bits.mean(axis=0)], axis=1)
    saved = np.stack(
        [
            _saved(*sample)
            for sample in zip(
                *(resampled_means(values, counts).T for values in (paid, lost, amounts.T, bits.T)), strict=True
            )
        ]
    )
    middle = _saved(paid.mean(axis=1), lost.mean(axis=1), singles[:, 0], singles[:, 1])
    bounds = [interval(column) for column in saved.T]
    above = np.array([(low, mid, high) for (low, high), mid in zip(bounds, middle, strict=True)])
    return Front(name, unit, paid.mean(axis=1), lost.mean(axis=1), above, singles)


def _saved(paid: Floats, lost: Floats, amounts: Floats, losses: Floats) -> Floats:
    """Loss below that of mixing single experts with the same mean amount, per λ."""
    xs, ys = non_decreasing_hull(amounts, -losses)
    return np.asarray(-np.interp(paid, xs, ys) - lost)


def _plot(fronts: Sequence[Front], path: Path) -> None:
    figure, row = axes(len(fronts), (9, 3), sharey=True)
    for ax, front in zip(row, fronts, strict=True):
        ax.scatter(front.singles[:, 0], front.singles[:, 1], s=18, c=GREY, label="single experts")
        xs, ys = non_decreasing_hull(front.singles[:, 0], -front.singles[:, 1])
        ax.plot(xs, -ys, c=GREY, lw=1, ls="--", label="mixing them")
        ax.plot(front.amounts, front.losses, c=BLUE, lw=1.5, marker=".", ms=5, label="router, λ from 0 to 100")
        ax.set_xlabel(f"mean {front.name}, {front.unit}", size=8)
        ax.grid(alpha=0.2)
    row[0].set_ylabel("loss, bits per byte", size=8)
    row[0].legend(fontsize=7, frameon=False)
    save(figure, path)


def _page(
    trial: Trial,
    selectors: Sequence[Selector],
    table: Sequence[dict[str, tuple[float, ...]]],
    order: str,
    fronts: Sequence[Front],
    resamples: int,
) -> str:
    by_name = dict(zip((selector.name for selector in selectors), table, strict=True))
    chance = by_name["chance"]["accuracy"][0]
    rows = "\n".join(
        f"| {name} | {_percent(row['accuracy'])} | {row['accuracy'][0] / chance:.1f} | {row['loss'][0]:.3f} | "
        f"{_figures(row['regret'])} | {_percent(row['closed'])} |"
        for name, row in by_name.items()
    )
    paper = "\n".join(f"| {name} | {share:.1f} % | {share / 9.1:.1f} |" for name, share in PAPER)
    return f"""
Tryage (arXiv 2308.11601) trains a router to predict every expert's loss on a prompt and picks the least, plus what
the user's constraints cost. Here it meets five language models of 5 to 7 million parameters ([nano
experts](../nano-experts.md)) whose losses were measured for this page on {len(trial.train)} training and
{len(trial.test)} test prompts: code, math, clinical text and prose in equal parts, half pieces of documents, half
questions with reference answers. Test prompts come from documents no expert saw, and none is a near-duplicate of a
training prompt. The loss is in bits per byte, so that tokenizers do not matter. Intervals are 95 %, paired bootstrap
over prompts, {resamples:,} resamples.

## Is the truly best expert picked?

| selector | picked the best | times chance | loss, bits per byte | regret | of the gap from best single to oracle |
|---|---|---|---|---|---|
{rows}

*Predicted loss, no labels* is Tryage's setting: prompts and losses, and nothing that says what a prompt is about.
*Predicted loss and category* also knows the domain of the training prompts. *Card match* is what can be done without
measuring: the expert whose one-sentence card lies nearest to the prompt, as Gorilla chooses from documentation.
Regret is the loss of the pick minus the least loss of any expert on the same prompt, in bits per byte.

What the paper reports, with eleven experts on the Pile:

| selector | picked the best | times chance |
|---|---|---|
{paper}

What can be compared is the order, learned before selector before chance. Here, paired on the same prompts, {order}.
The percentages cannot be compared. Five experts are not eleven; these are specialists of domains that hardly overlap,
each with its domain in its card, where the paper's are encoders of one family that often tie; a card is therefore
worth more here than Gorilla's documentation was there, as far as the embedding understands it. The loss is that of
causal models on whole texts, not of masked tokens; and a language model as selector (GPT-3.5-turbo in the paper) was
not run.

## What does a constraint cost?

Utility is predicted quality minus λ times the constraint's share of the largest in the pool; λ runs from 0 to 100.

![fronts](figures/tryage.svg)

{_front_tables(fronts)}

*Saved* is the loss below that of tossing a coin between single experts at the same mean amount: above zero, the front
lies beyond the hull of the pool. At the last λ the constraint alone decides, and the pick is the smallest (fastest,
thriftiest) expert for every prompt: where several tie, the best of them by predicted loss. The pool is nearly
uniform, four dense models of one size and one mixture of experts, so the fronts are short; latency and energy are the
estimates of the served pool ([default.yaml](../../gateway/default.yaml)), not measurements.
"""


def _order(selectors: Sequence[Selector], bits: Floats, counts: Floats) -> str:
    """Learned minus selector, and selector minus chance: paired differences of the share picked best, and of regret."""
    mixes = {selector.name: selector.mix for selector in selectors}
    parts = []
    for better, worse, words in (
        (LEARNED, CARDS, "learned without labels minus the better card match"),
        (CARDS, "chance", "that card match minus chance"),
    ):
        picked = picked_a_best(-bits, mixes[better]) - picked_a_best(-bits, mixes[worse])
        saved = regrets(-bits, mixes[worse]) - regrets(-bits, mixes[better])
        share, regret = (
            (float(value.mean()), *interval(resampled_means(value[None, :], counts)[0])) for value in (picked, saved)
        )
        parts.append(f"{words}: {_points(share)} picked best, {_figures(regret)} bits per byte less regret")
    return "; ".join(parts)


def _points(value: tuple[float, ...]) -> str:
    return f"{100 * value[0]:+.1f} points ({100 * value[1]:+.1f} to {100 * value[2]:+.1f})"


def _front_tables(fronts: Sequence[Front]) -> str:
    parts = []
    shown = [index for index in range(len(LAMBDAS)) if index % 4 == 0]
    for front in fronts:
        falls = bool((np.diff(front.amounts) <= 1e-9).all())
        lines = "\n".join(
            f"| {LAMBDAS[i]:.3g} | {front.amounts[i]:.4g} | {front.losses[i]:.3f} | "
            f"{front.above[i, 1]:.3f} ({front.above[i, 0]:.3f} to {front.above[i, 2]:.3f}) |"
            for i in shown
        )
        parts.append(
            f"**{front.name.capitalize()}.** The mean {'never rises' if falls else 'DOES NOT FALL throughout'} as λ "
            f"grows.\n\n| λ | mean {front.name}, {front.unit} | loss | saved |\n|---|---|---|---|\n{lines}"
        )
    return "\n\n".join(parts)


def _percent(value: tuple[float, ...]) -> str:
    return f"{100 * value[0]:.1f} % ({100 * value[1]:.1f} to {100 * value[2]:.1f})"


def _figures(value: tuple[float, ...]) -> str:
    return f"{value[0]:.3f} ({value[1]:.3f} to {value[2]:.3f})"


STUDY = Study("tryage", "The Tryage experiment: who pays least for this prompt?", ("corpora",), _run)
