"""How a prompt is written: the figures by hand, their bounds, and the way through an artefact."""

import numpy as np
import pytest

from pointsman.routers.embed import restore_embedder
from pointsman.routers.embed.prompt_features import FEATURES, FormatEmbedder, prompt_features
from tests.unit.routers.tiny import tiny_embedder

BOUND = np.full(FEATURES, 2.0, dtype=np.float32)


def test_the_figures_by_hand():
    found = prompt_features("1+1=2, OK?\nyes\né")
    size = 17.0  # é takes two bytes
    length = (np.log1p(size) - 6) / 2
    shares = [3 / size, 2 / size, 2 / size, 2 / size, 1 / size, 1 / size]
    assert found.tolist() == pytest.approx([length, length**2, length**3, *shares, np.log(3), 1], rel=1e-5)


@pytest.mark.parametrize("text", ["", "x" * 1_000_000, "\ud800", "\x00"])
def test_any_text_has_finite_figures(text: str):
    found = prompt_features(text)
    assert found.shape == (FEATURES,)
    assert np.isfinite(found).all()
    assert abs(found[0]) <= 3


def test_the_figures_follow_the_vector_within_their_bounds():
    inner = tiny_embedder()
    embedder = FormatEmbedder(inner, -BOUND, BOUND)
    found = embedder.embed(["python bug", "x" * 10_000])
    assert found.shape == (2, embedder.dim)
    np.testing.assert_array_equal(found[:, : inner.dim], inner.embed(["python bug", "x" * 10_000]))
    assert found[:, inner.dim :].min() == -2.0
    assert found[0, inner.dim + 3] == prompt_features("python bug")[3]


def test_an_artefact_brings_the_bounds_back():
    embedder = FormatEmbedder(tiny_embedder(), -BOUND, BOUND / 4)
    back = restore_embedder(embedder.spec(), embedder.tensors(), embedder.tokenizer_json())
    texts = ["python bug", "divide the sum", ""]
    np.testing.assert_array_equal(back.embed(texts), embedder.embed(texts))
    assert back.dim == embedder.dim


def test_bounds_must_fit():
    with pytest.raises(ValueError, match="figures"):
        FormatEmbedder(tiny_embedder(), BOUND[:3], BOUND)


def test_spacing_says_nothing():
    text = "What is (a) 17 + 25?\nAnswer with a number, please."
    spaced = "\n" + text.replace(" ", "   ").replace("\n", "\n\n") + "\n \n"
    assert prompt_features(spaced).tolist() == prompt_features(text).tolist()
