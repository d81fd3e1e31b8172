"""What is asked, in which language, and with which slips: read right on texts as agents and people send them."""

import pytest

from pointsman.experts.spec import ExpertSpec, PoolView
from pointsman.routers.artifacts import load_router
from pointsman.routers.reading.asked import asked_of
from pointsman.routers.reading.follow_ups import words_of
from pointsman.routers.reading.languages import unread_language
from pointsman.routers.types import Doubt, RouteRequest
from tests.unit.routers.agent_turns import NOTHING_ASKED, QUESTIONS, SHAPES
from tests.unit.routers.natural_prompts import HELD_OUT_PROMPTS, TUNED_PROMPTS
from tests.unit.routers.other_languages import ENGLISH, PROMPTS

POOL = PoolView.of(
    *(
        ExpertSpec(f"nano-{name}", "replay", name, generalist=name == "general")
        for name in ("code", "math", "clinical", "prose", "general")
    )
)
KNOWN = frozenset({"en"})
NATURAL = [text for group in (TUNED_PROMPTS, HELD_OUT_PROMPTS) for prompts in group.values() for text in prompts]


@pytest.fixture(scope="module")
def router():
    return load_router("default")


def chosen(router, text):
    return router.decide(RouteRequest("id", text, 10), POOL).expert


@pytest.mark.parametrize("shape", SHAPES)
def test_the_question_decides_and_not_what_an_agent_adds(router, shape):
    for question in QUESTIONS:
        assert chosen(router, SHAPES[shape](question)) == chosen(router, question), question


@pytest.mark.parametrize("text", NOTHING_ASKED)
def test_a_program_alone_asks_nothing(text):
    assert asked_of(text) == ""


@pytest.mark.parametrize("text", [*NATURAL, "x < 10 and y > 3", "<div>hello</div> center this", "<task> is an element"])
def test_what_people_write_is_read_as_it_is(text):
    assert asked_of(text) == text


@pytest.mark.parametrize(
    "text", ["<task>" * 20_000, "/" * 100_000, "```\n" * 9_000, "a.b" * 50_000, "<context " * 30_000]
)
def test_a_hostile_text_is_read_within_bounds(text):
    asked_of(text)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("Write a function that reverses a list", 7, 7),
        ("用Python写一个函数并解释每一行代码的作用", 8, 14),
        ("フランスの首都はどこですか", 5, 10),
        ("เมืองหลวงของฝรั่งเศสคืออะไร", 5, 9),
        ("def f(x):return[x*2for(x)in(range(10))]", 8, 14),
        ("Donaudampfschifffahrtsgesellschaft", 2, 4),
        ("", 0, 0),
    ],
)
def test_words_are_counted_in_any_script(text, least, most):
    assert least <= words_of(text) <= most


def test_what_cannot_be_read_goes_to_a_generalist_and_says_so(router):
    for language, prompt in PROMPTS:
        assert unread_language(prompt, KNOWN), prompt
        kind = router.assess(RouteRequest("id", prompt, 10)).classification
        assert kind.doubt is Doubt.LANGUAGE, (language, prompt)
        assert chosen(router, prompt) == "nano-general"


def test_a_language_is_read_by_way_of_its_family():
    assert unread_language("Qual é a capital da França?", frozenset({"en", "es"})) == ""
    assert unread_language("Qual é a capital da França?", frozenset({"en", "de"})) == "pt"


@pytest.mark.parametrize("text", [*ENGLISH, *NATURAL])
def test_english_is_read(text):
    assert unread_language(text, KNOWN) == ""


@pytest.mark.parametrize(
    ("text", "expert"),
    [
        ("waht is teh sqaure root of 144?", "nano-math"),
        ("whta is 17 precent of 240", "nano-math"),
        ("how mcuh is 15 tmies 23", "nano-math"),
        ("solev the equaton 2x + 7 = 31", "nano-math"),
        ("wirte a pyhton funciton that revreses a lsit", "nano-code"),
        ("does asprin redcue the rsik of stroek", "nano-clinical"),
    ],
)
def test_slips_of_the_keyboard_do_not_mislead(router, text, expert):
    assert chosen(router, text) == expert
