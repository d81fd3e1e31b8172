"""The compiled kernel against numpy, and what it refuses to read."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.routers.artifacts import load_parts
from pointsman.routers.embed.kernel import KERNEL
from pointsman.routers.embed.lexical import LexicalEmbedder
from pointsman.routers.embed.static import StaticEmbedder

if KERNEL is None:
    pytest.skip("the package was installed without a C compiler", allow_module_level=True)

COMPILED = load_parts("default").embedder
PLAIN = LexicalEmbedder.from_parts(COMPILED.spec(), COMPILED.tensors(), str(COMPILED.tokenizer_json()), kernel=None)
VOCABULARY = PLAIN.static.vocab


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["the", "python", "Heart", "of", "soup,", "3x²", "naïve", "?", "zzzq"]), max_size=60),
    st.randoms(),
)
def test_the_same_vector_as_numpy_and_the_same_bits_in_any_order(words, random):
    (compiled,), (plain,) = COMPILED.embed([" ".join(words)]), PLAIN.embed([" ".join(words)])
    np.testing.assert_allclose(compiled, plain, rtol=1e-5, atol=5e-6)
    random.shuffle(words)
    np.testing.assert_array_equal(COMPILED.embed([" ".join(words)])[0], compiled)


def test_the_static_embedder_alone():
    parts = PLAIN.static.spec(), PLAIN.static.tensors(), PLAIN.static.tokenizer_json()
    compiled = StaticEmbedder.from_parts(*parts)
    texts = ["explain this python function", "", "the the the heart"]
    np.testing.assert_allclose(compiled.embed(texts), PLAIN.static.embed(texts), atol=1e-6)


def test_no_tokens_are_a_vector_of_zeros():
    assert not COMPILED.embed(["", "\x00 \t"]).any()


ROWS, SCALES = np.ones((3, 2), np.int8), np.ones(3, np.float32)
WORDS, FACTORS = np.ones((3, 1), np.int8), np.ones((2, 3), np.float32)


@pytest.mark.parametrize("ids", [[3], [-1], [0, 2, 7]])
def test_an_id_outside_of_the_vocabulary_is_refused(ids):
    with pytest.raises(IndexError, match="vocabulary of 3"):
        KERNEL.pool(np.array(ids, np.intc), ROWS, SCALES, WORDS, FACTORS, np.zeros(3, np.float32))


@pytest.mark.parametrize(
    "tables",
    [
        (ROWS[:2], SCALES, WORDS, FACTORS, np.zeros(3, np.float32)),
        (ROWS, SCALES[:2], WORDS, FACTORS, np.zeros(3, np.float32)),
        (ROWS, SCALES, WORDS[:2], FACTORS, np.zeros(3, np.float32)),
        (ROWS, SCALES, WORDS, FACTORS[:1], np.zeros(3, np.float32)),
        (ROWS, SCALES, WORDS, b"", np.zeros(3, np.float32)),
        (ROWS, SCALES, WORDS, FACTORS, np.zeros(2, np.float32)),
        (ROWS, b"", WORDS, FACTORS, np.zeros(3, np.float32)),
    ],
)
def test_tables_that_do_not_fit_together_are_refused(tables):
    with pytest.raises(ValueError, match="do not fit"):
        KERNEL.pool(np.zeros(1, np.intc), *tables)


def test_what_cannot_be_written_or_is_not_in_one_piece_is_refused():
    ids, out = np.zeros(1, np.intc), np.zeros(3, np.float32)
    out.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        KERNEL.pool(ids, ROWS, SCALES, WORDS, FACTORS, out)
    with pytest.raises((ValueError, BufferError)):
        KERNEL.pool(ids, ROWS, SCALES, WORDS, FACTORS, np.zeros(6, np.float32)[::2])


@pytest.mark.parametrize(
    "index", [b"", b"short", struct.pack("II", 1 << 30, 8), struct.pack("II", 16, 1 << 20), bytes(1000)]
)
def test_what_is_no_index_is_refused(index):
    with pytest.raises(ValueError, match="not an index"):
        KERNEL.tokenise("text", index, 0, 100, True)


def test_an_empty_vocabulary_knows_nothing():
    ids, others = KERNEL.tokenise("a b-ä", KERNEL.index([], b"##"), 7, 100, True)
    assert np.frombuffer(ids, np.intc).tolist() == [7, 7, 7]
    assert others == ["ä"]


def test_a_lexical_embedder_is_what_is_compared():
    assert isinstance(COMPILED, LexicalEmbedder)
    assert VOCABULARY > 10_000
