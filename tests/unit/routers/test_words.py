"""Remembered words give the ids that the `tokenizers` library gives for the whole text."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from routers.artifacts import DEFAULT_DIR, TOKENIZER
from routers.embed.words import CAPACITY, LONGEST, Words
from tests.unit.routers.natural_prompts import HELD_OUT_PROMPTS, TUNED_PROMPTS
from tests.unit.routers.tiny import tiny_embedder

LIBRARY = Tokenizer.from_file(str(DEFAULT_DIR / TOKENIZER))
WORDS = Words(LIBRARY)

#: Everything a BERT tokenizer treats in a way of its own: controls, odd spaces, accents, signs of many scripts.
ODD = st.text("aZ09 .,_-[]'\"\n\t\r\x00\x0b\x1c\x7f\u00a0\u2003\u200b\u0301éÉßİıﬁ’“—…中文あ한😀\ufffd", max_size=40)
PLAIN = st.text(st.characters(codec="ascii"), max_size=200)
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def by_the_library(text: str) -> list[int]:
    return LIBRARY.encode(text, add_special_tokens=False).ids


@settings(max_examples=600, deadline=None)
@given(ODD | PLAIN | ANY)
@example("grow\x01together, [UNK] and [PAD]")
@example("naïve-café,(x) plain\x0bvertical")
@example("x" * 101 + " " + "Y" * 2000)
def test_the_same_ids_as_the_library(text):
    assert WORDS.token_ids(text) == by_the_library(text)


def test_the_same_ids_on_prompts_people_write():
    texts = [text for group in (TUNED_PROMPTS, HELD_OUT_PROMPTS) for prompts in group.values() for text in prompts]
    for text in [*texts, *texts]:
        assert WORDS.token_ids(text) == by_the_library(text)


def test_memory_is_bounded_and_forgetting_changes_nothing():
    words = Words(LIBRARY)
    words.token_ids(" ".join(f"w{number}" for number in range(CAPACITY - 1)))
    text = "one two three w7 " + "z" * (LONGEST + 1)
    assert words.token_ids(text) == by_the_library(text)
    assert 0 < len(words) <= CAPACITY
    assert words.token_ids(text) == by_the_library(text)


def test_another_kind_of_tokenizer_is_asked_for_whole_texts():
    words = Words(Tokenizer.from_str(tiny_embedder().tokenizer_json()))
    assert words.token_ids("python sum") == tiny_embedder().token_ids(["python sum"])[0]
    assert len(words) == 0


def test_a_cased_bert_tokenizer_keeps_case():
    vocabulary = {"[UNK]": 0, "Polish": 1, "polish": 2, "##ed": 3}
    cased = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    cased.normalizer = BertNormalizer(lowercase=False)
    cased.pre_tokenizer = BertPreTokenizer()
    assert Words(cased).token_ids("Polish polished!") == [1, 2, 3, 0]
