"""Who gets the next place of a full expert, and who is turned away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from pointsman.experts.backends.fake import FakeExpert, Script
from pointsman.experts.flight import Flight
from pointsman.experts.pool import ExpertPool
from pointsman.experts.spec import ExpertSpec
from pointsman.gateway.deciding.admission import Admission, AdmissionPolicy, AdmissionRequest, TenantShare
from pointsman.gateway.errors import RequestRefused
from pointsman.gateway.telemetry import Telemetry
from pointsman.gateway.wire.urgency import Priority
from pointsman.routers.types import CompleteExplanation, Decision, Reason, Rule


class Stage:
    """A pool of full experts with a queue in front; the clock is the event loop's."""

    def __init__(self, policy: AdmissionPolicy, *names: str, places: int = 1) -> None:
        clock = asyncio.get_running_loop().time
        experts = [
            FakeExpert(ExpertSpec(name=name, backend="fake", model=name, max_concurrency=places), Script())
            for name in names
        ]
        self.pool = ExpertPool(experts, clock)
        self.admission = Admission(self.pool, policy, Telemetry(), clock)
        self.flights: dict[str, list[Flight]] = {
            name: [self.pool.begin(name, stream=False) for _ in range(places)] for name in names
        }
        self.served: list[str] = []

    def refused(self, *names: str) -> Decision:
        told = CompleteExplanation(barred=dict.fromkeys(names, Rule.SATURATED))
        return Decision("dec", None, (), Reason.INFEASIBLE, None, "router", "hash", told)

    def chosen(self, name: str) -> Decision:
        return Decision("dec", name, (), Reason.BEST_UTILITY, None, "router", "hash")

    def arrive(
        self, who: str, *names: str, tenant: str = "t", priority: Priority | None = None, patience_s: float = 5.0
    ) -> asyncio.Task[str]:
        """A request that waits, and takes the place it is given until `free` ends its call."""
        until_s = asyncio.get_running_loop().time() + patience_s

        async def request() -> str:
            used = await self.admission.wait(self.refused(*names), AdmissionRequest(tenant, priority, until_s))
            name = next(one for one in names if self.pool.has_room(one))
            used(self.chosen(name))
            self.flights[name].append(self.pool.begin(name, stream=False))
            self.served.append(who)
            return name

        return asyncio.create_task(request())

    async def free(self, name: str) -> None:
        """One call ends."""
        self.flights[name].pop(0).finish()
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def reason_of(waiting: Awaitable[object]) -> str | None:
    with pytest.raises(RequestRefused) as refused:
        await waiting
    assert refused.value.status == 503
    assert (refused.value.retry_after_s or 0) >= 1
    return refused.value.reason


async def test_first_come_first_served() -> None:
    stage = Stage(AdmissionPolicy(), "a")
    tasks = [stage.arrive(str(number), "a") for number in range(4)]
    await settle()
    for _ in range(4):
        await stage.free("a")
    assert stage.served == ["0", "1", "2", "3"]
    await asyncio.gather(*tasks)


async def test_tenants_take_turns_however_many_requests_each_sends() -> None:
    stage = Stage(AdmissionPolicy(), "a")
    tasks = [stage.arrive("heavy", "a", tenant="heavy") for _ in range(20)]
    await settle()
    tasks += [stage.arrive("light", "a", tenant="light") for _ in range(3)]
    await settle()
    for _ in range(6):
        await stage.free("a")
    assert sorted(stage.served) == ["heavy"] * 3 + ["light"] * 3
    for task in tasks:
        task.cancel()


async def test_turns_go_by_weight() -> None:
    stage = Stage(AdmissionPolicy(shares={"big": TenantShare(weight=3.0)}), "a")
    tasks = [stage.arrive(who, "a", tenant=who) for _ in range(40) for who in ("big", "small")]
    await settle()
    for _ in range(40):
        await stage.free("a")
    assert 28 <= stage.served.count("big") <= 32
    for task in tasks:
        task.cancel()


async def test_the_urgent_go_first_as_far_as_the_operator_lets_them() -> None:
    stage = Stage(AdmissionPolicy(shares={"trusted": TenantShare(priority=Priority.HIGH)}), "a")
    arrivals: list[tuple[str, str, Priority | None]] = [
        ("normal", "anybody", None),
        ("pretender", "anybody", Priority.HIGH),
        ("batch", "trusted", Priority.LOW),
        ("urgent", "trusted", None),
    ]
    tasks = []
    for who, tenant, priority in arrivals:
        tasks.append(stage.arrive(who, "a", tenant=tenant, priority=priority))
        await settle()
    for _ in arrivals:
        await stage.free("a")
    assert stage.served == ["urgent", "normal", "pretender", "batch"]
    await asyncio.gather(*tasks)


