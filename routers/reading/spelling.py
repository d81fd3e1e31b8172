"""Typing errors: words that no vocabulary has, a slip of one key away from a common one.

A classifier of words reads "whta is 17 precent" as fragments, and fragments look like code. Only a prompt that stage 1
is not sure of, short, and with several such slips is read again with them mended; what an expert gets stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

#: Longer prompts have enough words that are spelled.
_MOST_CHARS: Final = 400
#: Slips at least: one alone may be a name.
_FEWEST_SLIPS: Final = 2
#: Share of a prompt's words that they are, at least.
_LEAST_SHARE: Final = 0.12
#: Words without a place in the vocabulary that are looked into, at most.
_MOST_UNKNOWN: Final = 8
#: Common words of the vocabulary, which is ordered by how common they are.
_COMMON: Final = 9_000
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_WORD: Final = re.compile(r"(?<![\w'./\\@#$-])[a-z]{3,20}(?![\w'/\\@(=-]|\.\w)")


class SpellingCorrector:
    """Mends slips of the keyboard.

    Args:
        vocabulary: Word -> its place, common words first; pieces of words are left out.
    """

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        words = sorted((word for word in vocabulary if word.isascii() and word.isalpha()), key=vocabulary.__getitem__)
        self._known = frozenset(words)
        self._common = {word: place for place, word in enumerate(words[:_COMMON]) if len(word) > 2}

    def mended(self, text: str) -> str | None:
        """The text with its slips mended, None where it has too few to be read otherwise."""
        if len(text) > _MOST_CHARS or not text.isascii() or "\n" in text:
            return None
        # A capital begins a name, but for the first.
        plain = text[:1].lower() + text[1:]
        unknown = [found for found in _WORD.finditer(plain) if found.group() not in self._known][:_MOST_UNKNOWN]
        if len(unknown) < _FEWEST_SLIPS:
            return None
        meant = [(found.span(), self._meant(found.group())) for found in unknown]
        slips = [(span, word) for span, word in meant if word is not None]
        if len({word for _, word in slips}) < max(_FEWEST_SLIPS, _LEAST_SHARE * plain.count(" ")):
            return None
        pieces, at = [], 0
        for (start, end), word in slips:
            pieces += [plain[at:start], word]
            at = end
        return "".join([*pieces, plain[at:]])

    def _meant(self, word: str) -> str | None:
        """The common word that is a slip away: two letters changed over, else one too many, too few or another."""
        for slips in (_changed_over, _others):
            if slips is _others and len(word) < 4:
                return None
            there = self._common.keys() & slips(word)
            if there:
                return min(there, key=self._common.__getitem__)
        return None


def _changed_over(word: str) -> set[str]:
    return {word[:at] + word[at + 1] + word[at] + word[at + 2 :] for at in range(len(word) - 1)}


def _others(word: str) -> set[str]:
    return set(_slips(word))


def _slips(word: str) -> Iterator[str]:
    for at in range(len(word) + 1):
        before, behind = word[:at], word[at:]
        yield before + behind[1:]
        for letter in _LETTERS:
            yield before + letter + behind
            yield before + letter + behind[1:]
