"""The number that an answer settles on.

Looked for in this order: what is boxed, or marked `<answer>` or `####`; what is called the answer; the last number.
Read as people write numbers: `1,234.50`, `1.234,56`, `3.5e3`, `3.5 x 10^3`, `.5`, `3/4`, U+2212 for minus.
"""

from __future__ import annotations

import math
import re
from typing import Final

from pointsman.evals.collect.plain_answer import last_boxed, plain_answer

_MINUS: Final = str.maketrans(
    {"−": "-", "‒": "-", "–": "-", "—": "-", "﹣": "-", "－": "-", "×": "x", "·": "x", "⋅": "x"}
)
#: Thousands may be set apart by a space that does not break; NFKC would make it any space.
_THIN: Final = re.compile("(?<=\\d)[\u00a0\u202f\u2009\u2007'’](?=\\d{3}(?!\\d))|\\{,\\}|\\\\,(?=\\d{3}(?!\\d))")
_FRACTION: Final = re.compile(r"\\[dt]?frac\s*\{\s*([^{}]+?)\s*\}\s*\{\s*([^{}]+?)\s*\}|\\[dt]?frac\s*(\d)\s*(\d)")
_VULGAR: Final = re.compile(r"(?<=\d)⁄(?=\d)")
_DIGITS: Final = (
    r"(?:\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+,\d{1,2}(?![\d,])|\d+(?:\.\d+)?|\.\d+)"
)
_NUMBER: Final = re.compile(
    rf"(?<![A-Za-z\d_.])(?P<sign>(?:(?<![\w)\]}}%])[-+]\s?)?)(?:[$€£¥]\s*)?(?P<neg>-?)(?P<digits>{_DIGITS})"
    rf"(?:[eE](?P<exponent>[-+]?\d+)(?![\w.]\w)|\s*(?:\\times|x|\*)\s*10\s*\^\s*[{{(]?\s*(?P<power>[-+]?\d+)\s*[}})]?"
    rf"|\s*/\s*(?P<under>-?\d+(?:\.\d+)?)(?![\d/]))?"
)
_CHAINED: Final = re.compile(r"\d\s*/\s*\d+\s*/\s*\d")
_MARKED: Final = re.compile(
    r"<answer>(?P<said>.*?)(?:</answer>|$)|^\s*#{4}(?P<line>.*)$", re.IGNORECASE | re.MULTILINE | re.DOTALL
)
_STATED: Final = re.compile(
    r"\b(?:answer|result|total|solution|antwort|ergebnis|lösung|réponse|respuesta|risposta|resposta|ответ|答案|答え)"
    r"(?:\s+(?:here|to\s+\w+\s+\w+))?\s*[\"”]?\s*(?:(?:is|are|was|equals|ist|lautet|est|es|è|é|comes\s+(?:out\s+)?to)\b"
    r"|[:=是为は]|\n)+\s*(?=(?P<said>[^\n]{0,300}))",
    re.IGNORECASE,
)
#: A sentence ends at a full stop that no digit follows.
_SENTENCE: Final = re.compile(r"[.!?;](?!\d)(?=\s|$)")
_ABOUT: Final = re.compile(
    r"^\W*(?:(?:about|approximately|roughly|around|exactly|simply|just|ca\.?|usd|eur|[a-z]\s*=)\s*)*", re.I
)


def read_number(answer: str) -> str | None:
    """The number that the answer settles on, without thousands separators and needless zeros.

    Returns:
        Whole numbers with all their digits, others to 12 significant ones; None where there is none, or none that a
        64-bit float can hold.
    """
    text = plain_answer(_FRACTION.sub(_over, _THIN.sub("", answer)).translate(_MINUS))
    text = _VULGAR.sub("/", text).translate(_MINUS)
    boxed = last_boxed(text)
    if boxed is not None and (found := _last(boxed)) is not None:
        return found
    marked = list(_MARKED.finditer(text))
    if marked and (found := _last(marked[-1]["said"] or marked[-1]["line"] or "")) is not None:
        return found
    for stated in reversed(list(_STATED.finditer(text))):
        if (found := _stated(stated["said"])) is not None:
            return found
    return _last(text)


def _stated(said: str) -> str | None:
    """The number right after "the answer is", else the last one of that sentence; of an equation its right."""
    sentence = _SENTENCE.split(said, maxsplit=1)[0]
    if "=" in sentence:
        return _last(sentence.rpartition("=")[2]) or _last(sentence)
    rest = sentence[len(_opening(sentence)) :]
    first = _NUMBER.match(rest)
    return _written(first) if first else _last(sentence)


def _opening(sentence: str) -> str:
    """What may stand before the number: "about", quotes; never its sign, point or currency."""
    found = _ABOUT.match(sentence)
    return "" if found is None else found.group().rstrip("-+.$€£¥")


def _over(found: re.Match[str]) -> str:
    top, under = (found[1], found[2]) if found[1] is not None else (found[3], found[4])
    return f"{top}/{under}"


def _last(text: str) -> str | None:
    found = list(_NUMBER.finditer(text))
    if not found:
        return None
    last = found[-1]
    # A date is no fraction.
    return _plain(last["digits"]) if _CHAINED.search(text[max(0, last.start() - 6) : last.end()]) else _written(last)


def _written(found: re.Match[str]) -> str | None:
    minus = "-" if "-" in found["sign"] or found["neg"] else ""
    exponent = found["exponent"] or found["power"]
    if exponent is None and found["under"] is None:
        return _plain(minus + found["digits"])
    try:
        value = float(_standard(minus + found["digits"]))
        value = value / float(found["under"]) if exponent is None else value * 10.0 ** int(exponent)
    except (OverflowError, ZeroDivisionError, ValueError):
        return None
    return _shown(value)


def _plain(digits: str) -> str | None:
    standard = _standard(digits)
    if "." in standard and not standard.rpartition(".")[2].strip("0"):
        standard = standard.rpartition(".")[0]
    if "." not in standard:
        # All digits of a whole number count; a float would round them.
        whole = standard.lstrip("-").lstrip("0") or "0"
        return None if len(whole) > 308 else ("-" if standard[0] == "-" and whole != "0" else "") + whole
    return _shown(float(standard))


def _standard(digits: str) -> str:
    """Thousands separators away, a decimal comma as a point."""
    if re.fullmatch(r"-?\d{1,3}(?:\.\d{3})+,\d+", digits):
        return digits.replace(".", "").replace(",", ".")
    if re.fullmatch(r"-?\d+,\d{1,2}", digits):
        return digits.replace(",", ".")
    return digits.replace(",", "")


def _shown(value: float) -> str | None:
    if not math.isfinite(value):
        return None
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.12g}"
