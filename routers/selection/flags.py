"""Goals written into the prompt, `[Flag: smallest model]` (Tryage, arXiv 2308.11601).

A flag changes prices, except the security flag, which is a filter. Flags are removed before anything reads the prompt.
An unknown flag is removed as well and reported to the caller, never ignored.

A flag stands at the beginning or the end of a turn. In the middle it is text like any other: a page that is pasted into
a prompt, or a quotation, chooses no expert.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from pointsman.routers.types import Budget, Flag, Weights

_FLAG: Final = re.compile(r"\[\s*flag\s*:([^\[\]]*)\]", re.IGNORECASE)
#: Flags stand within so many characters of an end of a text, white space and other flags included.
_REACH_CHARS: Final = 1_000


class FlagPosition(StrEnum):
    """Where in a turn a flag may stand."""

    BEGINNING = "beginning"
    END = "end"


FlagPositions = frozenset[FlagPosition]
EITHER_END: Final[FlagPositions] = frozenset(FlagPosition)

#: A flagged goal outweighs predicted quality, which is at most 1, and still leaves quality to break near-ties.
FLAG_WEIGHT = 10.0

#: Other ways to write a flag. Keys are lower case with single spaces.
ALIASES: Mapping[str, Flag] = MappingProxyType(
    {
        **{flag.value: flag for flag in Flag},
        "smallest": Flag.SMALLEST,
        "small": Flag.SMALLEST,
        "small model": Flag.SMALLEST,
        "newest": Flag.NEWEST,
        "newest model": Flag.NEWEST,
        "latest": Flag.NEWEST,
        "latest model": Flag.NEWEST,
        "recent": Flag.NEWEST,
        "most recent model": Flag.NEWEST,
        "private": Flag.SECURE,
        "secure/private": Flag.SECURE,
        "privacy": Flag.SECURE,
        "local": Flag.SECURE,
        "local only": Flag.SECURE,
        "fast": Flag.FASTEST,
        "fastest model": Flag.FASTEST,
        "cheap": Flag.CHEAPEST,
        "cheapest model": Flag.CHEAPEST,
        "green": Flag.GREENEST,
        "least energy": Flag.GREENEST,
        "short": Flag.TERSE,
        "concise": Flag.TERSE,
        "brief": Flag.TERSE,
        "plain": Flag.PLAIN,
        "plain english": Flag.PLAIN,
        "readable": Flag.PLAIN,
        "best": Flag.BEST,
        "best model": Flag.BEST,
        "highest quality": Flag.BEST,
    }
)

#: Flag -> the constraint it prices.
_PRICED: Mapping[Flag, str] = MappingProxyType(
    {
        Flag.SMALLEST: "size",
        Flag.NEWEST: "recency",
        Flag.FASTEST: "latency",
        Flag.CHEAPEST: "cost",
        Flag.GREENEST: "energy",
        Flag.TERSE: "verbosity",
        Flag.PLAIN: "readability",
    }
)


@dataclass(frozen=True, slots=True)
class ParsedFlags:
    """What was found in a turn.

    Attributes:
        flags: Known flags in order of appearance, each once.
        texts: The turn's texts without its flags, known or not.
        unknown: What stood in flags nobody knows, as written.
    """

    flags: tuple[Flag, ...]
    texts: tuple[str, ...]
    unknown: tuple[str, ...]


def parse_flags(texts: Sequence[str], places: FlagPositions = EITHER_END) -> ParsedFlags:
    """Find and strip the flags of a turn. A flag may hold several goals, separated by commas.

    Args:
        texts: The turn's texts, in order: one, or as many as it has parts.
        places: Where flags count.
    """
    if not any("[" in text for text in texts):
        return ParsedFlags((), tuple(texts), ())
    left = list(texts)
    goals: list[str] = []
    if FlagPosition.BEGINNING in places:
        for index, text in enumerate(left):
            left[index] = _cut_beginning(text, goals)
            if _says_something(left[index]):
                break
    if FlagPosition.END in places:
        last: list[str] = []
        for index in reversed(range(len(left))):
            left[index] = _cut_end(left[index], last)
            if _says_something(left[index]):
                break
        goals += reversed(last)
    flags: dict[Flag, None] = {}
    unknown: dict[str, None] = {}
    for goal in goals:
        for part in goal.split(","):
            words = " ".join(part.split())
            flag = ALIASES.get(words.lower())
            if flag is not None:
                flags[flag] = None
            elif words:
                unknown[words] = None
    return ParsedFlags(tuple(flags), tuple(left), tuple(unknown))


def _cut_beginning(text: str, goals: list[str]) -> str:
    """A text without the flags at its beginning, whose goals are added in order."""
    reach = text[:_REACH_CHARS]
    at = 0
    while found := _FLAG.match(reach, len(reach) - len(reach[at:].lstrip())):
        goals.append(found[1])
        at = found.end()
    return text[at:].lstrip() if at else text


def _cut_end(text: str, goals: list[str]) -> str:
    """A text without the flags at its end, whose goals are added from the last to the first."""
    reach = text[-_REACH_CHARS:]
    cut = len(reach)
    while (end := len(reach[:cut].rstrip())) and (
        found := _FLAG.fullmatch(reach, max(reach.rfind("[", 0, end), 0), end)
    ):
        goals.append(found[1])
        cut = found.start()
    return text[: len(text) - len(reach) + cut].rstrip() if cut < len(reach) else text


def _says_something(text: str) -> bool:
    return bool(text) and not text.isspace()


def apply_flags(budget: Budget, flags: Iterable[Flag]) -> Budget:
    """The budget with the flags' prices (λ = 10 on the flagged constraint) and masks set; nothing is ever loosened.

    `best quality` sets every price to 0, then the other flags apply.
    """
    given = set(flags)
    weights = budget.weights
    if Flag.BEST in given:
        weights = Weights(quality=weights.quality)
    raised = {name: max(getattr(weights, name), FLAG_WEIGHT) for flag, name in _PRICED.items() if flag in given}
    if raised:
        weights = replace(weights, **raised)
    return replace(budget, weights=weights, local_only=budget.local_only or Flag.SECURE in given)
