"""Composition of Experts' first half: the category of a prompt, how sure it is, and what to do without labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pointsman.evals.metrics.bootstrap import interval, resample_counts, resampled_means
from pointsman.evals.metrics.calibration import expected_calibration_error, reliability
from pointsman.evals.near_duplicates import near_duplicate_clusters
from pointsman.evals.studies.categories_figures import plot_confusion, plot_seeds, plot_trust
from pointsman.evals.studies.labelled import LabelledPrompts, PosteriorHead, load_labelled, logits_of
from pointsman.evals.studies.pools import CLOSE_POOL
from pointsman.evals.studies.seed_sets import SHARES, SeedCurve, seed_curve
from pointsman.evals.studies.study import Study, StudyContext
from pointsman.routers.training import classify
from pointsman.routers.training.folds import fold_of
from pointsman.routers.training.metrics import auroc
from pointsman.routers.training.uncertain import choose_max_entropy

Floats = npt.NDArray[np.float64]

FOLDS = 3

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.6)


@dataclass(frozen=True, slots=True)
class HeadEvaluation:
    """A head on a table, calibrated on held-out training prompts.

    Attributes:
        head: Which.
        raw: Posterior of the test prompts before calibration, shape (n, C).
        posterior: The same after it, shape (n, C).
        scope: Scope score of the test prompts, shape (n,).
        outside: Posterior of the out-of-scope prompts, shape (o, C).
        outside_scope: Their scope score, shape (o,).
        held: Calibrated posterior of the training prompts, each out of fold, shape (t, C).
    """

    head: PosteriorHead
    raw: Floats
    posterior: Floats
    scope: Floats
    outside: Floats
    outside_scope: Floats
    held: Floats


def _run(ground: StudyContext) -> str:
    resamples = 200 if ground.quick else 2000
    clinc, mmlu = (load_labelled(ground.data / name) for name in ("clinc150", "mmlu_pro"))
    ground.progress(0.1)
    judged = {table.name: {head: _judge(table, head) for head in PosteriorHead} for table in (clinc, mmlu)}
    ground.progress(0.5)
    best = {name: heads[PosteriorHead.LINEAR] for name, heads in judged.items()}
    tables = [(table, best[table.name]) for table in (clinc, mmlu)]
    confusion = _confusion(mmlu, best["mmlu_pro"])
    plot_confusion(mmlu.names, confusion, ground.figures / "categories_confusion.svg")
    plot_trust(
        [(t.name, t.labels[t.test], j.raw, j.posterior, _entropy(j.posterior)) for t, j in tables],
        ground.figures / "categories_trust.svg",
    )
    seeds = range(1 if ground.quick else 3)
    curves = [seed_curve(table, seeds, encoder) for table, encoder in ((clinc, "all-MiniLM-L6-v2"), (mmlu, None))]
    plot_seeds(curves, ground.figures / "categories_seeds.svg")
    return PAGE.format(
        heads="\n\n".join(_heads_section(table, judged[table.name].values(), resamples) for table, _ in tables),
        confusions=_confusions(mmlu.names, confusion),
        scopes=_scopes_section(best["clinc150"], judged["clinc150"][PosteriorHead.KNN]),
        coverage=_coverage_section(tables),
        threshold=_threshold_section(ground.data / "mmlu_pro", mmlu, best["mmlu_pro"], resamples),
        seeds="\n\n".join(map(_seeds_section, curves)),
        sets=len(seeds),
        resamples=f"{resamples:,}",
    )


def _judge(table: LabelledPrompts, head: PosteriorHead) -> HeadEvaluation:
    """Calibrate on out-of-fold training logits, then fit on all of them and look at the test prompts."""
    fold = fold_of([table.texts[row] for row in table.train], FOLDS, seed=0)
    held = np.zeros((len(table.train), len(table.names)), dtype=np.float32)
    for index in range(FOLDS):
        held[fold == index], _ = logits_of(head, table, table.train[fold != index], table.train[fold == index])
    temperature = classify.fit_temperature(held, table.labels[table.train])
    logits, scope = logits_of(head, table, table.train, np.concatenate([table.test, table.outside]))
    posterior, energy = classify.fine_posterior(logits, temperature)
    scope = energy if scope is None else scope
    n = len(table.test)
    return HeadEvaluation(
        head,
        raw=classify.fine_posterior(logits[:n], 1.0)[0].astype(np.float64),
        posterior=posterior[:n].astype(np.float64),
        scope=scope[:n].astype(np.float64),
        outside=posterior[n:].astype(np.float64),
        outside_scope=scope[n:].astype(np.float64),
        held=classify.fine_posterior(held, temperature)[0].astype(np.float64),
    )


def _entropy(posterior: Floats) -> Floats:
    return np.asarray(-(posterior * np.log(np.maximum(posterior, 1e-30))).sum(axis=1))


def _ece(posterior: Floats, right: npt.NDArray[np.bool_]) -> float:
    return expected_calibration_error(reliability(posterior.max(axis=1), right.astype(np.float64), bins=15))


def _heads_section(table: LabelledPrompts, heads: Iterable[HeadEvaluation], resamples: int) -> str:
    truth = table.labels[table.test]
    counts = np.concatenate(list(resample_counts(np.arange(len(truth)), resamples, seed=0)))
    lines = []
    for head in heads:
        right = head.posterior.argmax(axis=1) == truth
        low, high = interval(resampled_means(right.astype(np.float64)[None, :], counts)[0])
        loss = -np.log(np.maximum(head.posterior[np.arange(len(truth)), truth], 1e-12)).mean()
        outside = f"{auroc(head.scope, head.outside_scope):.3f}" if len(head.outside) else "–"
        lines.append(
            f"| {head.head} | {100 * right.mean():.1f} % ({100 * low:.1f} to {100 * high:.1f}) | {loss:.3f} | "
            f"{_ece(head.raw, right):.3f} | {_ece(head.posterior, right):.3f} | {outside} |"
        )
    return (
        f"**{table.name}**: {len(table.names)} categories, {len(table.train)} training, {len(truth)} test prompts.\n\n"
        "| head | accuracy | log-loss | ECE before | ECE after temperature | out-of-scope AUROC |\n"
        "|---|---|---|---|---|---|\n" + "\n".join(lines)
    )


def _confusion(table: LabelledPrompts, head: HeadEvaluation) -> Floats:
    """Share of each category's prompts (rows) put in each category (columns)."""
    size = len(table.names)
    truth, said = table.labels[table.test], head.posterior.argmax(axis=1)
    matrix = np.bincount(truth * size + said, minlength=size * size).reshape(size, size).astype(np.float64)
    return np.asarray(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1.0))


