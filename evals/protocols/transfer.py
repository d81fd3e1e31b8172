"""A router learned on one table and judged on another: does it know experts, or one table's prompts?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pointsman.evals.errors import EvalError
from pointsman.evals.policies import Trial, make_trial
from pointsman.evals.tables import OutcomeTable


def transfer_trial(source: OutcomeTable, target: OutcomeTable, experts: Mapping[str, str]) -> Trial:
    """All prompts of one table to learn from, all of another to be judged on; the first gives up what both have.

    Args:
        source: What is learned from.
        target: What is evaluated.
        experts: Name in `target` -> name of the same model (or of a stand-in, which the caller must say) in `source`.

    Raises:
        EvalError: Fewer than two experts are named, or a table does not have one of them.
    """
    if len(experts) < 2:
        raise EvalError("transfer needs at least two experts that both tables have")
    names = tuple(experts)
    learned = source.pool([experts[name] for name in names])
    judged = target.pool(names)
    both = OutcomeTable(
        name=f"{source.name} to {target.name}",
        prompt_ids=(*(f"source/{one}" for one in learned.prompt_ids), *judged.prompt_ids),
        prompts=(*learned.prompts, *judged.prompts),
        datasets=(*learned.datasets, *judged.datasets),
        categories=(*learned.categories, *judged.categories),
        splits=("train",) * len(learned) + ("test",) * len(judged),
        experts=names,
        scores=np.concatenate([learned.scores, judged.scores]),
        cost_usd=np.concatenate([learned.cost_usd, judged.cost_usd]),
        prompt_tokens=np.concatenate([learned.prompt_tokens, judged.prompt_tokens]),
        completion_tokens=np.concatenate([learned.completion_tokens, judged.completion_tokens]),
        cost_basis=judged.cost_basis,
        sha256={**source.sha256, **{f"{target.name}/{file}": digest for file, digest in target.sha256.items()}},
    )
    return make_trial(both, drop_leaks=True)
