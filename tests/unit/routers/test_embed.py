"""Embedders: unit rows, determinism, clipping, quantisation, and what an artefact restores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.routers.embed import restore_embedder
from pointsman.routers.embed.clip import clip_text
from pointsman.routers.embed.lexical import LexicalEmbedder
from pointsman.routers.embed.static import StaticEmbedder, quantise_rows
from pointsman.routers.errors import EmbedderError
from tests.unit.routers.tiny import tiny_embedder


@given(st.text(max_size=300), st.integers(8, 200))
def test_clipping_keeps_head_and_tail_and_the_cap(text, cap):
    clipped = clip_text(text, cap)
    assert len(clipped) <= cap
    if len(text) <= cap:
        assert clipped == text
    else:
        assert clipped.startswith(text[: int(cap * 0.75)])
        assert text.endswith(clipped[int(cap * 0.75) + 1 :])


def test_rows_are_of_unit_length_and_unknown_text_is_zero():
    embedder = tiny_embedder()
    vectors = embedder.embed(["python function loop", "", "zzz qqq", "soup"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (4, embedder.dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 0, 1], atol=1e-6)


@given(st.lists(st.sampled_from(["python", "soup", "sum", "the", "x"]), max_size=8))
def test_embedding_alone_and_in_company_is_the_same(words):
    embedder = tiny_embedder()
    text = " ".join(words)
    np.testing.assert_array_equal(embedder.embed([text])[0], embedder.embed(["bread", text, "loop"])[1])


def test_the_vector_is_the_weighted_sum_of_the_rows():
    embedder = tiny_embedder()
    tensors = embedder.tensors()
    ids = embedder.token_ids("python soup soup")
    expected = (tensors["embed.scales"][ids, None] * tensors["embed.rows"][ids].astype(np.float64)).sum(axis=0)
    np.testing.assert_allclose(embedder.embed(["python soup soup"])[0], expected / np.linalg.norm(expected), atol=1e-6)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_quantisation_is_within_half_a_step(rows, columns, seed):
    matrix = np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)
    matrix[0] = 0.0
    quantised, scales = quantise_rows(matrix)
    assert np.abs(scales[:, None] * quantised - matrix).max() <= scales.max() * 0.5 + 1e-6


def lexical() -> LexicalEmbedder:
    static = tiny_embedder()
    idf = np.ones(static.vocab, dtype=np.float32)
    idf[0] = 0.0
    rows = np.zeros((2, 2), dtype=np.int8)
    rows[1] = (100, -50)
    row_of = np.zeros(static.vocab, dtype=np.int32)
    row_of[static.token_ids("python")] = 1
    return LexicalEmbedder(static, idf, row_of, rows, np.array([0.0, 0.01], dtype=np.float32))


def test_lexical_scores_stand_after_the_unit_vector():
    embedder = lexical()
    (vector,) = embedder.embed(["python python soup"])
    width = embedder.static.dim
    np.testing.assert_array_equal(vector[:width], embedder.static.embed(["python python soup"])[0])
    twice = 1 + np.log(2)
    np.testing.assert_allclose(vector[width:], np.array([1.0, -0.5]) * twice / np.hypot(twice, 1), rtol=1e-5)


def test_a_text_without_known_tokens_has_no_scores():
    embedder = lexical()
    assert not embedder.embed(["", "zzz"]).any()


@pytest.mark.parametrize("embedder", [tiny_embedder(), lexical()], ids=["static", "lexical"])
def test_an_artefact_brings_the_embedder_back(embedder: StaticEmbedder | LexicalEmbedder):
    back = restore_embedder(embedder.spec(), embedder.tensors(), embedder.tokenizer_json())
    texts = ["python sum", "how to bake bread", "?"]
    np.testing.assert_array_equal(back.embed(texts), embedder.embed(texts))
    assert back.dim == embedder.dim


def test_what_cannot_be_restored_says_why():
    with pytest.raises(EmbedderError, match="unknown embedder kind 'bert'"):
        restore_embedder({"kind": "bert"}, {}, None)
    with pytest.raises(EmbedderError, match=r"tokenizer\.json"):
        restore_embedder(tiny_embedder().spec(), tiny_embedder().tensors(), None)


def test_rows_and_scales_must_fit():
    embedder = tiny_embedder()
    tensors = embedder.tensors()
    with pytest.raises(ValueError, match="do not fit"):
        StaticEmbedder.from_parts(
            embedder.spec(), {**tensors, "embed.scales": tensors["embed.scales"][1:]}, embedder.tokenizer_json()
        )
