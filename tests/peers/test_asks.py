"""What users of other gateways ask for, asked of ours (`docs/peers.md`)."""

from __future__ import annotations

import pytest

from tests.e2e.running import running
from tests.e2e.test_null_experts import ask, tree


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("How do I enable two-factor authentication?", "How do I disable two-factor authentication?"),
        ("Is it safe to take this with alcohol?", "Is it unsafe to take this with alcohol?"),
        ("How do I add a user to the group?", "How do I remove a user from the group?"),
    ],
)
async def test_the_opposite_question_is_another_question(first: str, second: str) -> None:
    async with running(tree(answers={"semantic": True})) as gateway:
        assert (await ask(gateway, first))[0] == "model"
        assert (await ask(gateway, second))[0] == "model"
        # The semantic cache is awake: it knows the first question again, written otherwise.
        assert (await ask(gateway, first.lower().rstrip("?")))[0] == "semantic-cache"
