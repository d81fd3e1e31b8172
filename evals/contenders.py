"""The routers of one evaluation, and the baselines they bring with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pointsman.evals import baselines
from pointsman.evals.fitting import fit_on_table
from pointsman.evals.policies import Policy, Trial
from pointsman.evals.replay import Replay, expert_specs, replay, requests
from pointsman.evals.research_baselines import KNN, LINEAR, research_baselines
from pointsman.evals.rewordings import flip_rates
from pointsman.evals.text_features import TextFeatures
from pointsman.routers.protocols import RouterProtocol

Step = Callable[[float], None]

#: Names of baselines, which a user may give in place of a router.
NAMES = (*baselines.NAMES, KNN, LINEAR)

#: Name of the router that is fitted when none is named.
FITTED = "fitted"


@dataclass(frozen=True, slots=True)
class Contender:
    """A router under test; `router` is None for one that is still to be fitted on the trial's train split."""

    name: str
    router: RouterProtocol | None


def contenders(given: Sequence[str | Contender]) -> list[Contender]:
    """The routers named on the command line; one to be fitted when nothing is named.

    Args:
        given: Folders of artefacts, `default`, names of baselines (which run anyway), or contenders as they are.

    Raises:
        ArtifactError: An artefact cannot be loaded.
    """
    from pointsman.routers.artifacts import load_router

    if not given:
        return [Contender(FITTED, None)]
    found: dict[str, Contender] = {}
    for one in dict.fromkeys(given):
        if isinstance(one, Contender):
            taken = one.name in found or one.name in NAMES
            name = f"{one.name} {one.router.artifact_hash[:8]}" if taken and one.router else one.name
            found[name] = replace(one, name=name)
            continue
        if one in NAMES:
            continue
        short = one if one == "default" else Path(one).resolve().name
        name = one if short in found or short in NAMES else short
        found[name] = Contender(name, load_router(one))
    return list(found.values())


def compete(
    trial: Trial,
    named: Sequence[Contender],
    start: Callable[[str], Step],
    *,
    generalists: Sequence[str] = (),
    embedder: str | None = None,
    seed: int = 0,
    features: TextFeatures | None = None,
) -> tuple[list[Policy], list[Policy]]:
    """Let the contenders decide on a trial, and make the baselines.

    Args:
        trial: The ground; with a train split.
        named: Who competes.
        start: Called with the name of each stage; gives back what is told of its progress in [0, 1].
        generalists: Experts to mark as generalists.
        embedder: Of a router fitted here.
        seed: Of a router fitted here.
        features: Of the trial's prompts, for the research baselines; made here when not given.

    Returns:
        The routers' policies, and the baselines'.

    Raises:
        RouterError: A router cannot be fitted.
    """
    view = expert_specs(trial, generalists)
    policies: list[Policy] = []
    yardsticks = [*baselines.baselines(trial), *research_baselines(trial, features)]
    for one in named:
        router = one.router
        if router is None:
            router = fit_on_table(trial.train, one.name, embedder, seed, start("fitting")).router()
        done = replay(router, trial, view, one.name, start(f"routing: {one.name}"))
        reworded = flip_rates(router, trial, view)
        policies.append(replace(done.policy, flips=reworded).noting(*_remarks(done, trial)))
        yardsticks.append(_predicted_category(trial, router, done))
    return policies, yardsticks


def _remarks(done: Replay, trial: Trial) -> tuple[str, ...]:
    remarks = []
    pool = set(trial.test.experts)
    if not done.known:
        fitted = ", ".join(sorted(done.absent)[:5]) + (" and others" if len(done.absent) > 5 else "")
        whose = f"fitted on other experts ({fitted})" if done.absent else "not fitted on any expert"
        remarks.append(f"{whose}: its choices in this pool rest on priors alone and say nothing about routing")
    elif done.known != pool:
        remarks.append(f"was not fitted on {', '.join(sorted(pool - done.known))}: their quality is a prior")
    if trial.has_costs and not done.swept:
        remarks.append("its curve was asked point by point: the utility is not linear in the cost weight")
    return tuple(remarks)


def _predicted_category(trial: Trial, router: RouterProtocol, done: Replay) -> Policy:
    """Category to best expert with the router's own labels; the mapping from true labels where those are the table's.

    Where the router has other categories, the mapping is chosen on the labels it gives the train prompts.
    """

    def label(posterior: Sequence[tuple[str, float]]) -> str:
        return max(posterior, key=lambda pair: pair[1])[0]

    predicted = [label(tuple(one.classification.posterior.items())) for one in done.assessments]
    known = {name for one in done.assessments[:1] for name in one.classification.posterior}
    labels: Sequence[str] = trial.train.categories
    if not set(labels) <= known:
        assessed = (router.assess(request).classification.posterior for request in requests(trial.train))
        labels = [label(tuple(posterior.items())) for posterior in assessed]
    return baselines.by_category(trial, f"category_predicted[{done.policy.name}]", labels, predicted)
