"""Public routers beside ours: they run with their own code where installed, and are refused clearly where not."""

from importlib.util import find_spec

import numpy as np
import pytest

from pointsman.evals.errors import EvalError
from pointsman.evals.policies import make_trial
from pointsman.evals.public_routers.beside import ROUTERS, public_policies
from pointsman.evals.tables import OutcomeTable


@pytest.mark.parametrize("name", ROUTERS)
def test_a_public_router_learns_what_is_there_to_learn(table: OutcomeTable, name: str) -> None:
    package = "semantic_router" if name == "semantic-router" else "llmrouter"
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed (extra `peers`)")
    trial = make_trial(table)
    (policy,) = public_policies(trial, [name])
    assert policy.name == f"public:{name}"
    assert policy.mix.sum(axis=1).tolist() == [1.0] * len(trial.test)
    quality = float((policy.mix * trial.test.scores).sum(axis=1).mean())
    single = float(trial.test.scores[:, np.argmax(trial.train.scores.mean(axis=0))].mean())
    assert quality > single + 0.1, "each expert is the best on its own subject, and the words tell the subject"
    again = public_policies(trial, [name])[0]
    assert (again.mix == policy.mix).all()


def test_an_unknown_router_is_refused(table: OutcomeTable) -> None:
    with pytest.raises(EvalError, match="no public router named ghost; there are llmrouter-knn"):
        public_policies(make_trial(table), ["ghost"])


@pytest.mark.skipif(find_spec("llmrouter") is not None, reason="the package is installed")
def test_an_absent_package_is_named(table: OutcomeTable) -> None:
    with pytest.raises(EvalError, match=r"pointsman\[peers\]"):
        public_policies(make_trial(table), ["llmrouter-knn"])
