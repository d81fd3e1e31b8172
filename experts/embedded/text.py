"""Tokens to text and back: byte-level tokenizer, incremental decoding, stop strings that never leak."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import TYPE_CHECKING

from pointsman.experts.embedded.weights import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Sequence


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable character of every byte, inverted: printable bytes are themselves, the rest follow 255."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + offset): byte for offset, byte in enumerate(rest)}


class TextCodec:
    """A checkpoint's tokenizer, as bytes per token.

    Args:
        folder: Holds `tokenizer.json` of a byte-level BPE.

    Raises:
        CheckpointError: There is none, or it is of another kind.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise CheckpointError(f"{folder} has no tokenizer.json")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:
            # The library raises Exception itself.
            raise CheckpointError(f"{path} cannot be read: {str(error)[:200]}") from error
        alphabet = _byte_alphabet()
        added = self._tokenizer.get_added_tokens_decoder()
        self._bytes: list[bytes] = []
        for token_id in range(self._tokenizer.get_vocab_size(with_added_tokens=True)):
            token = self._tokenizer.id_to_token(token_id)
            if token_id in added:
                self._bytes.append(b"" if added[token_id].special else added[token_id].content.encode())
                continue
            try:
                self._bytes.append(bytes(alphabet[character] for character in token or ""))
            except KeyError as error:
                raise CheckpointError(f"{path} is not a byte-level tokenizer") from error

    def encode(self, text: str) -> list[int]:
        """Token ids; special tokens written out in the text become themselves."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def bytes_of(self, token_id: int) -> bytes:
        """The bytes of a token, none for a special one (and for ids that pad the vocabulary)."""
        return self._bytes[token_id] if token_id < len(self._bytes) else b""


class TextStream:
    """Turns a growing sequence of bytes into text pieces that may be sent.

    Bytes of an unfinished character wait for the rest of it. Text that could be the beginning of a stop string waits
    until it is clear whether it is one; the stop string itself is never sent.

    Args:
        stops: Stop strings, none of them empty.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self.stopped = False

    def push(self, data: bytes) -> str:
        """The text that becomes certain with `data`. Once `stopped` is set, nothing more comes."""
        return self._advance(self._decoder.decode(data))

    def finish(self) -> str:
        """What was held back, at the end of generation."""
        if self.stopped:
            return ""
        text = self._advance(self._decoder.decode(b"", final=True))
        rest, self._held = self._held, ""  # empty when `text` ended at a stop string
        return text + rest

    def _advance(self, fresh: str) -> str:
        if self.stopped or not self._stops:
            return "" if self.stopped else fresh
        text = self._held + fresh
        found = [place for place in (text.find(stop) for stop in self._stops) if place >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = max(self._overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        """Length of the longest end of `text` that begins `stop`."""
        return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)
