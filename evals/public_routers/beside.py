"""Public routers as policies of a report, named `public:...`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from pointsman.evals.errors import EvalError
from pointsman.evals.metrics.selection import one_hot
from pointsman.evals.policies import Kind, Policy, Trial
from pointsman.evals.public_routers import llmrouter, semantic
from pointsman.evals.text_features import TextFeatures, text_features

Choose = Callable[[Trial, TextFeatures], npt.NDArray[np.int64]]

#: Name on the command line -> what makes the choices.
ROUTERS: dict[str, Choose] = {
    "llmrouter-knn": partial(llmrouter.choose, "knn"),
    "llmrouter-svm": partial(llmrouter.choose, "svm"),
    "llmrouter-mlp": partial(llmrouter.choose, "mlp"),
    "llmrouter-mf": partial(llmrouter.choose, "mf"),
    "semantic-router": semantic.choose,
}

_FEATURES = "sees the TF-IDF and SVD features of the research baselines in place of its own encoder"


def public_policies(
    trial: Trial,
    names: Sequence[str],
    features: TextFeatures | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> list[Policy]:
    """Fit public routers on the train split and let them choose on the test split.

    Args:
        trial: The ground; with a train split.
        names: Of `ROUTERS`.
        features: Of its prompts; made here when not given.
        progress: Told the share that is done.

    Raises:
        EvalError: A name is unknown, or its package is not installed.
    """
    if unknown := [name for name in names if name not in ROUTERS]:
        raise EvalError(f"no public router named {', '.join(unknown)}; there are {', '.join(ROUTERS)}")
    seen = text_features(trial.train.prompts, trial.test.prompts) if features is None else features
    policies = []
    for done, name in enumerate(names):
        progress(done / len(names))
        try:
            choices = ROUTERS[name](trial, seen)
        except ImportError as error:
            raise EvalError(f"{name} is not installed ({error}): pip install 'pointsman[peers]'") from error
        mix = one_hot(choices, len(trial.test.experts))
        policies.append(Policy(f"public:{name}", Kind.PUBLIC, mix, notes=(_FEATURES, llmrouter.TIE_BREAK)))
    progress(1.0)
    return policies
