"""Null experts: how often the answer cache is wrong, and what the dial τ buys."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pointsman.evals.fitting import fit_on_table
from pointsman.evals.metrics.bootstrap import interval, resample_counts
from pointsman.evals.plan_pool import read_pool
from pointsman.evals.simulate import DEFAULT_POOL
from pointsman.evals.simulate.world import World, make_world
from pointsman.evals.studies.drawing import BLUE, GREY, ORANGE, axes, save
from pointsman.evals.studies.near_questions import THRESHOLD, Count, NearQuestions, RecognitionResult
from pointsman.evals.studies.proportions import rate
from pointsman.evals.studies.study import Study, StudyContext
from pointsman.evals.tables import load_table
from pointsman.experts.spec import NULL_BACKEND, EnergyModel, ExpertSpec, LatencyModel, PoolView, Price
from pointsman.routers.null_experts.guards import FALSE_HITS
from pointsman.routers.null_experts.share import ShareAccount
from pointsman.routers.types import Budget, Offer, Offers, RouteRequest, Weights

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: τ of the sweep.
_SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 1.0)
#: Share of requests that were asked before, exactly so, among the last `_REACH`. Assumed: no public table says.
_REPEATED, _REACH = 0.4, 2000
#: Prices of cost that callers state, drawn evenly: what one asks for quality may come back to another for cheapness.
_COST_WEIGHTS = (0.0, 0.1, 0.4)
_REQUESTS = 6000
#: Examples that state a blocked topic.
_EXAMPLES = 20
#: As shipped: `null_experts.bonus` and `null_experts.window`.
_BONUS, _WINDOW = 0.05, 500
_CACHE = ExpertSpec(
    "exact-cache",
    NULL_BACKEND,
    "exact-cache",
    price=Price(0.0, 0.0),
    energy=EnergyModel(0.0, 0.0, 0.0),
    latency=LatencyModel(2.0, 0.0, 0.0),
)


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """A stream answered under one τ; one figure per request each.

    Attributes:
        rows: Prompt.
        null: Whether the cache answered.
        score: Quality of the answer that was given.
        cost_usd: List price of the answer's tokens; 0 from the cache.
        energy_j: Likewise, by the pool's estimates.
    """

    rows: Ints
    null: npt.NDArray[np.bool_]
    score: Floats
    cost_usd: Floats
    energy_j: Floats


def _run(ground: StudyContext) -> str:
    near = NearQuestions(ground.data, 500 if ground.quick else None)
    ways = [
        ("guards, cosine ≥ 0.70 (shipped)", near.judge(THRESHOLD, guarded=True)),
        ("guards, cosine ≥ 0.85", near.judge(0.85, guarded=True)),
        *((f"cosine ≥ {least:.2f} alone", near.judge(least, guarded=False)) for least in (0.85, 0.9, 0.95)),
    ]
    ground.progress(0.3)
    table = load_table(ground.data / "mmlu_pro").pool([spec.artifact_name for spec in read_pool(DEFAULT_POOL)])
    world = make_world(
        table.split("test"), read_pool(DEFAULT_POOL), fit_on_table(table.split("train"), "null experts").router()
    )
    ground.progress(0.5)
    runs: dict[float, list[_Run]] = {}
    seeds, requests = range(1 if ground.quick else 3), 1500 if ground.quick else _REQUESTS
    for done, share in enumerate(_SHARES, 1):
        runs[share] = [_stream(world, share, seed, requests) for seed in seeds]
        ground.progress(0.5 + 0.5 * done / len(_SHARES))
    rows = _sweep(runs, 200 if ground.quick else 1000)
    _draw(ground, rows)
    return _page(near, ways, world, rows, runs[0.0])


def _stream(world: World, share: float, seed: int, requests: int) -> _Run:
    """Route a stream with repeats; every model's answer is kept, and offered when its prompt comes again."""
    rng = np.random.default_rng(seed)
    asked = rng.permutation(np.resize(np.arange(len(world.prompts)), requests))
    for at in np.flatnonzero(rng.random(requests) < _REPEATED).tolist():
        if at:
            asked[at] = asked[int(rng.integers(max(0, at - _REACH), at))]
    weights = rng.choice(_COST_WEIGHTS, requests)
    view = PoolView.of(*world.pool, _CACHE)
    position = {spec.name: index for index, spec in enumerate(world.pool)}
    kept: dict[int, str] = {}
    account = ShareAccount.opened(share, _WINDOW)
    null, score, cost, energy = (np.zeros(requests) for _ in range(4))
    for at, row in enumerate(asked.tolist()):
        seen = world.assessments[row]
        offers = Offers()
        if row in kept:
            predicted = seen.quality[world.pool[position[kept[row]]].artifact_name].mean
            offers = Offers({_CACHE.name: Offer(predicted, kept[row])}, _BONUS - account.price)
        tokens = _tokens(world.prompts[row])
        budget = Budget(weights=Weights(cost=float(weights[at])))
        decision = world.router.select(
            seen, RouteRequest("", world.prompts[row], tokens, budget=budget, offers=offers), view
        )
        assert decision.expert is not None  # noqa: S101  # no cap is stated, so somebody may answer
        null[at] = decision.expert == _CACHE.name
        account = account.after(null=bool(null[at]))
        giver = position[kept[row] if null[at] else decision.expert]
        score[at] = world.scores[row, giver]
        if not null[at]:
            kept[row] = decision.expert
            spec, answered = world.pool[giver], float(world.answer_tokens[row, giver])
            cost[at] = math.nan if spec.price is None else spec.price.cost_usd(tokens, answered)
            energy[at] = math.nan if spec.energy is None else spec.energy.energy_j(tokens, answered)
    return _Run(asked, null > 0, score, cost, energy)


