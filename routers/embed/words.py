"""Token ids word by word: what the `tokenizers` library says, remembered per word.

A BERT tokenizer (clean, lower-case, split at white space and punctuation, WordPiece) looks at no more than one word at
a time, so a text's ids are the ids of what stands between its white space. Prompts are made of few different words:
remembering each one's ids tokenises a prompt several times faster than the library does, with the same ids.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from pointsman.routers.embed.kernel import KERNEL, Kernel

#: Token ids of a text; C's int is what `struct` packs.
TokenIds = npt.NDArray[np.intc]

#: Words remembered, at most; then all are forgotten, and the common ones are back within a few prompts.
CAPACITY = 32_768
#: Longer words are asked for each time they occur, so that memory stays bounded.
LONGEST = 64

#: Splits what is printable ASCII between white space as BERT's pre-tokenizer does.
_PLAIN = re.compile(r"[A-Za-z0-9]+|[!-~]")
#: Control characters, white space or not to Python, are nothing to BERT: deleted, and what they parted grows together.
#: So is half of a surrogate pair, which JSON may hold and the library cannot read.
_DELETED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\ud800-\udfff]+")

#: Bytes of the longest token that the kernel looks up.
_LONGEST_TOKEN = 255
_ONE_ID = struct.Struct("i")


class WordTokenizer:
    """Tokenise as `tokenizers` does.

    Args:
        tokenizer: The tokenizer; anything but a plain BERT tokenizer is asked for whole texts.
        kernel: Looks ASCII words up, so that only others are remembered; None leaves that to Python.
    """

    def __init__(self, tokenizer: Tokenizer, kernel: Kernel | None = KERNEL) -> None:
        self._tokenizer = tokenizer
        parts = json.loads(tokenizer.to_str())
        self._apart = _plain_bert(parts)
        # Added tokens are found in the text before it is split, and may hold brackets and spaces.
        self._added = tuple(token["content"] for token in parts["added_tokens"])
        # Most texts hold none, nor the sign that all of them begin with; "" stands in every text.
        signs = {added[:1] for added in self._added}
        self._mark = signs.pop() if len(signs) == 1 else ""
        self._ids = _Remembered(tokenizer, parts) if self._apart else {}
        self._compiled = _Compiled.of(kernel, parts) if self._apart and kernel is not None else None

    def __len__(self) -> int:
        """How many words are remembered."""
        return len(self._ids)

    def token_ids(self, text: str) -> TokenIds:
        """Token ids of a text, without special tokens around it, in no particular order, shape (tokens,); read-only."""
        if not self._apart or (self._mark in text and any(added in text for added in self._added)):
            return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.intc)
        if self._compiled is None:
            if not text.isprintable():
                text = _DELETED.sub("", text)
            # With accents and other scripts about, what stands between white space is cleaned and split by the library.
            packed = self._joined(_PLAIN.findall(text) if text.isascii() else text.split())
        else:
            try:
                packed, others = self._compiled.ids(text)
            except UnicodeEncodeError:
                packed, others = self._compiled.ids(_DELETED.sub("", text))
            if others:
                packed += self._joined(others)
        return np.frombuffer(packed, dtype=np.intc)

    def _joined(self, words: Iterable[str]) -> bytes:
        return b"".join(map(self._ids.__getitem__, words))


class _Compiled:
    """The kernel with the vocabulary of a plain BERT tokenizer."""

    def __init__(self, kernel: Kernel, index: bytes, unknown: int, most_chars: int, *, lowercase: bool) -> None:
        self._tokenise = kernel.tokenise
        self._how = (index, unknown, most_chars, lowercase)

    @classmethod
    def of(cls, kernel: Kernel, parts: Mapping[str, Any]) -> _Compiled | None:
        """From the tokenizer as the library writes it in JSON; None where the kernel was not made for such a one."""
        model = parts["model"]
        vocabulary: Mapping[str, int] = model["vocab"]
        if model["unk_token"] not in vocabulary or max(map(len, vocabulary)) > _LONGEST_TOKEN:
            return None
        tokens = [b""] * (max(vocabulary.values()) + 1)
        for token, at in vocabulary.items():
            if token.isascii():
                tokens[at] = token.encode()
        return cls(
            kernel,
            kernel.index(tokens, model["continuing_subword_prefix"].encode()),
            vocabulary[model["unk_token"]],
            int(model["max_input_chars_per_word"]),
            lowercase=bool(parts["normalizer"]["lowercase"]),
        )

    def ids(self, text: str) -> tuple[bytes, list[str]]:
        """Packed ids of the ASCII words, and the other pieces."""
        return self._tokenise(text, *self._how)


class _Remembered(dict[str, bytes]):
    """A word, or a chunk between white space -> its ids, packed; asks the library for what it has not seen."""

    def __init__(self, tokenizer: Tokenizer, parts: Mapping[str, Any]) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self._model = tokenizer.model
        self._lowercase = bool(parts["normalizer"]["lowercase"])
        #: A longer word is unknown to the model even where its vocabulary has it.
        self._longest = min(LONGEST, int(parts["model"]["max_input_chars_per_word"]))

    def __missing__(self, chunk: str) -> bytes:
        if not chunk.isascii():
            ids = _packed(self._tokenizer.encode(chunk, add_special_tokens=False).ids)
        elif chunk.isalnum() or len(chunk) == 1:
            ids = self._word(chunk.lower() if self._lowercase else chunk)
        else:
            ids = b"".join(map(self.__getitem__, _PLAIN.findall(chunk)))
        if len(chunk) <= LONGEST:
            if len(self) >= CAPACITY:
                self.clear()
            self[chunk] = ids
        return ids

    def _word(self, word: str) -> bytes:
        # Nothing to clean and nothing to split: the model alone is twice as fast as the whole way. It takes the longest
        # piece it knows first, so a word that the vocabulary has whole is that one token.
        if len(word) <= self._longest:
            whole = self._model.token_to_id(word)
            if whole is not None:
                return _ONE_ID.pack(whole)
        return _packed([token.id for token in self._model.tokenize(word)])


def _packed(ids: Sequence[int]) -> bytes:
    return struct.pack(f"{len(ids)}i", *ids)


def _plain_bert(parts: Mapping[str, Any]) -> bool:
    """Whether a tokenizer, as the library writes it in JSON, is a plain BERT tokenizer."""
    normalizer = parts["normalizer"] or {}
    return bool(
        normalizer.get("type") == "BertNormalizer"
        and normalizer["clean_text"]
        and (parts["pre_tokenizer"] or {}).get("type") == "BertPreTokenizer"
        and parts["model"]["type"] == "WordPiece"
        and all(token["special"] and not token["normalized"] for token in parts["added_tokens"])
    )
