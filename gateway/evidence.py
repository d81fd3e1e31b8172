"""Answers as evidence at run time: ask, compare, accept or ask on, within the caller's caps for all calls together.

Who is asked next is the policy's word (`routers/evidence`), what is left of the caps that of `evidence_plan.Purse`; the
calls themselves are the pipeline's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import numpy as np

from experts.spec import Capability
from gateway.embedding import embed_one
from gateway.errors import invalid_budget
from gateway.evidence_plan import Plan, Purse
from gateway.gathered import Gathered, Reached
from gateway.settings.evidence import EvidenceSettings
from gateway.wire.evidence import Wish
from gateway.wire.request import Inbound
from routers.embed import plain_embedder
from routers.evidence.keys import answer_key
from routers.evidence.policy import SequentialPolicy
from routers.evidence.step import Accept, Ask, Given, next_step
from routers.evidence.vote import NO_ANSWER
from routers.protocols import Embedder
from routers.types import Budget, Candidate, Decision, FloatArray, Reason

_TEXT: Final = frozenset({Capability.CHAT, Capability.COMPLETIONS, Capability.STREAMING})

Call = Callable[[str], Awaitable[Reached]]


class Evidence:
    """Gathers answers.

    Args:
        policy: Of the router's artefact; None where it was not trained on answers.
        embedder: For answers that state no plain result.
        settings: The operator's.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        policy: SequentialPolicy | None,
        embedder: Embedder,
        settings: EvidenceSettings,
        clock: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._embedder = plain_embedder(embedder)
        self._settings = settings
        self._clock = clock

    def plan(self, inbound: Inbound, budget: Budget, decision: Decision, wish: Wish | None) -> Plan | None:
        """Whether and whom to ask; None where the chosen expert alone is to answer.

        That is so when nobody wants more, when the request is for more than one text, when the expert was chosen for
        another reason than its utility, when fewer than two members may be asked, and when gathering promises no more
        than the chosen expert.

        Raises:
            RequestRefused: The caller asks for it, and the router was not trained on answers.
        """
        if not (self._settings.enabled if wish is None else wish.wanted):
            return None
        policy = self._policy
        if policy is None:
            if wish is None:
                return None
            raise invalid_budget("routing.evidence", "this gateway's router was not trained on answers")
        weight = budget.weights.quality
        several = inbound.payload.get("n") not in (None, 1)
        if decision.reason is not Reason.BEST_UTILITY or several or not inbound.required <= _TEXT or weight <= 0:
            return None
        members = tuple(_best_of(decision.candidates, name) for name in policy.members)
        if sum(member is not None for member in members) < 2:
            return None
        plan = Plan(
            members,
            np.array([0.0 if one is None else one.estimates.quality.mean for one in members]),
            np.array([np.inf if one is None else _price(one) / weight for one in members]),
            np.array([0.0 if one is None else -one.terms.get("latency", 0.0) / weight for one in members]),
            budget,
            self._max_calls(wish),
        )
        step = next_step(policy, plan.quality, {}, Purse(plan).prices(0.0), plan.waiting)
        chosen = next(one for one in decision.candidates if one.spec.name == decision.expert)
        worth = (chosen.utility or 0.0) / weight
        # A chosen member alone is one of the policy's own ways; another expert has to be outbid.
        outbid = chosen in members or (isinstance(step, Ask) and step.value > worth)
        return plan if isinstance(step, Ask) and outbid else None

    def _max_calls(self, wish: Wish | None) -> int:
        most = self._settings.max_calls
        return most if wish is None or wish.max_calls is None else min(most, wish.max_calls)

    async def gather(self, plan: Plan, call: Call, received_s: float) -> Gathered:
        """Ask until an answer is accepted.

        Args:
            plan: From `plan`.
            call: Makes one call and never raises for a failed one.
            received_s: When the request was in; the caps on time count from there.

        Returns:
            All calls, and which one's reply goes to the client; none when no expert answered.
        """
        assert self._policy is not None  # noqa: S101  # a plan is there only with a policy
        purse, answers = Purse(plan), _Comparison(self._embedder, self._settings.same_meaning)
        given: dict[int, Given] = {}
        reached: dict[int, Reached] = {}
        while True:
            prices = purse.prices((self._clock() - received_s) * 1e3)
            step = next_step(self._policy, plan.quality, given, prices, plan.waiting)
            if not isinstance(step, Ask):
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
                    return Gathered(tuple(reached.values()), found, None, frozenset())
                if found.answered:
                    code = NO_ANSWER if found.text is None else await answers.code(found.text)
                    tokens = float("nan") if found.usage is None else float(found.usage.completion_tokens)
                    given[member] = Given(code, tokens)


def _best_of(candidates: Sequence[Candidate], artifact_name: str) -> Candidate | None:
    """The admissible candidate of a member; of several experts that are the same model, the one of most utility."""
    found = [one for one in candidates if one.utility is not None and one.spec.artifact_name == artifact_name]
    return max(found, key=lambda one: one.utility or 0.0, default=None)


def _price(candidate: Candidate) -> float:
    """What a call costs in units of utility: the very terms by which the expert was ranked."""
    return -sum(term for name, term in candidate.terms.items() if name != "quality")


async def _named(call: Call, plan: Plan, member: int) -> Reached:
    candidate = plan.members[member]
    assert candidate is not None  # noqa: S101  # its price is inf, so that it is never asked
    return await call(candidate.spec.name)


def _settled(plan: Plan, step: Accept | None, reached: dict[int, Reached]) -> Gathered:
    """Which reply goes out: the accepted one; failing that, what the best expert did say."""
    calls = tuple(reached.values())
    if step is not None:
        supporters = frozenset(reached[member].expert for member in step.supporters)
        return Gathered(calls, reached[step.member], step.belief, supporters)
    said = [member for member, call in reached.items() if call.answered]
    best = max(said, key=lambda member: float(plan.quality[member]), default=None)
    return Gathered(calls, None if best is None else reached[best], None, frozenset())


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
