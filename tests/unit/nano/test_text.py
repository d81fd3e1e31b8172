"""Text pieces: nothing lost, nothing doubled, no broken character, no part of a stop string."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pointsman.experts.embedded.text import TextCodec, TextStream
from pointsman.experts.nano import MODELS_DIR


def streamed(data: bytes, stops: list[str], sizes: list[int]) -> str:
    stream, out, place = TextStream(stops), [], 0
    for size in [*sizes, len(data)]:
        out.append(stream.push(data[place : place + size]))
        place += size
    out.append(stream.finish())
    return "".join(out)


@given(st.binary(max_size=60), st.lists(st.integers(1, 3), max_size=40))
def test_pieces_add_up_to_the_decoded_whole(data: bytes, sizes: list[int]) -> None:
    assert streamed(data, [], sizes) == data.decode("utf-8", "replace")


@given(
    st.text("aab\né", max_size=40),
    st.lists(st.text("ab\n", min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.integers(1, 3), max_size=40),
)
def test_the_text_ends_before_the_first_stop_string(text: str, stops: list[str], sizes: list[int]) -> None:
    places = [place for place in map(text.find, stops) if place >= 0]
    out = streamed(text.encode(), stops, sizes)
    if not places:
        assert out == text
        return
    # Tokens arrive in pieces: of overlapping stop strings the one that is complete first ends the text.
    assert text.startswith(out)
    assert any(text[len(out) :].startswith(stop) for stop in stops)
    assert not any(stop in out for stop in stops)


def test_no_piece_ever_holds_the_beginning_of_a_stop_string() -> None:
    stream = TextStream(["STOP"])
    assert [stream.push(bytes([byte])) for byte in b"xSTxSTOPyy"] == ["x", "", "", "STx", "", "", "", "", "", ""]
    assert stream.stopped
    assert stream.finish() == ""


def test_an_unfinished_character_waits_for_its_rest() -> None:
    stream = TextStream([])
    assert stream.push("é".encode()[:1]) == ""
    assert stream.push("é".encode()[1:]) == "é"


@given(st.text(max_size=80))
def test_the_tokenizer_covers_every_text(text: str) -> None:
    tokens = CODEC.encode(text)
    # Special tokens written out in a text become themselves, and have no bytes.
    if "<|" not in text:
        assert b"".join(map(CODEC.bytes_of, tokens)) == text.encode()


def test_digits_are_tokens_of_their_own() -> None:
    assert [CODEC.bytes_of(token) for token in CODEC.encode("1024")] == [b"1", b"0", b"2", b"4"]


def test_special_tokens_have_no_text() -> None:
    ids = CODEC.encode("<|endoftext|><|im_start|><|im_end|>")
    assert ids == [0, 1, 2]
    assert b"".join(map(CODEC.bytes_of, ids)) == b""


CODEC = TextCodec(MODELS_DIR / "nano-code")
