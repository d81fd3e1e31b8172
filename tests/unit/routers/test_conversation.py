"""A follow-up goes where its question went, a new question where it belongs, and one turn is its own assessment."""

import math
from dataclasses import replace

import pytest

from pointsman.experts.spec import ExpertSpec, PoolView
from pointsman.routers.artifacts import load_router
from pointsman.routers.conversation import Turn, recall
from pointsman.routers.types import Qualities, RouteRequest
from tests.unit.routers.conversations import HELD_OUT, TUNED

#: A question, a follow-up that says nothing of its subject, and the expert both belong to.
FOLLOW_UPS = (
    ("Write a Python function that reverses a linked list.", "and in C?", "nano-code"),
    ("Write a Python function that reverses a linked list.", "make it shorter", "nano-code"),
    ("Fix this loop: for (int i = 0; i <= n; i++) sum += a[i];", "why?", "nano-code"),
    ("Does aspirin reduce the risk of stroke in elderly patients?", "what about women?", "nano-clinical"),
    ("Does metformin lower mortality in type 2 diabetes?", "and in younger ones?", "nano-clinical"),
    ("What is 17% of 240?", "and 18%?", "nano-math"),
    ("A train goes 60 miles in 45 minutes. How fast is it in miles per hour?", "are you sure?", "nano-math"),
)
NEW_SUBJECTS = (
    (
        "Does aspirin reduce the risk of stroke in elderly patients?",
        "Now write a bash script that counts the lines of all files in a folder.",
        "nano-code",
    ),
    (
        "Write a Python function that reverses a linked list.",
        "Natalia sold 48 clips in April and half as many in May. How many clips did she sell altogether?",
        "nano-math",
    ),
)
POOL = PoolView.of(
    *(
        ExpertSpec(f"nano-{name}", "replay", name, generalist=name == "general")
        for name in ("code", "math", "clinical", "prose", "general")
    )
)


@pytest.fixture(scope="module")
def router():
    return load_router("default")


def turn(router, text):
    return Turn(text, router.assess(RouteRequest("id", text, 10)))


def chosen(router, assessment, text):
    return router.select(assessment, RouteRequest("id", text, 10), POOL).expert


@pytest.mark.parametrize(("question", "follow_up", "expert"), FOLLOW_UPS)
def test_a_follow_up_goes_where_its_question_went(router, question, follow_up, expert):
    turns = [turn(router, question), turn(router, follow_up)]
    assert chosen(router, recall(turns), follow_up) == expert
    # Alone it says too little, else the case would show nothing.
    assert chosen(router, turns[-1].assessment, follow_up) != expert


@pytest.mark.parametrize(("question", "other", "expert"), NEW_SUBJECTS)
def test_a_new_subject_goes_where_it_belongs(router, question, other, expert):
    assert chosen(router, recall([turn(router, question), turn(router, other)]), other) == expert


def test_one_turn_is_its_own_assessment(router):
    only = turn(router, "What is 17% of 240?")
    assert recall([only]) is only.assessment


def test_what_is_recalled_is_a_distribution_within_the_turns(router):
    turns = [turn(router, question) for question, _, _ in FOLLOW_UPS[:4]]
    seen = recall(turns)
    posterior = seen.classification.posterior
    assert math.isclose(sum(posterior.values()), 1.0, rel_tol=1e-5)
    for name, value in posterior.items():
        each = [one.assessment.classification.posterior[name] for one in turns]
        assert min(each) - 1e-6 <= value <= max(each) + 1e-6
    for index, value in enumerate(seen.quality.mean):
        each = [one.assessment.quality.mean[index] for one in turns]
        assert min(each) - 1e-6 <= value <= max(each) + 1e-6


def test_turns_of_another_artefact_or_other_experts_are_forgotten(router):
    now = turn(router, "and in C?")
    before = turn(router, FOLLOW_UPS[0][0])
    other_artifact = Turn(before.text, replace(before.assessment, artifact_hash="another"))
    quality = before.assessment.quality
    fewer = Qualities(quality.experts[:-1], quality.mean[:-1], quality.std[:-1], quality.sources[:-1])
    other_experts = Turn(before.text, replace(before.assessment, quality=fewer))
    assert recall([other_artifact, other_experts, now]) is now.assessment


#: Least shares of follow-ups that stay, and of new questions that switch.
@pytest.mark.parametrize(
    ("sets", "stay", "switch"), [(TUNED, 0.98, 0.98), (HELD_OUT, 0.92, 0.99)], ids=["tuned", "held"]
)
def test_follow_ups_stay_and_new_questions_take_over(router, sets, stay, switch):
    seen = {}

    def read(text):
        return seen.setdefault(text, None) or seen.__setitem__(text, turn(router, text)) or seen[text]

    stayed, switched = [], []
    for one in sets:
        for topic in one.topics:
            for opening in topic.openings:
                home = chosen(router, read(opening).assessment, opening)
                stayed += [
                    chosen(router, recall([read(opening), read(text)]), text) == home
                    for text in topic.follow_ups + one.any_topic
                ]
                for text in one.new_questions:
                    alone = chosen(router, read(text).assessment, text)
                    for before in ((opening,), (opening, topic.follow_ups[0])):
                        turns = [read(each) for each in (*before, text)]
                        switched.append(chosen(router, recall(turns), text) == alone)
    assert sum(stayed) >= stay * len(stayed)
    assert sum(switched) >= switch * len(switched)


def test_a_turn_in_which_a_program_alone_speaks_says_nothing(router):
    question = turn(router, "Does aspirin reduce the risk of stroke in elderly patients?")
    result = turn(
        router, "[read_file for 'a.py'] Result:\n<file_content path=\"a.py\">\ndef f(): pass\n</file_content>"
    )
    assert recall([question, result]).classification.category == "clinical"