def _confusions(names: Sequence[str], confusion: Floats, most: int = 6) -> str:
    wrong = confusion * (1.0 - np.eye(len(names)))
    pairs = [divmod(int(index), len(names)) for index in np.argsort(-wrong, axis=None)[:most]]
    return ", ".join(f"{names[is_]} for {names[said]} ({100 * wrong[is_, said]:.0f} %)" for is_, said in pairs)


def _scopes_section(linear: HeadEvaluation, knn: HeadEvaluation) -> str:
    scores = {
        "energy of the linear head, ln Σ exp z (shipped)": (linear.scope, linear.outside_scope),
        "its largest probability": (linear.posterior.max(axis=1), linear.outside.max(axis=1)),
        "its negative entropy": (-_entropy(linear.posterior), -_entropy(linear.outside)),
        "mean cosine to the 20 nearest training prompts": (knn.scope, knn.outside_scope),
    }
    return "\n".join(f"| {name} | {auroc(*pair):.3f} |" for name, pair in scores.items())


def _coverage_section(tables: Sequence[tuple[LabelledPrompts, HeadEvaluation]]) -> str:
    lines = []
    for coverage in COVERAGES:
        cells = []
        for table, head in tables:
            right = head.posterior.argmax(axis=1) == table.labels[table.test]
            entropy = _entropy(head.posterior)
            kept = entropy <= np.quantile(entropy, coverage)
            cells.append(f"{100 * right[kept].mean():.1f} %")
        lines.append(f"| {100 * coverage:.0f} % | {' | '.join(cells)} |")
    return "\n".join(lines)


def _threshold_section(folder: Path, table: LabelledPrompts, head: HeadEvaluation, resamples: int) -> str:
    """What the two rules for the threshold do to the routed quality of a plain category mapping."""
    from pointsman.evals.tables import load_table

    outcomes = load_table(folder).covering(0.95)
    row_of = {prompt: row for row, prompt in enumerate(outcomes.prompt_ids)}
    train, test = (np.array([row_of[table.ids[row]] for row in rows]) for rows in (table.train, table.test))
    truth = table.labels[table.train]
    held_entropy, entropy = _entropy(head.held), _entropy(head.posterior)
    majority = classify.choose_max_entropy(held_entropy, head.held.argmax(axis=1) == truth)
    clusters = near_duplicate_clusters([table.texts[row] for row in table.test])
    counts = np.concatenate(list(resample_counts(clusters, resamples, seed=0)))
    lines = []
    for name, experts in (("28 models", outcomes.experts), ("close six", CLOSE_POOL)):
        pool = outcomes.pool(experts)
        fitted, tested = pool.scores[train], pool.scores[test]
        single = int(np.nanmean(fitted, axis=0).argmax())
        means = np.stack([np.nanmean(fitted[truth == c], axis=0) for c in range(len(table.names))])
        mapping = means.argmax(axis=1)
        held = fitted[np.arange(len(train)), mapping[head.held.argmax(axis=1)]]
        routed = tested[np.arange(len(test)), mapping[head.posterior.argmax(axis=1)]]
        thresholds = {
            "never": np.inf,
            "wrong more often than right": majority,
            "by routed quality": choose_max_entropy(held_entropy, held, fitted[:, single]),
        }
        for rule, threshold in thresholds.items():
            given = np.where(entropy > threshold, tested[:, single], routed)
            gain = given - tested[:, single]
            low, high = interval(resampled_means(gain[None, :], counts)[0])
            limit = "none" if threshold > 1e6 else f"{threshold:.2f}"
            lines.append(
                f"| {name} | {rule} | {limit} | {100 * (entropy > threshold).mean():.1f} % | {np.nanmean(given):.4f} | "
                f"{np.nanmean(gain):+.4f} ({low:+.4f} to {high:+.4f}) |"
            )
    return "\n".join(lines)


