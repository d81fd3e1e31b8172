"""When two prompts that lie close together may still be answered alike: guards of the semantic cache.

Mean-pooled embeddings put "convert 5 usd to eur" next to "convert 7 usd to eur" and on top of "convert 5 eur to usd".
So closeness proposes and guards dispose: two prompts are the same question only when they agree in

- numbers, written in digits or words,
- polarity: how often they negate, and what,
- hard tokens: signs, single letters, units and code, as they are written (hard_tokens.py),
- names: quoted text, capitalised words that do not begin a sentence, and words with signs or digits in them,
- the question word, and
- the remaining words that carry meaning, in their order, whatever their inflection; I and you, past and future count
  among them, and there must be two at least.

What is left to differ is politeness, articles and auxiliaries, spelling of contractions, case and punctuation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pointsman.routers.null_experts.hard_tokens import hard_tokens

_MOST_CHARS: Final = 500
_CONTRACTIONS: Final = tuple(
    (re.compile(pattern), full)
    for pattern, full in (
        (r"\bcan't\b|\bcannot\b", "can not"),
        (r"\bwon't\b", "will not"),
        (r"\bshan't\b", "shall not"),
        (r"(\w)n't\b", r"\1 not"),
        (r"\b(i)'m\b", r"\1 am"),
        (r"'re\b", " are"),
        (r"'ve\b", " have"),
        (r"'ll\b", " will"),
        (r"'d\b", " would"),
        (r"\b(what|who|where|when|how|why|it|that|there|he|she)'?s\b(?<!\bits)", r"\1 is"),
        (r"\blet's\b", "let us"),
        (r"'s\b", ""),
    )
)
#: Ways to ask that say nothing about what is asked; taken off both ends as often as they stand there.
_OPENING: Final = re.compile(
    r"(?:(?:hi|hey|hello|ok|okay|so|well|now|please|kindly)\b[ ,]*"
    r"|(?:can|could|would|will|may) you (?:please |kindly )?"
    r"(?:be (?:so )?kind (?:enough )?(?:to|and) )?(?=\w)"
    r"|(?:please )?(?:tell|show|explain to) me (?:please )?(?=(?:what|who|where|when|how|why|which|if|whether|about)\b)"
    r"|(?:i (?:would like|want|need|was wondering|wonder)(?: you)?(?: to)?) (?:know )?"
    r"(?=(?:what|who|where|when|how|why|which|if|whether)\b)"
    r"|do you (?:happen to )?know (?=(?:what|who|where|when|how|why|which|if|whether)\b))"
)
_CLOSING: Final = re.compile(r"(?:[ ,]*(?:please|thanks|thank you))+$")
_WORD: Final = re.compile(r"\d+(?:[.,:/]\d+)*|[^\W\d_][\w'+#.-]*[\w+#]|[^\W_]|[^\w\s,.?!;:'\"’“”`]")
_THOUSANDS: Final = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_QUOTED: Final = re.compile(r"\"([^\"]+)\"|“([^”]+)”|`([^`]+)`")
_NAME: Final = re.compile(r"(?<![.!?:]\s)(?<!^)\b[A-Z][\w'-]*")
_NEGATORS: Final = frozenset(
    {"not", "no", "never", "without", "none", "nobody", "nothing", "neither", "nor", "nowhere", "except", "unless"}
)
_ASKING: Final = frozenset({"what", "who", "whom", "whose", "where", "when", "how", "why", "which"})
#: Words that carry no meaning of their own here. Prepositions of direction, place and order are not among them.
_EMPTY: Final = frozenset(
    {"a", "an", "the", "this", "that", "these", "those", "it", "its", "there", "some", "any", "of", "to", "and"}
    | {"is", "are", "am", "be", "been", "being", "do", "does", "done", "have", "has", "would", "can", "could", "might"}
    | {"just", "also", "really", "very", "exactly", "actually", "currently", "so", "then", "if", "whether"}
    | {"please", "kindly", "get", "got", "s", "t"}
)
#: What only its meaning counts of: persons, and auxiliaries that say when or whether at all.
_SAME: Final = {
    **dict.fromkeys(("was", "were", "did", "had"), "(past)"),
    **dict.fromkeys(("should", "must", "ought"), "(ought)"),
    **dict.fromkeys(("will", "shall"), "(future)"),
    **dict.fromkeys(("i", "me", "my", "mine", "myself"), "(first)"),
    **dict.fromkeys(("we", "us", "our", "ours", "ourselves"), "(firsts)"),
    **dict.fromkeys(("you", "your", "yours", "yourself"), "(second)"),
}
_UNITS: Final = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBERS: Final = (
    {word: str(value) for value, word in enumerate(_UNITS)}
    | {word: str(20 + 10 * index) for index, word in enumerate(_TENS)}
    | {"hundred": "100", "thousand": "1000", "million": "1000000"}
)

#: Share of hits whose answer would have been another, at most (upper end of the 95 % interval measured on clinc150;
#: docs/results/null_experts.md). The quality of a kept answer is discounted by it.
FALSE_HITS: Final = 0.03


@dataclass(frozen=True, slots=True)
class Signature:
    """What must be the same in two prompts for one answer to serve both.

    Attributes:
        numbers: In order.
        negations: How many.
        names: Quoted, capitalised and other unmistakable words, in order, lower case.
        asks: Question words, in order.
        words: The others that carry meaning, in order, without inflection.
        hard: What must be the same to the letter, in order.
    """

    numbers: tuple[str, ...]
    negations: int
    names: tuple[str, ...]
    asks: tuple[str, ...]
    words: tuple[str, ...]
    hard: tuple[str, ...]

    @property
    def telling(self) -> bool:
        """Whether there is enough to tell what is asked."""
        return len(self.words) >= 2 and not all(word.startswith("(") for word in self.words)


_NOTHING: Final = Signature((), 0, (), (), (), ())


def signature(text: str) -> Signature:
    """Read a prompt. One of several lines, or a long one, holds more than a question: nothing is read in it."""
    if len(text) > _MOST_CHARS or "\n" in text.strip():
        return _NOTHING
    names = [next(filter(None, groups)).lower() for groups in _QUOTED.findall(text)]
    plain = " ".join(text.lower().replace("’", "'").split()).rstrip(" ?.!")
    for pattern, full in _CONTRACTIONS:
        plain = pattern.sub(full, plain)
    plain = _bare(plain)
    numbers: list[str] = []
    asks: list[str] = []
    words: list[str] = []
    negated: list[str] = []
    before = ""
    for word in _WORD.findall(plain):
        hour, before = word == "am" and before[:1].isdigit(), word
        if word[0].isdigit():
            numbers.append(word.replace(",", "") if _THOUSANDS.fullmatch(word) else word)
        elif word in _NUMBERS:
            numbers.append(_NUMBERS[word])
        elif word in _NEGATORS:
            # Which word it negates counts as well: "not all are", "all are not".
            negated.append(f"not {len(words)}")
        elif word in _ASKING:
            asks.append(word)
        elif hour or word not in _EMPTY:
            words.append(_SAME.get(word) or _stem(word))
    if any(char.islower() for char in text):
        # Where everything is capital nothing stands out.
        names += [name.lower() for name in _NAME.findall(text) if name.lower() not in _SAME]
    return Signature(
        tuple(numbers),
        len(negated),
        tuple(sorted(set(names))),
        tuple(asks),
        tuple(words),
        (*negated, *hard_tokens(text)),
    )


def difference(one: Signature, other: Signature) -> str | None:
    """In what two prompts do not agree, None where one answer may serve both."""
    if not one.telling:
        return "too few words to tell"
    if one.numbers != other.numbers:
        return "other numbers"
    if one.negations != other.negations:
        return "another polarity"
    if one.asks != other.asks:
        return "another question"
    if one.words != other.words:
        return "other words"
    if names_differ(one.names, other.names):
        return "other names"
    return "other signs" if one.hard != other.hard else None


def hard_difference(text: str, example: str) -> bool:
    """Whether two prompts differ in numbers, negations or hard tokens: in what no paraphrase changes."""
    one, other = signature(text), signature(example)
    return (one.numbers, one.negations, one.hard) != (other.numbers, other.negations, other.hard)


def names_differ(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two prompts with the same words name something else: a name in lower case is a word like any other."""
    return one != other and bool(one) and bool(other)


def _bare(text: str) -> str:
    """Without the ways to ask at either end; never empty unless it was."""
    while True:
        opening = _OPENING.match(text)
        closing = _CLOSING.search(text)
        begin, end = opening.end() if opening else 0, closing.start() if closing else len(text)
        if begin >= end or (begin == 0 and end == len(text)):
            return text
        text = text[begin:end].strip(" ,")


def _stem(word: str) -> str:
    """Without the plural and verbal endings of English."""
    for ending, left in (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", "")):
        stem = word.removesuffix(ending)
        if word != stem and len(stem) >= 3 and not word.endswith("ss"):
            return (stem + left).rstrip("e")
    return word.rstrip("e") if len(word) > 3 else word