async def test_a_free_slot_goes_to_a_request_that_can_use_it() -> None:
    stage = Stage(AdmissionPolicy(), "a", "b")
    tasks = [stage.arrive("only a", "a"), stage.arrive("either", "a", "b"), stage.arrive("only b", "b")]
    await settle()
    await stage.free("b")
    await stage.free("b")
    await stage.free("a")
    assert stage.served == ["either", "only b", "only a"]
    await asyncio.gather(*tasks)


async def test_a_reserved_slot_cannot_be_taken_by_a_new_request() -> None:
    stage = Stage(AdmissionPolicy(), "a")
    task = stage.arrive("waiting", "a")
    await settle()
    stage.flights["a"].pop().finish()
    assert not stage.pool.has_room("a"), "in the same step the place is whoever's waits"
    assert await task == "a"


async def test_an_unused_slot_goes_to_the_next_request() -> None:
    stage = Stage(AdmissionPolicy(), "a")
    until_s = asyncio.get_running_loop().time() + 5

    async def changes_its_mind() -> None:
        used = await stage.admission.wait(stage.refused("a"), AdmissionRequest("t", None, until_s))
        used(stage.refused("a"))

    first = asyncio.create_task(changes_its_mind())
    await settle()
    second = stage.arrive("second", "a")
    await settle()
    await stage.free("a")
    assert stage.served == ["second"]
    await asyncio.gather(first, second)


@pytest.mark.parametrize("moment", ["waiting", "called"])
async def test_a_cancelled_request_releases_its_slot(moment: str) -> None:
    stage = Stage(AdmissionPolicy(), "a")
    leaving, staying = stage.arrive("leaving", "a"), stage.arrive("staying", "a")
    await settle()
    if moment == "waiting":
        leaving.cancel()
        await settle()
        stage.flights["a"].pop().finish()
    else:
        stage.flights["a"].pop().finish()
        leaving.cancel()
    assert await staying == "a"
    assert stage.served == ["staying"]
    stage.flights["a"].pop().finish()
    assert stage.pool.snapshot().entries[0][1].in_flight == 0


async def test_a_wait_ends() -> None:
    stage = Stage(AdmissionPolicy(), "a")
    assert await reason_of(stage.arrive("late", "a", patience_s=0.02)) == "wait_expired"
    stage.flights["a"].pop().finish()
    assert stage.pool.has_room("a"), "no place is held for it any more"


async def test_a_full_queue_rejects_new_requests_of_tenants_above_their_share() -> None:
    stage = Stage(AdmissionPolicy(queue=3), "a")
    heavy = [stage.arrive(f"heavy {number}", "a", tenant="heavy") for number in range(3)]
    await settle()
    assert await reason_of(stage.arrive("heavy 3", "a", tenant="heavy")) == "queue_full"
    light = stage.arrive("light", "a", tenant="light")
    assert await reason_of(heavy[2]) == "displaced"
    assert await reason_of(stage.arrive("batch", "a", tenant="idle", priority=Priority.LOW)) == "queue_full"
    for _ in range(3):
        await stage.free("a")
    assert sorted(stage.served) == ["heavy 0", "heavy 1", "light"]
    await asyncio.gather(*heavy[:2], light)


async def test_a_wait_that_is_foreseeably_too_long_is_refused_at_once_and_says_when_to_come_back() -> None:
    stage = Stage(AdmissionPolicy(), "a")
    tasks = [stage.arrive(str(number), "a") for number in range(60)]
    await settle()
    for _ in range(20):
        await asyncio.sleep(0.05)
        await stage.free("a")
    # Some 40 wait, and a place comes free every 50 ms.
    with pytest.raises(RequestRefused) as refused:
        await stage.arrive("hurried", "a", patience_s=0.5)
    assert refused.value.reason == "wait_too_long"
    assert 1.5 < (refused.value.retry_after_s or 0) < 4
    # A tenant that has nobody waiting is next but one.
    other = stage.arrive("other tenant", "a", tenant="other", patience_s=0.5)
    await settle()
    await stage.free("a")
    await stage.free("a")
    assert await other == "a"
    for task in tasks:
        task.cancel()
