"""Token ids word by word: what the `tokenizers` library says, remembered per word.

A BERT tokenizer (clean, lower-case, split at white space and punctuation, WordPiece) looks at no more than one word at
a time, so a text's ids are the ids of its words. Prompts are made of few different words: remembering each word's ids
tokenises a prompt several times faster than the library does, with the same ids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from tokenizers import Tokenizer

#: Words remembered, at most; then all are forgotten, and the common ones are back within a few prompts.
CAPACITY = 32_768
#: Longer words are asked for each time they occur, so that memory stays bounded.
LONGEST = 64

#: Splits what is printable ASCII between white space as BERT's pre-tokenizer does.
_PLAIN = re.compile(r"[A-Za-z0-9]+|[!-~]")
#: Where anything else stands in a chunk between white space, the whole chunk is one piece for the library.
_MIXED = re.compile(r"[^\t\n\r ]*[^!-~\t\n\r ][^\t\n\r ]*|[A-Za-z0-9]+|[!-~]")
#: ASCII that is neither printable nor white space to BERT: it is deleted, and what it parted grows together.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Words:
    """Tokenise as `tokenizers` does.

    Args:
        tokenizer: The tokenizer; anything but a plain BERT tokenizer is asked for whole texts.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        normalizer = _bert_normalizer(tokenizer)
        self._apart = normalizer is not None
        # Added tokens are found in the text before it is split, and may hold brackets and spaces.
        self._added = tuple(token.content for token in tokenizer.get_added_tokens_decoder().values())
        self._ids = _Remembered(tokenizer, lowercase=bool(normalizer and normalizer["lowercase"]))

    def __len__(self) -> int:
        """How many words are remembered."""
        return len(self._ids)

    def token_ids(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens around it."""
        if not self._apart or any(added in text for added in self._added):
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
            return ids
        plain = text.isascii() and (text.isprintable() or _CONTROL.search(text) is None)
        words = (_PLAIN if plain else _MIXED).findall(text)
        return list(chain.from_iterable(map(self._ids.__getitem__, words)))


class _Remembered(dict[str, Sequence[int]]):
    """Word -> ids; asks the library for a word it has not seen."""

    def __init__(self, tokenizer: Tokenizer, lowercase: bool) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self._model = tokenizer.model
        self._lowercase = lowercase

    def __missing__(self, word: str) -> Sequence[int]:
        if word.isascii() and word.isprintable():
            # Nothing to clean and nothing to split: the model alone is twice as fast as the whole way.
            tokens = self._model.tokenize(word.lower() if self._lowercase else word)
            ids = tuple(token.id for token in tokens)
        else:
            ids = tuple(self._tokenizer.encode(word, add_special_tokens=False).ids)
        if len(word) <= LONGEST:
            if len(self) >= CAPACITY:
                self.clear()
            self[word] = ids
        return ids


def _bert_normalizer(tokenizer: Tokenizer) -> Mapping[str, Any] | None:
    """The settings of a plain BERT tokenizer's normalizer; None for any other tokenizer."""
    parts = json.loads(tokenizer.to_str())
    normalizer: Mapping[str, Any] = parts["normalizer"] or {}
    plain = (
        normalizer.get("type") == "BertNormalizer"
        and normalizer["clean_text"]
        and (parts["pre_tokenizer"] or {}).get("type") == "BertPreTokenizer"
        and parts["model"]["type"] == "WordPiece"
        and all(token["special"] and not token["normalized"] for token in parts["added_tokens"])
    )
    return normalizer if plain else None
