"""Hard tokens: what must be the same to the letter in two questions for one answer to serve both.

Words may be inflected, and capitals mean little in prose. In code, formulas and units a single sign is another
question: `a=b` and `a!=b`, f'(x) and f(x), `ls -a` and `ls -A`, Mb and MB. Hard tokens are

- every sign that is no punctuation of a sentence, with what stands on both sides of it, blanks aside,
- single letters, letters with digits in them, and units of which another case is another unit, as they are written,
- what is quoted, as it is written, and
- where the text is about code, every word with a capital behind its first letter, and every capital name in it.
"""

from __future__ import annotations

import re
from typing import Final

_PIECE: Final = re.compile(
    r"(?P<quoted>\"[^\"]{1,200}\"|“[^”]{1,200}”|`[^`]{1,200}`)|(?P<number>\d+(?:[.,:]\d+)*)|(?P<word>[^\W\d_]\w*|_\w*)|(?P<sign>[^\w\s])"
)
#: Endings of contractions and genitives: their apostrophe is spelling.
_SPELLING: Final = re.compile(r"['’](?:s|t|re|ve|ll|d|m|clock)\b|(?<=s)['’](?=\s|$)", re.IGNORECASE)
_CLOSES: Final = ".,;:?!"
#: Units that other capitals make another unit, in lower case.
_UNITS: Final = frozenset(
    {"mb", "gb", "kb", "tb", "pb", "mib", "gib", "kib", "tib", "mbit", "mbps", "gbps", "kbps", "mw", "mwh", "ma", "mg"}
    | {
        "ms",
        "mm",
        "ml",
        "mv",
        "mpa",
        "pa",
        "mhz",
        "ev",
        "mev",
        "cal",
        "kcal",
        "mj",
        "mol",
        "mn",
        "ps",
        "ph",
        "nm",
        "mmol",
    }
)
#: Words that say that a question is about code; how they are written themselves means nothing.
_OF_CODE: Final = frozenset(
    {
        "code",
        "function",
        "variable",
        "class",
        "method",
        "operator",
        "regex",
        "command",
        "flag",
        "option",
        "type",
        "types",
    }
    | {
        "python",
        "java",
        "javascript",
        "typescript",
        "sql",
        "bash",
        "shell",
        "linux",
        "unix",
        "git",
        "rust",
        "go",
        "golang",
    }
    | {
        "php",
        "ruby",
        "perl",
        "kotlin",
        "swift",
        "scala",
        "haskell",
        "html",
        "css",
        "json",
        "xml",
        "yaml",
        "docker",
        "vim",
    }
    | {"kubernetes", "chmod", "grep", "sed", "awk", "curl", "tar", "ls", "ssh", "pandas", "numpy", "react", "node"}
)
#: Signs that say so as well; those of money, percent and brackets do not.
_SIGNS_OF_CODE: Final = frozenset("=<>!&|^~*/\\_{}[]#@`+")
_PROSE_LETTERS: Final = frozenset({"a", "i", "I", "u"})


def hard_tokens(text: str) -> tuple[str, ...]:
    """The hard tokens of a question, in order.

    Args:
        text: One question of a few hundred characters at most: every piece is looked at.
    """
    plain = _SPELLING.sub("", text)
    pieces = list(_PIECE.finditer(plain))
    words = [piece["word"] for piece in pieces]
    signs = [_is_hard(plain, piece) for piece in pieces]
    coded = any(word is not None and word.lower() in _OF_CODE for word in words) or any(
        hard and piece.group() in _SIGNS_OF_CODE for hard, piece in zip(signs, pieces, strict=True)
    )
    shouted = not any(char.islower() for char in plain)
    found: list[str] = []
    for at, piece in enumerate(pieces):
        token = piece.group()
        if signs[at]:
            before = pieces[at - 1].group() if at else ""
            behind = pieces[at + 1].group() if at + 1 < len(pieces) else ""
            found.append(f"{_side(before)}{token}{_side(behind)}")
        elif piece["quoted"]:
            found.append(token[1:-1])
        elif words[at] is not None and not shouted and _counts(token, first=at == 0, coded=coded):
            found.append(token)
    return tuple(found)


def _is_hard(text: str, piece: re.Match[str]) -> bool:
    """Whether a sign is more than the punctuation of a sentence."""
    sign = piece["sign"]
    if sign is None or sign in '"“”…¿¡':
        return False
    start, end = piece.span()
    before, behind = text[start - 1 : start], text[end : end + 1]
    if sign in _CLOSES:
        if before and not before.isspace() and (not behind or behind.isspace() or behind in "\"”')?!.,"):
            # A factorial ends in what looks like the end of a sentence.
            return sign == "!" and (before.isdigit() or before == ")" or _letter_alone(text, start))
        return not (sign == "," and before.isspace())
    if sign in "-–—" and before.isspace() and behind.isspace():
        # A dash, unless something is reckoned.
        left, right = text[:start].rstrip()[-1:], text[end:].lstrip()[:1]
        return left.isdigit() or right.isdigit() or _letter_alone(text, start - 1)
    # Of "well-known", not of "x-y" or "-a".
    return not (
        sign in "-’'" and text[max(0, start - 2) : start].isalpha() and start >= 2 and text[end : end + 2].isalpha()
    )


def _letter_alone(text: str, end: int) -> bool:
    """Whether a single letter, a variable, ends there."""
    return text[end - 1 : end].isalpha() and not text[max(0, end - 2) : end - 1].isalnum()


def _side(token: str) -> str:
    """A neighbour of a sign: as written where it is short, as variables, options and numbers are."""
    return token if len(token) <= 2 or not token.isalpha() else token.lower() if token.istitle() else token


def _counts(word: str, *, first: bool, coded: bool) -> bool:
    """Whether it counts how a word is written."""
    lower = word.lower()
    if len(word) == 1:
        return word not in _PROSE_LETTERS and not (first and lower == "a")
    if lower in _UNITS or any(char.isdigit() or char == "_" for char in word):
        return True
    if not coded or first or lower in _OF_CODE:
        return False
    return word != lower
