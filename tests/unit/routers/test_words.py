"""Remembered words give the ids that the `tokenizers` library gives for the whole text."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from pointsman.routers.artifacts import DEFAULT_DIR, TOKENIZER
from pointsman.routers.embed.kernel import KERNEL
from pointsman.routers.embed.words import CAPACITY, LONGEST, WordTokenizer
from tests.unit.routers.natural_prompts import HELD_OUT_PROMPTS, TUNED_PROMPTS
from tests.unit.routers.tiny import tiny_embedder

LIBRARY = Tokenizer.from_file(str(DEFAULT_DIR / TOKENIZER))
#: Compiled, where that was possible, and not.
BOTH = (WordTokenizer(LIBRARY), WordTokenizer(LIBRARY, kernel=None))

#: Everything a BERT tokenizer treats in a way of its own: controls, odd spaces, accents, signs of many scripts.
ODD = st.text(
    "aZ09 .,_-[]'\"\n\t\r\x00\x0b\x1c\x7f\u00a0\u2003\u200b\u0085\u2028\u0301éÉßİıﬁ’“—…中文あ한😀\ufffd", max_size=40
)
PLAIN = st.text(st.characters(codec="ascii"), max_size=200)
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def by_the_library(text: str) -> list[int]:
    return sorted(LIBRARY.encode(text, add_special_tokens=False).ids)


@settings(max_examples=600, deadline=None)
@given(ODD | PLAIN | ANY)
@example("grow\x01together, [UNK] and [PAD]")
@example("naïve-café,(x) plain\x0bvertical")
@example("x" * 100 + " " + "x" * 101 + " " + "Y" * 2000)
def test_the_same_ids_as_the_library(text):
    for words in BOTH:
        assert sorted(words.token_ids(text).tolist()) == by_the_library(text)


def test_the_same_ids_on_prompts_people_write():
    texts = [text for group in (TUNED_PROMPTS, HELD_OUT_PROMPTS) for prompts in group.values() for text in prompts]
    for text in [*texts, *texts]:
        for words in BOTH:
            assert sorted(words.token_ids(text).tolist()) == by_the_library(text)


def test_half_of_a_surrogate_pair_is_nothing():
    for words in BOTH:
        assert sorted(words.token_ids("half \ud800 of a pa\udfffir").tolist()) == by_the_library("half  of a pair")


# A list, because workers that run tests beside one another must agree on their order.
@pytest.mark.parametrize(
    "kernel", [KERNEL, None] if KERNEL else [None], ids=lambda kernel: "compiled" if kernel else "python"
)
def test_memory_is_bounded_and_forgetting_changes_nothing(kernel):
    words = WordTokenizer(LIBRARY, kernel)
    words.token_ids(" ".join(f"w{number}é" for number in range(CAPACITY - 1)))
    text = "öne two three w7é " + "z" * (LONGEST + 1)
    assert sorted(words.token_ids(text).tolist()) == by_the_library(text)
    assert 0 < len(words) <= CAPACITY
    assert sorted(words.token_ids(text).tolist()) == by_the_library(text)
    words.token_ids(" ".join(f"v{number}é" for number in range(CAPACITY)))
    assert 0 < len(words) <= CAPACITY
    assert sorted(words.token_ids(text).tolist()) == by_the_library(text)


def test_another_kind_of_tokenizer_is_asked_for_whole_texts():
    words = WordTokenizer(Tokenizer.from_str(tiny_embedder().tokenizer_json()))
    assert words.token_ids("python sum").tolist() == tiny_embedder().token_ids("python sum").tolist()
    assert len(words) == 0


def test_a_cased_bert_tokenizer_keeps_case():
    vocabulary = {"[UNK]": 0, "Polish": 1, "polish": 2, "##ed": 3}
    cased = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    cased.normalizer = BertNormalizer(lowercase=False)
    cased.pre_tokenizer = BertPreTokenizer()
    for kernel in (KERNEL, None):
        assert WordTokenizer(cased, kernel).token_ids("Polish polished!").tolist() == [1, 2, 3, 0]


def test_a_word_is_unknown_as_a_whole_where_a_part_of_it_is():
    small = Tokenizer(WordPiece({"[UNK]": 0, "a": 1, "##b": 2, "ab": 3, "b": 4}, unk_token="[UNK]"))
    small.normalizer, small.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    for kernel in (KERNEL, None):
        assert WordTokenizer(small, kernel).token_ids("ABB abc a-b c").tolist() == [3, 2, 0, 1, 0, 4, 0]
