"""The letter that an answer to a multiple-choice question settles on.

Looked for in this order; of several of one kind the last counts, because models correct themselves:

1. what is boxed, or marked `<answer>` or `####`
2. what is called the answer: "the answer is B", "Answer: (B)", "so B", "I choose B", "option B is correct"
3. a last line, then a first line, that is only a letter; a letter that opens the answer ("B. Jupiter")
4. a letter standing alone, unless the sentence calls it wrong

"A" followed by a word is the article and "I" the pronoun. Two letters joined ("A or B") are no choice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pointsman.evals.collect.plain_answer import last_boxed, plain_answer

#: After "A" and "I" only these words keep the letter from being the article or the pronoun.
_AFTER_LETTER: Final = (
    r"because|since|as|and|for|by|which|based|due|given|from|with|is|are|or|but|not|if|when|while|where|so|here|rather"
)
#: What may stand after a letter that is meant as one.
_END: Final = r"(?![A-Za-z0-9_])(?!['’-]\w)(?!\.\w\.)"
_CAPITAL: Final = rf"(?:(?![AI]\s+(?!(?:{_AFTER_LETTER})\b)[a-z])[A-Z]){_END}"
_SMALL: Final = r"[a-z](?=\s*(?:[.):,;!\]}]|$))(?!\.\w)"
_BRACKETED: Final = r"[(\[{]\s*[A-Za-z]\s*[)\]}]"
_LETTER: Final = rf"(?P<letter>{_BRACKETED}|{_CAPITAL}(?:\s*[)\]])?|(?-i:{_SMALL}))"
_NOUN: Final = (
    r"(?:(?:the|an?)\s+)?(?:(?:correct|right|best|final)\s+)?(?:options?|choices?|letters?|answers?|alternative)"
)
_IS: Final = (
    r"(?:\s*(?:is|are|was|would\s+be|should\s+be|will\s+be|must\s+be|ist|lautet|est|es|è|é|是|为|為|は)(?![a-z])"
    r"|\s*[:=→⇒>-]+|\s*\n)+"
)
_WORD: Final = (
    r"(?:answer|choice|option|solution|selection|response|antwort|lösung|réponse|respuesta|risposta|resposta|ответ"
    r"|答案|答え|正解)"
)
_OPEN: Final = r"[\s\"'“‘:]*"

_STATED: Final = tuple(
    re.compile(one, re.IGNORECASE | re.MULTILINE)
    for one in (
        (
            rf"\b{_WORD}(?:\s*\((?:letter|option|choice)\))?\s*[\"'”’]?(?:\s+(?:here|choice|option|letter|to\s+(?:this|the)\s+"
            rf"(?:question|problem)|for\s+(?:this|the)\s+(?:question|problem)))?{_IS}{_OPEN}(?:(?:indeed|clearly|likely|"
            rf"probably|definitely|most\s+likely|therefore|thus)\s+)?(?:{_NOUN}\s*[:#]?\s*)?(?-i:{_LETTER})"
        ),
        rf"(?:答案|答え|正解|选择|選擇|选|選|应选|故选)\s*(?:是|为|為|は|[:=])?\s*(?-i:{_LETTER})",
        rf"^\s*(?:final\s+)?answer\s+(?-i:{_LETTER})\s*$",
        (
            r"\b(?:choose|chose|select|selected|pick|picked|go(?:ing)?\s+with|opt\s+for|settle\s+on|vote\s+for|say|think"
            rf"(?:\s+it(?:'s|\s+is))?|guess(?:\s+is)?)\s+(?:{_NOUN}\s+)?(?-i:{_LETTER})(?!\s+(?:is|are)\b)"
        ),
        (
            rf"\b(?:so|therefore|thus|hence|consequently|ergo|also|daher|donc)\b[,:]?\s+(?:it(?:'s|\s+is)\s+|it\s+must\s+be\s+"
            rf"|we\s+(?:get|have|choose)\s+)?(?:{_NOUN}\s+)?(?-i:{_LETTER})(?!\s+(?:is|are|cannot|can't|and|or)\b)"
        ),
        (
            rf"\b(?:it(?:'s|\s+is|\s+must\s+be)|must\s+be|has\s+to\s+be|leaves(?:\s+us\s+with)?|that's)\s+(?:{_NOUN}\s+)?"
            rf"(?-i:{_LETTER})(?!\s+(?:is|are|that|who|which)\b)"
        ),
        (
            rf"(?:\b{_NOUN}\s+)?(?<![A-Za-z'’])(?-i:{_LETTER})\s*(?:\([^)\n]*\)\s*)?(?:is|seems|appears|must\s+be|would\s+be)"
            r"\s+(?:to\s+be\s+)?(?:indeed\s+|clearly\s+|therefore\s+|thus\s+|also\s+)?(?:the\s+)?(?:only\s+|single\s+|most\s+)?"
            r"(?:correct|right|true|accurate|best|answer|appropriate|suitable|valid)\b"
        ),
    )
)
_MARKED: Final = (
    re.compile(rf"<answer>\s*(?P<letter>[(\[]?[A-Za-z][)\]]?){_END}", re.IGNORECASE),
    re.compile(rf"^\s*#{{4}}\s*(?P<letter>[(\[]?[A-Za-z][)\]]?){_END}", re.MULTILINE),
)
_LONE_LINE: Final = re.compile(
    r"^\s*(?:[-•>]\s*)?(?:option|choice|answer)?\s*[\"'“]?[(\[]?(?P<letter>[A-Za-z])[)\]]?[\"'”]?\s*[.!:]?\s*$",
    re.IGNORECASE,
)
_OPENING: Final = re.compile(
    r"^\s*[\"'“]?(?:(?:option|choice)\s+)?(?:[(\[](?P<one>[A-Za-z])[)\]]|(?P<two>[A-Z])(?=[.):,\]]|\s*[-–—:]\s|\s*\n)"
    r"|(?P<three>[a-z])(?=[.):]\s))",
    re.IGNORECASE,
)
_ALONE: Final = re.compile(rf"(?<![A-Za-z0-9'’_])(?P<letter>{_BRACKETED}|{_CAPITAL})(?![A-Za-z])")
_REFUTED: Final = re.compile(
    r"^[)\]]?\s*(?:,[^,.]*,\s*)?(?:is|are|was|seems|looks)\s*(?:n't|not|wrong|incorrect|false|in(?:valid|accurate))"
    r"|^[)\]]?\s*(?:can(?:'t|not| not)|does(?:n't| not)|fails)\b"
)
_NEGATED: Final = re.compile(
    r"\b(?:not|isn't|neither|nor|than|unlike|reject|exclude|eliminate|rule out)\s+(?:option\s+)?$", re.I
)
_JOINED: Final = re.compile(
    r"^[)\]]?\s*(?:,|/|&|\bor\b|\band\b|und|oder)\s*(?:\bor\b|\band\b)?\s*(?:option\s+)?[(\[]?([A-Z])[)\]]?"
    r"\s*(?:[.!?;]|$|\n)"
)
_BOX_LETTER: Final = re.compile(r"^\W*(?:option|choice|answer)?\W*([A-Za-z])(?![A-Za-z0-9'’])", re.IGNORECASE)


def read_choice(answer: str) -> str | None:
    """The letter that the answer settles on, as a capital; None where it settles on none."""
    text = plain_answer(answer)
    boxed = last_boxed(text)
    if boxed is not None and (found := _BOX_LETTER.match(boxed)) is not None:
        return None if _joined(boxed, found.end(1)) else found.group(1).upper()
    for marks in (_MARKED, _STATED):
        said = sorted((one for mark in marks for one in mark.finditer(text)), key=lambda one: one.start("letter"))
        said = [
            one for one in said if not _NEGATED.search(text[max(0, one.start("letter") - 24) : one.start("letter")])
        ]
        if said:
            last = said[-1]
            return None if _joined(text, last.end("letter")) else _bare(last["letter"])
    return _by_place(text)


def _by_place(text: str) -> str | None:
    """The letter by where it stands, where nothing is called the answer."""
    lines = [line for line in text.splitlines() if line.strip()]
    for line in (*lines[-1:], *lines[:1]):
        if found := _LONE_LINE.match(line):
            return found["letter"].upper()
    if (opening := _OPENING.match(text)) and not _refuted(text, opening.end()) and not _joined(text, opening.end()):
        return (opening["one"] or opening["two"] or opening["three"]).upper()
    alone = [one for one in _alone(text) if not _refuted(text, one.end())]
    if not alone or (len(alone) > 1 and _joined(text, alone[-2].end())):
        return None
    return _bare(alone[-1]["letter"])


def _alone(text: str) -> Iterator[re.Match[str]]:
    for one in _ALONE.finditer(text):
        before = text[max(0, one.start() - 24) : one.start()]
        if not _NEGATED.search(before):
            yield one


def _refuted(text: str, at: int) -> bool:
    return _REFUTED.match(text[at : at + 60]) is not None


def _joined(text: str, at: int) -> bool:
    """Whether another letter is named along with the one that ends here."""
    return _JOINED.match(text[at : at + 40]) is not None


def _bare(letter: str) -> str:
    return next(one for one in letter if one.isalpha()).upper()
