"""How good single choices are: what was picked against what would have been best on the same prompt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pointsman.evals.metrics import router_arena, selection
from pointsman.evals.metrics.metric import metric, per_prompt_metric
from pointsman.evals.router_result import RouterResult
from pointsman.evals.tables import OutcomeTable

Floats = npt.NDArray[np.float64]


@per_prompt_metric(title="picked best", unit="%", better="higher", headline=True, terminal_rank=2, legend="ties count")
def selection_accuracy(table: OutcomeTable, mix: Floats) -> Floats:
    """Share of the prompts whose pick scored as high as anybody did.

    Ties count, and so do prompts that nobody solves: read it beside `random`. This is Tryage's share of truly best
    picks (arXiv 2308.11601).
    """
    return selection.picked_a_best(table.scores, mix)


@per_prompt_metric(
    title="only best", unit="%", better="higher", terminal_rank=6, legend="on prompts with a single best expert"
)
def selection_accuracy_strict(table: OutcomeTable, mix: Floats) -> Floats:
    """Share of right picks over the prompts on which exactly one expert is best. Chance is 1 / experts."""
    return selection.picked_the_only_best(table.scores, mix)


@per_prompt_metric(better="lower", terminal_rank=3)
def regret(table: OutcomeTable, mix: Floats) -> Floats:
    """Mean of the best score that anybody got minus the pick's."""
    return selection.regrets(table.scores, mix)


@per_prompt_metric(title="right where few are", unit="%", better="higher", terminal_rank=None)
def recall_rare(table: OutcomeTable, mix: Floats) -> Floats:
    """Share of right picks on the prompts that only one or two experts get right.

    Most of the distance to the oracle lies there (LLMRouterBench, arXiv 2601.07206).
    """
    return selection.right_where_few_are(table.scores, mix)


@metric(title="arena score", better="higher", source="RouterArena", terminal_rank=None)
def arena_score(result: RouterResult) -> float:
    """Score (arXiv 2510.00202) of quality and cost together, where the router puts no price on cost."""
    if not result.trial.has_costs:
        return float("nan")
    return router_arena.arena_score(result.quality.value, 1000 * result.cost_usd.value)


@metric(title="Opt.Sel", unit="%", better="higher", source="RouterArena", terminal_rank=None)
def opt_sel(result: RouterResult) -> float:
    """Share of the right picks that are the cheapest right expert."""
    return _optimality(result).selection


@metric(title="Opt.Cost", unit="%", better="higher", source="RouterArena", terminal_rank=None)
def opt_cost(result: RouterResult) -> float:
    """The oracle's cost over the router's, on the prompts that the router gets right."""
    return _optimality(result).cost


@metric(title="Opt.Acc", unit="%", better="higher", source="RouterArena", terminal_rank=None)
def opt_acc(result: RouterResult) -> float:
    """Prompts that the router gets right over prompts that anybody gets right.

    This ratio of accuracies is what stands on the leaderboard; the published script sums over prompts the router has
    right, which gives 1 for everybody.
    """
    return _optimality(result).accuracy


def _optimality(result: RouterResult) -> router_arena.Optimality:
    if not result.trial.has_costs or not result.policy.chooses:
        return router_arena.Optimality(float("nan"), float("nan"), float("nan"))
    return router_arena.optimality(result.trial.test.scores, result.trial.test.cost_usd, result.policy.mix)
