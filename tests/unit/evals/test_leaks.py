"""Prompts on both sides of a split: found in each of the three ways, and left out where asked."""

from dataclasses import replace

import numpy as np

from pointsman.evals.leaks import find_leaks
from pointsman.evals.policies import make_trial
from pointsman.evals.tables import OutcomeTable

STORY = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"


def test_each_way_of_leaking() -> None:
    train = [STORY, "What is the capital of Peru?", "a b c d e f g h i j k l m n o p q r s t"]
    test = [
        "what is  the capital of PERU",
        "Before: one two three four five six seven eight nine ten eleven twelve, and then something else.",
        "a b c d e f g h i j k l m n o p q r s u",
        "nothing of the sort",
    ]
    found = find_leaks(train, test)
    assert found.same_text.tolist() == [True, False, False, False]
    assert found.shared_run.tolist() == [False, True, True, False]
    assert found.near_duplicate.tolist() == [True, False, True, False]
    assert found.test.tolist() == [True, True, True, False]
    assert found.train.tolist() == [True, True, True]


def test_a_template_is_no_leak() -> None:
    template = "choose the right answer from the options below and say only its letter please"
    train = [f"{template} question about {i} apples" for i in range(30)]
    test = [f"{template} riddle of {i} pears" for i in range(30)]
    found = find_leaks(train, test)
    assert not found.shared_run.any()
    assert not found.same_text.any()


def test_signs_alone_leak_only_as_themselves() -> None:
    found = find_leaks(["???", "!!"], ["???", "..."])
    assert found.same_text.tolist() == [True, False]
    assert not found.shared_run.any()


def test_leaks_are_counted_and_dropped_from_the_train_split(table: OutcomeTable) -> None:
    trial = make_trial(table)
    at = table.splits.index("train"), table.splits.index("test")
    prompts = list(table.prompts)
    prompts[at[0]] = prompts[at[1]].upper()
    doubled = replace(table, prompts=tuple(prompts))
    leaky, clean = make_trial(doubled), make_trial(doubled, drop_leaks=True)
    assert leaky.leaked["same text"] == trial.leaked["same text"] + 1
    assert leaky.leaked["any"] > 0
    assert clean.dropped == len(leaky.train) - len(clean.train) >= 1
    assert table.prompt_ids[at[0]] not in clean.train.prompt_ids
    assert clean.test.prompt_ids == leaky.test.prompt_ids
    again = find_leaks(clean.train.prompts, clean.test.prompts)
    assert not np.any(again.test)
