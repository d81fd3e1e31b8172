"""Where a router loses to the oracle: example prompts, the costliest and most avoidable mistakes first."""

from __future__ import annotations

import numpy as np

from pointsman.evals.metrics.selection import best_scores, picked_values
from pointsman.evals.policies import Kind, Policy, Trial
from pointsman.evals.report import LostPrompt

_EXAMPLES = 12
_EXCERPT = 280


def lost_prompts(trial: Trial, policy: Policy, most: int = _EXAMPLES) -> tuple[LostPrompt, ...]:
    """Prompts on which a router's pick did worse than another expert.

    Of equal regret, those come first that more experts got right: there the router chose one of few that fail. At most
    two are of the same category, so that one weak spot does not hide the others.

    Args:
        trial: The ground.
        policy: One that picks a single expert per prompt.
        most: How many examples.
    """
    if policy.kind is not Kind.ROUTER or not policy.chooses:
        return ()
    scores = trial.test.scores
    best = best_scores(scores)
    regret = best - picked_values(scores, policy.mix)
    solved = (scores >= best[:, None]).sum(axis=1)
    order = np.lexsort((-solved, -np.where(np.isfinite(regret), regret, -1.0)))
    found: list[LostPrompt] = []
    seen: dict[str, int] = {}
    for i in order:
        if len(found) == most or not regret[i] > 0:
            break
        category = trial.test.categories[i]
        if seen.get(category, 0) == 2 and len(set(trial.test.categories)) > most // 2:
            continue
        seen[category] = seen.get(category, 0) + 1
        found.append(_told(trial, policy, int(i), float(best[i])))
    return tuple(found)


def _told(trial: Trial, policy: Policy, i: int, best_score: float) -> LostPrompt:
    scores = trial.test.scores[i]
    picked = int(policy.mix[i].argmax())
    winners = np.flatnonzero(scores >= best_score)
    expected = np.full(len(scores), np.nan) if policy.predicted is None else policy.predicted[i]
    # Of several that did best, those the router itself thought most of.
    winners = winners[np.argsort(-np.nan_to_num(expected[winners], nan=-1.0), kind="stable")]
    text = " ".join(trial.test.prompts[i].split())
    return LostPrompt(
        router=policy.name,
        prompt_id=trial.test.prompt_ids[i],
        excerpt=text if len(text) <= _EXCERPT else text[: _EXCERPT - 1].rstrip() + "…",
        category=trial.test.categories[i],
        picked=trial.test.experts[picked],
        picked_score=float(scores[picked]),
        predicted=_known(expected[picked]),
        best=tuple(trial.test.experts[j] for j in winners[:3]),
        best_score=best_score,
        predicted_best=_known(expected[winners[0]]),
    )


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
