"""The packaged artefact on prompts as people type them, written by hand and never trained on."""

import functools

import pytest

from pointsman.experts.spec import ExpertSpec, PoolView
from pointsman.routers.artifacts import load_artifact
from pointsman.routers.types import RouteRequest
from tests.unit.routers.natural_prompts import HELD_OUT_PROMPTS, README_PROMPTS, TUNED_PROMPTS

EXPERTS = ("nano-clinical", "nano-code", "nano-general", "nano-math", "nano-prose")
VIEW = PoolView.of(*(ExpertSpec(name, "fake", name, generalist=name == "nano-general") for name in EXPERTS))


@functools.cache
def answerer(text: str) -> str | None:
    return load("default").decide(RouteRequest("r", text, 20), VIEW).expert


@functools.cache
def load(name: str):
    return load_artifact(name).router


def share_right(prompts: dict[str, tuple[str, ...]]) -> float:
    verdicts = [answerer(text) == expert for expert, texts in prompts.items() for text in texts]
    return sum(verdicts) / len(verdicts)


@pytest.mark.parametrize(("expert", "text"), README_PROMPTS.items(), ids=README_PROMPTS)
def test_the_prompts_of_the_readme_reach_their_experts(expert: str, text: str):
    assert answerer(text) == expert


# The floors stand below what was measured (docs/routing.md) by about two standard errors of a hundred prompts.
def test_prompts_it_was_bettered_on():
    assert share_right(TUNED_PROMPTS) >= 0.88


def test_prompts_nobody_looked_at():
    assert share_right(HELD_OUT_PROMPTS) >= 0.72


@pytest.mark.parametrize("expert", HELD_OUT_PROMPTS)
def test_no_expert_is_forgotten(expert: str):
    both = {expert: TUNED_PROMPTS[expert] + HELD_OUT_PROMPTS[expert]}
    assert share_right(both) >= 0.65


def test_the_held_out_prompts_are_not_in_the_training_requests():
    from pointsman.routers.training.shipped.artifact import REQUESTS_PER_CATEGORY, SEED
    from pointsman.routers.training.shipped.requests import make_requests

    made = {text.lower() for texts in make_requests(REQUESTS_PER_CATEGORY, SEED).values() for text in texts}
    ours = {text.lower() for texts in HELD_OUT_PROMPTS.values() for text in texts}
    ours |= {text.lower() for texts in TUNED_PROMPTS.values() for text in texts}
    assert not made & ours
