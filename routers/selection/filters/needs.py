"""What the request needs of an expert: capabilities, and room in its context window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pointsman.experts.spec import Capability
from pointsman.routers.arrays import Mask
from pointsman.routers.estimators.call import CallFigures
from pointsman.routers.protocols import Filter
from pointsman.routers.selection.filters.kind import FilterKind, RuleRow
from pointsman.routers.types import Rejection, RouteRequest, Rule


@dataclass(frozen=True, slots=True)
class CapabilityFilter:
    """The expert must do all that the request needs.

    Where none of those that may be asked is said to, whoever nothing is known of is asked: what an operator left out is
    no statement that it cannot be done.

    Attributes:
        required: What is needed.
        allowed: The experts that may be asked; None for all.
    """

    required: frozenset[Capability]
    allowed: frozenset[str] | None = None

    def passes(self, figures: CallFigures) -> Mask:
        """Nothing required is missing; or, where all of them miss something, nothing is said to be."""
        roster = figures.roster
        able = roster.capable(self.required)
        return able if self._anybody(figures, able) else roster.perhaps_capable(self.required)

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `capability`."""
        roster = figures.roster
        missing = ", ".join(sorted(self.required - roster.specs[index].capabilities))
        if roster.perhaps_capable(self.required)[index]:
            detail = f"nobody says that it has {missing}, which the request needs and another expert has"
        else:
            detail = f"it lacks {missing}, which the request needs"
        return Rejection(roster.names[index], Rule.CAPABILITY, detail)

    def _anybody(self, figures: CallFigures, able: Mask) -> bool:
        roster = figures.roster
        if self.allowed is None:
            return bool((able & ~roster.null).any())
        return any(able[index] and name in self.allowed for index, name in enumerate(roster.names))


@dataclass(frozen=True, slots=True)
class ContextWindowFilter:
    """Prompt plus the caller's completion limit (one token where none is stated) must fit into the context window.

    Of several prompts the longest, by as many tokens as the expert finds in prompts in its worst case.
    """

    prompt_tokens: int
    completion_tokens: int

    def passes(self, figures: CallFigures) -> Mask:
        """It fits, or the window is unknown."""
        return self.prompt_tokens * figures.live.tokens_worst + self.completion_tokens <= figures.roster.window_tokens

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `context_window`."""
        prompt_tokens = self.prompt_tokens * figures.live.tokens_worst[index]
        return Rejection(
            figures.roster.names[index],
            Rule.CONTEXT_WINDOW,
            f"about {prompt_tokens:.0f} prompt and {self.completion_tokens} completion tokens do not fit its "
            f"window of {figures.roster.specs[index].context_window_tokens}",
        )


def _capable(request: RouteRequest, figures: CallFigures) -> Sequence[Filter] | None:
    if request.required and not figures.roster.all_capable(request.required):
        return (CapabilityFilter(request.required, request.allowed),)
    return None


def _fits_context(request: RouteRequest, figures: CallFigures) -> Sequence[Filter] | None:
    completion = 1 if request.max_completion_tokens is None else request.max_completion_tokens
    longest = request.work.longest_prompt_tokens
    prompt = request.prompt_tokens if longest is None else longest
    if prompt * figures.live.most_tokens + completion > figures.roster.least_window_tokens:
        return (ContextWindowFilter(prompt, completion),)
    return None


CAPABLE: Final = FilterKind((RuleRow(Rule.CAPABILITY, "It cannot do what the request needs."),), _capable)
FITS_CONTEXT: Final = FilterKind(
    (RuleRow(Rule.CONTEXT_WINDOW, "Prompt and answer do not fit its context window."),), _fits_context
)
