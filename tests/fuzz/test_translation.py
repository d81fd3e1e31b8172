"""A few random answers through the translations; the long form is `python -m tests.fuzz.translation`."""

from __future__ import annotations

from tests.fuzz.translation import run


def test_nothing_that_an_answer_says_is_lost() -> None:
    assert run(0, 400) is None
