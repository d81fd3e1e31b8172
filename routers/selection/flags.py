"""Goals written into the prompt, `[Flag: smallest model]` (Tryage, arXiv 2308.11601).

A flag changes prices, except the security flag, which is a filter. Flags are removed before anything reads the prompt.
An unknown flag is removed as well and reported to the caller, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from pointsman.routers.types import Budget, Flag, Weights

FLAG_PATTERN = re.compile(r"\[\s*flag\s*:\s*([^\]]+)\]", re.IGNORECASE)

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
    """What was found in a text.

    Attributes:
        flags: Known flags in order of appearance, each once.
        text: The text without any flag, known or not.
        unknown: What stood in flags nobody knows, as written.
    """

    flags: tuple[Flag, ...]
    text: str
    unknown: tuple[str, ...]


def parse_flags(text: str) -> ParsedFlags:
    """Find and strip all flags. A flag may hold several goals, separated by commas."""
    if "[" not in text:
        return ParsedFlags((), text, ())
    flags: list[Flag] = []
    unknown: list[str] = []

    def take(match: re.Match[str]) -> str:
        for part in match.group(1).split(","):
            words = " ".join(part.split())
            flag = ALIASES.get(words.lower())
            if flag is None:
                if words and words not in unknown:
                    unknown.append(words)
            elif flag not in flags:
                flags.append(flag)
        return ""

    stripped = FLAG_PATTERN.sub(take, text)
    if stripped == text:
        return ParsedFlags((), text, ())
    return ParsedFlags(tuple(flags), stripped.strip(), tuple(unknown))


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