def _tokens(prompt: str) -> int:
    return int(len(prompt) / 3.6) + 4


@dataclass(frozen=True, slots=True)
class _Row:
    """One τ. Pairs are a figure's interval; differences are to τ = 0 on the same requests."""

    share: float
    taken: float
    score: float
    lost: tuple[float, float, float]
    saved: tuple[float, float, float]
    cost_usd: float
    energy_j: float


def _sweep(runs: Mapping[float, Sequence[_Run]], resamples: int) -> list[_Row]:
    def joined(of: Callable[[_Run], npt.NDArray[np.generic]], share: float) -> Floats:
        return np.concatenate([of(run) for run in runs[share]]).astype(np.float64)

    prompts = joined(lambda run: run.rows, 0.0).astype(np.int64)
    score, cost = joined(lambda run: run.score, 0.0), joined(lambda run: run.cost_usd, 0.0)
    rows = []
    for share in runs:
        now_score, now_cost = joined(lambda run: run.score, share), joined(lambda run: run.cost_usd, share)
        lost: list[Floats] = []
        saved: list[Floats] = []
        # A prompt comes many times: it is drawn with all of its requests.
        for counts in resample_counts(prompts, resamples, seed=0):
            lost.append(counts @ (now_score - score) / counts.sum(axis=1))
            saved.append(1.0 - (counts @ now_cost) / (counts @ cost))
        rows.append(
            _Row(
                share,
                float(joined(lambda run: run.null, share).mean()),
                float(now_score.mean()),
                (float((now_score - score).mean()), *interval(np.concatenate(lost))),
                (1.0 - float(now_cost.sum() / cost.sum()), *interval(np.concatenate(saved))),
                float(now_cost.mean()),
                float(joined(lambda run: run.energy_j, share).mean()),
            )
        )
    return rows


