"""A newcomer is placed by its results, and nobody else moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pointsman.routers.artifacts import RouterParts, load_artifact, load_parts, save_router
from pointsman.routers.errors import TrainingError
from pointsman.routers.training.fit import fit_router
from pointsman.routers.training.onboarding import place_expert
from tests.unit.routers.tiny import tiny_data, tiny_embedder

#: Good at food, where the known experts are not: a specialist that no mixture of them resembles.
COOK = {"code": 0.1, "math": 0.1, "food": 0.9}


@pytest.fixture(scope="module")
def parts() -> RouterParts:
    return fit_router(tiny_data(noise=0.05), name="tiny", embedder=tiny_embedder(), max_iter=50)


def labelled(count: int, seed: int = 1, truth: dict[str, float] = COOK) -> tuple[list[str], np.ndarray]:
    data = tiny_data(count, seed)
    scores = np.array([truth[str(category)] for category in data.categories])
    return list(data.texts), scores


def predicted(parts: RouterParts, texts: list[str]) -> np.ndarray:
    vectors = parts.embedder.embed(texts)
    return parts.quality.predict(vectors, parts.classifier.posteriors(vectors)[0])


def test_nothing_of_the_others_moves(parts: RouterParts) -> None:
    placed = place_expert(parts, "cook", *labelled(30))
    assert placed.quality.experts == (*parts.quality.experts, "cook")
    for name, before in parts.quality.tensors().items():
        assert np.array_equal(placed.quality.tensors()[name][: len(before)], before), name
    assert placed.classifier is parts.classifier
    assert placed.embedder is parts.embedder
    texts = list(tiny_data(60, 7).texts)
    assert predicted(placed, texts)[:, :-1] == pytest.approx(predicted(parts, texts), abs=1e-6)


def test_a_specialist_gets_its_domain_after_a_few_prompts(parts: RouterParts) -> None:
    data = tiny_data(150, 9)
    food = np.array([category == "food" for category in data.categories])
    placed = place_expert(parts, "cook", *labelled(60))
    chosen = predicted(placed, list(data.texts)).argmax(axis=1) == 3
    assert chosen[food].mean() > 0.9
    assert chosen[~food].mean() < 0.05


def test_more_prompts_tell_more(parts: RouterParts) -> None:
    data = tiny_data(150, 9)
    truth = np.array([COOK[str(category)] for category in data.categories])
    errors = []
    for count in (6, 30, 120, 360):
        placed = place_expert(parts, "cook", *labelled(count))
        errors.append(float(np.mean((predicted(placed, list(data.texts))[:, -1] - truth) ** 2)))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 4


def test_an_expert_equal_to_a_known_one_gets_its_predictions(parts: RouterParts) -> None:
    data = tiny_data(120, 3)
    placed = place_expert(parts, "twin", data.texts, data.scores[:, 0])
    texts = list(tiny_data(90, 5).texts)
    found = predicted(placed, texts)
    assert np.abs(found[:, -1] - found[:, 0]).mean() < 0.1
    assert np.abs(found[:, -1] - found[:, 1]).mean() > 0.3


def test_a_card_alone_onboards_an_expert_and_results_overrule_it() -> None:
    parts = load_parts("default")
    card = "writes, explains and debugs Python code"
    code = ["Write a Python function that reverses a linked list.", "Fix this for loop: for i in range(len(xs) + 1):"]
    others = ["If 3 apples cost $2.40, how much do 7 apples cost?", "Is metformin safe in renal failure?"]
    placed = place_expert(parts, "new", [], np.zeros(0), card=card)
    assert (predicted(placed, code).argmax(axis=1) == len(parts.quality.experts)).all()
    assert (predicted(placed, others).argmax(axis=1) != len(parts.quality.experts)).all()
    texts = [f"{prompt} ({number})" for number in range(40) for prompt in code]
    failed = place_expert(parts, "new", texts, np.zeros(len(texts)), card=card)
    assert (predicted(failed, code).argmax(axis=1) != len(parts.quality.experts)).all()
    with pytest.raises(TrainingError, match="no card that names a domain"):
        place_expert(parts, "new", [], np.zeros(0), card="fast and cheap")


def test_answer_lengths_are_stretched_from_the_pool_s(parts: RouterParts) -> None:
    texts, scores = labelled(60)
    placed = place_expert(parts, "cook", texts, scores, completion_tokens=np.full(60, 400.0))
    assert placed.tokens is not None
    assert parts.tokens is not None
    mean = placed.tokens.tensors()["tokens.mean"]
    assert np.array_equal(mean[:-1], parts.tokens.tensors()["tokens.mean"])
    assert 330.0 < mean[-1].mean() < 401.0
    assert place_expert(parts, "cook", texts, scores).tokens is parts.tokens


def test_an_onboarded_expert_is_saved_with_its_provenance(parts: RouterParts, tmp_path: Path) -> None:
    placed = place_expert(parts, "cook", *labelled(60))
    save_router(tmp_path, placed)
    loaded = load_artifact(tmp_path)
    texts = list(tiny_data(30, 9).texts)
    assert loaded.manifest["training"]["placed"]["cook"]["labelled"] == 60
    vectors = placed.embedder.embed(texts)
    posterior = placed.classifier.posteriors(vectors)[0]
    assert np.array_equal(loaded.router.quality.predict(vectors, posterior), predicted(placed, texts))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "scores", "match"),
    [
        ("coder", [0.5] * 3, "already"),
        ("new", [0.5] * 2, "as many scores"),
        ("new", [2.0] * 3, "as many scores"),
        ("new", [np.nan] * 3, "nothing places"),
    ],
)
def test_an_expert_that_cannot_be_onboarded_is_refused(
    parts: RouterParts, name: str, scores: list[float], match: str
) -> None:
    with pytest.raises(TrainingError, match=match):
        place_expert(parts, name, ["a", "b", "c"], np.array(scores))