def _seeds_section(curve: SeedCurve) -> str:
    head = " | ".join(f"{100 * share:g} %" for share in SHARES)
    lines = [
        f"| {way.name} | "
        + " | ".join(
            f"{100 * mean:.1f} ± {100 * spread:.1f}" for mean, spread in zip(way.accuracy, way.spread, strict=True)
        )
        + " |"
        for way in curve.ways
    ]
    for way in curve.ways:
        if np.isfinite(way.added[0]):
            cells = [f"{100 * a:.0f} %, {100 * r:.0f} % right" for a, r in zip(way.added, way.right, strict=True)]
            lines.append(f"| *{way.name}: labels added* | {' | '.join(cells)} |")
    return (
        f"**{curve.table}**, test accuracy in %; with all labels {100 * curve.full:.1f}.\n\n"
        f"| labelled | {head} |\n|---|{'---|' * len(SHARES)}\n" + "\n".join(lines)
    )


PAGE = """
Composition of Experts (arXiv 2412.01868) puts a prompt in a category, sends what it is not sure of to a generalist,
and makes its labels from few: a seed set, neighbours, an entropy filter. This page measures that half of the router
by itself, on labelled prompts: CLINC150 (requests to an assistant, ten domains, and queries that belong to none) and
MMLU-Pro (exam questions, fourteen subjects). All is fitted and calibrated on the training split and judged on the
test split. Intervals are 95 %, bootstrap over prompts, {resamples} resamples.

## Which head?

{heads}

The paper names no head; its product line used kNN on an embedding of seven billion parameters. On static embeddings
the words themselves matter more than the head: lexical scores beside the vector are worth several times what a hidden
layer is. ECE uses 15 bins; the temperature is fitted on three-fold held-out training prompts.

![confusion](figures/categories_confusion.svg)

Most often mistaken in MMLU-Pro: {confusions}.

## Can its probabilities be trusted?

![trust](figures/categories_trust.svg)

| prompts kept, least entropy first | accuracy on CLINC150 | accuracy on MMLU-Pro |
|---|---|---|
{coverage}

## Does it know what it does not know?

Telling CLINC150's 1,000 out-of-scope test queries from the 4,500 in scope, trained on the ten domains alone:

| score | AUROC |
|---|---|
{scopes}

## When should a generalist answer?

The *uncertain* category is one more category of the mapping, and its prompts go to the best single expert. Two rules
for its threshold on the posterior's entropy, both applied to held-out training prompts: where the classifier is wrong
more often than right, and where the best single expert answers better than the mapping does. The mapping here is the
plain one, each category to its best expert on the training split.

| pool of MMLU-Pro | threshold | nats | sent to the generalist | routed quality | minus best single |
|---|---|---|---|---|---|
{threshold}

On prompts like the table's the category's expert is no worse than the best single one even where the category is
unclear, so routed quality calls nobody uncertain; the other rule costs nothing that can be measured here. A router is
fitted with the first where it finds a threshold, and keeps the second for prompts unlike any it has seen.

## What if hardly anything is labelled?

Labels of all but a few of 5,000 training prompts are hidden; the k = 10 nearest seeds label the rest, and what they
disagree on stays without (the entropy filter is set so that nine in ten held-out seeds come out right). Then the
shipped head is trained on the result. Mean and standard deviation over {sets} seed sets.

{seeds}

![seeds](figures/categories_seeds.svg)

Spreading labels pays where the neighbours know more than the head that learns from them: on CLINC150 a sentence
encoder, used once and offline, teaches the static head. On long exam questions static neighbours know less than the
words do, and make it worse; with a sentence encoder MMLU-Pro was not run. `pointsman train --propagate-labels` uses
the sentence encoder, and is off unless asked for.
"""


STUDY = Study("categories", "Which category, and how sure?", ("clinc150", "mmlu_pro"), _run)
