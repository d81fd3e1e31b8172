"""A model's answer without what only dresses it: thoughts, Markdown, TeX."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_THOUGHTS: Final = re.compile(r"\A.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
#: `\text{B}`, `\mathbf{(B)}`: what stands in the braces is meant.
_TEX_FONT: Final = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mathit|textit|mathsf|texttt|mbox|rm|bf)\s*\{([^{}]*)\}")
_TEX_SPACE: Final = re.compile(r"\\[,;:! ]|\\(?:left|right|quad|displaystyle)\b|\\[()\[\]]")
_MARKUP: Final = re.compile(r"(?<!\s)\*+|\*+(?!\s)|`+|\$+|(?<!\w)_+|_+(?!\w)|</?(?:b|i|em|strong|u|code)>")
_BLANKS: Final = re.compile(r"[ \t]{2,}|[ \t]+(?=\n)")
_EMPTY_LINES: Final = re.compile(r"\n\s*\n")
_BOXED: Final = re.compile(r"\\(?:boxed|fbox)\s*\{")


#: Of a longer answer the head and the tail are read: an answer stands in one of them, and patterns stay cheap.
_HEAD_CHARACTERS: Final = 2_000
_TAIL_CHARACTERS: Final = 6_000


def plain_answer(answer: str) -> str:
    """The text as a reader sees it: compatibility forms folded, without thoughts, bold, italics and TeX fonts."""
    if len(answer) > _HEAD_CHARACTERS + _TAIL_CHARACTERS:
        answer = f"{answer[:_HEAD_CHARACTERS]}\n{answer[-_TAIL_CHARACTERS:]}"
    answer = _BLANKS.sub(" ", _EMPTY_LINES.sub("\n\n", answer))
    text = unicodedata.normalize("NFKC", _THOUGHTS.sub("", answer))
    for _ in range(4):  # fonts within fonts
        text = _TEX_FONT.sub(r"\1", text)
    return _MARKUP.sub("", _TEX_SPACE.sub(" ", text))


def last_boxed(text: str) -> str | None:
    r"""What stands in the last `\boxed{...}`, braces within braces counted; None without one."""
    found = None
    for start in list(_BOXED.finditer(text))[-20:]:
        depth, at = 1, start.end()
        while at < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        if not depth:
            found = text[start.end() : at - 1]
    return found