def _page(
    near: NearQuestions,
    ways: Sequence[tuple[str, RecognitionResult]],
    world: World,
    rows: Sequence[_Row],
    first: Sequence[_Run],
) -> str:
    shipped = ways[0][1]
    changed = Count(sum(one.hits for one in shipped.changed.values()), sum(one.of for one in shipped.changed.values()))
    full, over = rows[-1], max(row.taken - row.share for row in rows)
    hits = [(name, _rate(found.answered), _rate(found.wrong)) for name, found in ways]
    swept = [
        (
            f"{row.share:g}",
            f"{row.taken:.1%}",
            f"{row.score:.4f}",
            _between(row.lost, 4),
            _between(row.saved, 3),
            f"{row.cost_usd * 1000:.3f}",
            f"{row.energy_j:.1f}",
        )
        for row in rows
    ]
    refusals = [(f"≥ {least:.2f}", *map(_rate, near.blocked(_EXAMPLES, least))) for least in (0.6, 0.65, 0.7, 0.75)]
    again = 1.0 - float(np.mean([len(np.unique(run.rows)) / len(run.rows) for run in first]))
    head = ("τ", "taken", "mean score", "against τ = 0", "cost saved", "USD per 1,000", "J per request")
    weights = ", ".join(f"{weight:g}" for weight in _COST_WEIGHTS)
    return f"""Null experts answer without a model ([null-experts.md](../null-experts.md)). Two questions decide whether
that is safe and whether it pays: how often is a remembered answer one to another question, and what does the dial τ do?

## Wrong hits of the semantic cache

{near.stored:,} questions of clinc150's train split are stored; {shipped.answered.of:,} others are asked. A hit is
*wrong* when the stored question has another intent. Of the shipped cache's hits {_rate(shipped.wrong)} are. Of the
pairs that were changed on purpose {_rate(changed)} pass. Intervals are Wilson's, 95 %; a hit's predicted quality is
discounted by {FALSE_HITS:.0%}, above the upper end.

{_table(("", "questions answered", "of these wrong"), hits)}

What is left with guards is mostly the table's own disagreement: "what's your designation" has two intents there.
A stricter cosine loses right hits and no wrong one. Closeness alone has no safe threshold:

{_kinds("pairs that mean something else, and pass", ways, lambda found: found.changed)}

{_kinds("pairs that mean the same, and pass", ways, lambda found: found.repeated)}

These pairs are made by rules from the {shipped.answered.of:,} questions, by the same hand as the guards: they show that
the guards do what they are for, not that nothing else can go wrong; the few that pass have only function words turned
round ("from do to my list"). The real questions above are the independent check.
Even so, two questions of one intent may want different answers, which the intents of the table cannot show; that is why
the guards ask for the same words, and why hits are few.

## Blocked topics

Each of the intents is blocked in turn by {_EXAMPLES} of its training questions. *Leaked* are questions of it that still
reach a model, *refused wrongly* questions of other intents that do not.

{_table(("cosine", "leaked", "refused wrongly"), refusals)}

Examples alone do not close a topic: they catch what is said like them. A topic that must not leak wants its category
blocked as a whole (`null_experts.refusal.topics[].categories`), or a model that judges, which this is not.

## The dial τ

{len(first)} runs of {len(first[0].rows):,} requests over {len(world.prompts):,} prompts of mmlu_pro's test split and
{len(world.pool)} models (the pool of `pointsman simulate`). {_REPEATED:.0%} of the requests repeat one of the last
{_REACH:,}, others come round by themselves: {again:.0%} have been asked before in their run. That is assumed: no public
table says how often people repeat themselves. Callers state a cost weight of {weights} at random, so
that an answer which a cheap model gave to one may come back to another who asked for quality: what a cache can lose.
Quality is the table's score of the answer that was given, cost is list price times tokens (the prompt's estimated from
its length), energy is estimated as the pool file says.

![Quality and cost against the share taken](figures/null_experts_dial.svg)

{_table(head, swept)}

Quality does not fall: an answer that was given to a caller who paid for quality serves those who would not have, and no
kept answer is taken that is predicted to be worse than what the router may buy, by more than the bonus of {_BONUS:g}.
Brackets are 95 % intervals of a paired bootstrap over prompts. The share exceeds τ by {over:.2%} at most. Without a
limit the cache answers {full.taken:.0%} of the requests and saves {full.saved[0]:.0%} of the cost.

AdaMoE reports 14.5 % fewer FLOPs and +1.69 points on ARC-C from null experts within Mixtral's layers, fine-tuned. It is
the source of the idea and no comparison: here whole requests are answered without a model, and nothing is trained.
"""


def _kinds(
    title: str, ways: Sequence[tuple[str, RecognitionResult]], of: Callable[[RecognitionResult], Mapping[str, Count]]
) -> str:
    shown = [ways[0], *ways[2:]]
    lines = [
        (kind, f"{count.of:,}", *(f"{of(found)[kind].hits / max(count.of, 1):.1%}" for _, found in shown))
        for kind, count in of(shown[0][1]).items()
    ]
    return _table((title, "pairs", *(name for name, _ in shown)), lines)


def _rate(count: Count) -> str:
    return rate(count.hits, count.of)


def _between(figures: tuple[float, float, float], digits: int) -> str:
    mean, low, high = figures
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def _draw(ground: StudyContext, rows: Sequence[_Row]) -> None:
    figure, (left, right) = axes(2, (7.0, 2.6))
    taken = [row.taken for row in rows]
    left.fill_between(taken, [row.lost[1] for row in rows], [row.lost[2] for row in rows], color=BLUE, alpha=0.2)
    left.plot(taken, [row.lost[0] for row in rows], "o-", color=BLUE, ms=3)
    left.axhline(0.0, color=GREY, lw=0.8)
    left.set_ylabel("mean score against τ = 0", fontsize=8)
    right.plot(taken, [row.saved[0] for row in rows], "o-", color=ORANGE, ms=3)
    right.set_ylabel("share of the cost saved", fontsize=8)
    for ax in (left, right):
        ax.set_xlabel("share of requests answered without a model", fontsize=8)
        ax.grid(alpha=0.2)
    save(figure, ground.figures / "null_experts_dial.svg")


STUDY = Study(
    "null_experts",
    "Answers without a model: what they save, and how often they are wrong",
    ("clinc150", "mmlu_pro"),
    _run,
)
