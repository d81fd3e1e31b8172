"""Who is asked for what not every expert can do, and who where nobody is said to be able to."""

from __future__ import annotations

import pytest

from pointsman.experts.spec import TEXT_CAPABILITIES, Capability, ExpertSpec, ExpertState
from pointsman.routers.selection.filters.chain import filters_for
from pointsman.routers.types import Rule
from tests.unit.routers.pools import assessment, figures_of, request, spec

_TOOLS = TEXT_CAPABILITIES | {Capability.TOOLS}
TEXT = spec("text")
TOOLS = spec("tools", capabilities=_TOOLS)
SEES = spec("sees", capabilities=_TOOLS | {Capability.VISION})
HEARS = spec("hears", capabilities=_TOOLS | {Capability.AUDIO})
SILENT = spec("silent", capabilities_stated=False)
CACHE = spec("cache", backend="null", capabilities=_TOOLS)


def asked(
    experts: tuple[ExpertSpec, ...], *required: Capability, allowed: frozenset[str] | None = None
) -> tuple[set[str], dict[str, str]]:
    """Who passes, and what is said of the others' capabilities."""
    wanted = request(required=frozenset({Capability.CHAT, *required}), allowed=allowed)
    given = assessment({one.name: 0.5 for one in experts})
    figures = figures_of(*((one, ExpertState()) for one in experts), asked=wanted, given=given)
    passing, said = set(), {}
    for index, one in enumerate(experts):
        broken = [rule for rule in filters_for(wanted, figures) if not rule.passes(figures)[index]]
        if not broken:
            passing.add(one.name)
        elif (rejection := broken[0].rejection(figures, index)).rule is Rule.CAPABILITY:
            said[one.name] = rejection.detail
    return passing, said


@pytest.mark.parametrize(
    ("experts", "need", "passing"),
    [
        ((TEXT, TOOLS), Capability.TOOLS, {"tools"}),
        ((TEXT, TOOLS, SILENT), Capability.TOOLS, {"tools"}),
        ((TEXT, SILENT), Capability.TOOLS, {"silent"}),
        ((TEXT,), Capability.TOOLS, set()),
        ((CACHE, SILENT), Capability.TOOLS, {"silent"}),
        ((SEES, HEARS, SILENT), Capability.AUDIO, {"hears"}),
        ((TEXT, TOOLS, SEES), Capability.AUDIO, {"sees"}),
        ((TEXT, SEES, SILENT), Capability.FILES, {"sees", "silent"}),
        ((TEXT, SEES), Capability.VIDEO, {"sees"}),
        ((TEXT, TOOLS), Capability.VIDEO, set()),
        ((TEXT, HEARS), Capability.VISION, set()),
        ((TEXT, SILENT), Capability.EMBEDDINGS, set()),
        ((TEXT, SILENT), Capability.MESSAGES, set()),
    ],
)
def test_who_is_said_to_be_capable_goes_before_who_may_be(
    experts: tuple[ExpertSpec, ...], need: Capability, passing: set[str]
) -> None:
    assert asked(experts, need)[0] == passing


def test_several_needs_are_one() -> None:
    assert asked((TOOLS, HEARS, SEES), Capability.AUDIO, Capability.TOOLS)[0] == {"hears"}
    assert asked((TOOLS, SEES), Capability.AUDIO, Capability.JSON_SCHEMA)[0] == set()
    assert asked((TOOLS, SILENT), Capability.AUDIO, Capability.JSON_SCHEMA)[0] == {"silent"}


def test_only_those_that_may_be_asked_count() -> None:
    everybody = (TEXT, TOOLS, SILENT)
    assert asked(everybody, Capability.TOOLS, allowed=frozenset({"text", "silent"}))[0] == {"silent"}
    assert asked(everybody, Capability.TOOLS, allowed=frozenset({"text"}))[0] == set()


def test_the_reason_tells_what_is_not_there_from_what_nobody_states() -> None:
    _, said = asked((TEXT, TOOLS, SILENT), Capability.TOOLS)
    assert said == {
        "text": "it lacks tools, which the request needs",
        "silent": "nobody says that it has tools, which the request needs and another expert has",
    }
