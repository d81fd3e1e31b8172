"""Answers as evidence at run time: ask experts, compare their answers, then accept one or ask again.

The caller's caps hold for all calls together. The policy (`routers/evidence`) says which expert is next, and
`RemainingCaps` says what is left of the caps. `fan_out.py` makes the calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from pointsman.experts.spec import Capability
from pointsman.gateway.deciding.embedding import embed_one
from pointsman.gateway.deciding.evidence_plan import EvidencePlan, RemainingCaps
from pointsman.gateway.dispatch.gathered_answers import CallResult, GatheredAnswers
from pointsman.routers.embed import plain_embedder
from pointsman.routers.evidence.keys import answer_key
from pointsman.routers.evidence.policy import SequentialPolicy
from pointsman.routers.evidence.step import AcceptStep, AskStep, MemberAnswer, next_step
from pointsman.routers.evidence.vote import NO_ANSWER
from pointsman.routers.protocols import Embedder
from pointsman.routers.types import FloatArray

_TEXT: Final = frozenset({Capability.CHAT, Capability.COMPLETIONS, Capability.STREAMING})

Call = Callable[[str], Awaitable[CallResult]]


class EvidenceGatherer:
    """Gathers answers.

    Args:
        policy: Of the router's artefact; None where it was not trained on answers.
        embedder: For answers that state no plain result.
        same_meaning: Cosine from which two answers without a plain result say the same.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        policy: SequentialPolicy | None,
        embedder: Embedder,
        same_meaning: float,
        clock: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._embedder = plain_embedder(embedder)
        self._same_meaning = same_meaning
        self._clock = clock

    async def gather(self, plan: EvidencePlan, call: Call, received_s: float) -> GatheredAnswers:
        """Ask until an answer is accepted.

        Args:
            plan: From `plan`.
            call: Makes one call and never raises for a failed one.
            received_s: When the request was in; the caps on time count from there.

        Returns:
            All calls, and which one's reply goes to the client; none when no expert answered.
        """
        assert self._policy is not None  # noqa: S101  # a plan is there only with a policy
        purse, answers = RemainingCaps(plan), _Comparison(self._embedder, self._same_meaning)
        given: dict[int, MemberAnswer] = {}
        reached: dict[int, CallResult] = {}
        while True:
            prices = purse.prices((self._clock() - received_s) * 1e3)
            step = next_step(self._policy, plan.quality, given, prices, plan.waiting)
            if not isinstance(step, AskStep):
                return _settled(plan, step, reached)
            batch = purse.affordable(step.members, (self._clock() - received_s) * 1e3)
            async with asyncio.TaskGroup() as group:
                tasks = {member: group.create_task(_named(call, plan, member)) for member in batch}
            for member, task in tasks.items():
                reached[member] = task.result()
            for member in batch:
                found = reached[member]
                purse.spend(member, found.cost_usd, found.energy_j)
                if found.final:
                    return GatheredAnswers(tuple(reached.values()), found, None, frozenset())
                if found.answered:
                    code = NO_ANSWER if found.text is None else await answers.code(found.text)
                    tokens = float("nan") if found.usage is None else float(found.usage.completion_tokens)
                    given[member] = MemberAnswer(code, tokens)


async def _named(call: Call, plan: EvidencePlan, member: int) -> CallResult:
    candidate = plan.members[member]
    assert candidate is not None  # noqa: S101  # its price is inf, so that it is never asked
    return await call(candidate.spec.name)


def _settled(plan: EvidencePlan, step: AcceptStep | None, reached: dict[int, CallResult]) -> GatheredAnswers:
    """Which reply goes out: the accepted one; failing that, what the best expert did say."""
    calls = tuple(reached.values())
    if step is not None:
        supporters = frozenset(reached[member].expert for member in step.supporters)
        return GatheredAnswers(calls, reached[step.member], step.belief, supporters)
    said = [member for member, call in reached.items() if call.answered]
    best = max(said, key=lambda member: float(plan.quality[member]), default=None)
    return GatheredAnswers(calls, None if best is None else reached[best], None, frozenset())


class _Comparison:
    """Numbers answers so that equal ones have equal numbers."""

    def __init__(self, embedder: Embedder, same_meaning: float) -> None:
        self._embedder = embedder
        self._same_meaning = same_meaning
        self._keys: dict[str, int] = {}
        self._meanings: list[tuple[FloatArray, int]] = []
        self._next = 0

    async def code(self, text: str) -> int:
        """The answer's number: by the result it states, else by what it means; a blank one is no answer."""
        if not text.strip():
            return NO_ANSWER
        key = answer_key(text)
        if key is not None:
            if key not in self._keys:
                self._keys[key] = self._new()
            return self._keys[key]
        vector = await embed_one(self._embedder, text)
        for other, code in self._meanings:
            if float(vector @ other) >= self._same_meaning:
                return code
        self._meanings.append((vector, self._new()))
        return self._meanings[-1][1]

    def _new(self) -> int:
        self._next += 1
        return self._next - 1
