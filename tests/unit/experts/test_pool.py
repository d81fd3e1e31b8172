"""The pool: load that is counted on every path, figures that are observed, health that recovers."""

from __future__ import annotations

import asyncio
import random

import pytest

from pointsman.experts.backends.fake import FakeExpert
from pointsman.experts.errors import ExpertMisconfigured, ExpertSaturated, ExpertUnavailable
from pointsman.experts.health import HealthPolicy
from pointsman.experts.pool import ExpertPool, ProbePolicy
from pointsman.experts.protocols import ExpertCall
from pointsman.experts.spec import UNSEEN, ExpertSpec, ExpertState, Usage


class Clock:
    """Time that passes when it is told to."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class Moody(FakeExpert):
    """A fake whose starting, probing and closing can go wrong too."""

    problem: str | None = None
    start_error: Exception | None = None
    probe_takes_s = 0.0
    probe_error: Exception | None = None
    probes = 0
    closed = 0

    async def start(self) -> None:
        if self.start_error is not None:
            raise self.start_error

    async def probe(self) -> str | None:
        self.probes += 1
        await asyncio.sleep(self.probe_takes_s)
        if self.probe_error is not None:
            raise self.probe_error
        return self.problem

    async def aclose(self) -> None:
        self.closed += 1


def moody(name: str) -> Moody:
    return Moody(ExpertSpec(name, "fake", "m"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


POLICY = HealthPolicy(failures_to_open=3, backoff_s=1.0, max_backoff_s=4.0, probe_failures=2)


@pytest.fixture
def pool(clock: Clock) -> ExpertPool:
    return ExpertPool([moody("a"), moody("b")], clock, POLICY, ProbePolicy(timeout_s=0.05))


def state(pool: ExpertPool, name: str = "a") -> ExpertState:
    return {spec.name: found for spec, found in pool.snapshot().entries}[name]


def fail(pool: ExpertPool, times: int = 1, name: str = "a") -> None:
    for _ in range(times):
        pool.begin(name, stream=False).fail(ExpertUnavailable(name, "gone"))


def succeed(pool: ExpertPool, name: str = "a") -> None:
    pool.begin(name, stream=False).finish()


def test_experts_are_found_by_name_in_the_operators_order(pool: ExpertPool) -> None:
    assert pool["b"].spec.name == "b"
    assert "b" in pool
    assert "c" not in pool
    assert len(pool) == 2
    assert [expert.spec.name for expert in pool] == [spec.name for spec in pool.specs] == ["a", "b"]
    with pytest.raises(KeyError):
        pool["c"]
    with pytest.raises(KeyError):
        pool.begin("c", stream=False)


def test_two_experts_of_one_name_are_refused(clock: Clock) -> None:
    with pytest.raises(ValueError, match="'a'"):
        ExpertPool([moody("a"), moody("a")], clock)


def test_the_snapshot_is_the_same_object_until_something_changes(pool: ExpertPool, clock: Clock) -> None:
    view = pool.snapshot()
    assert view.taken_at_s == 100.0
    assert [spec.name for spec, _ in view.entries] == ["a", "b"]
    clock.advance(5)
    assert pool.snapshot() is view
    flight = pool.begin("b", stream=False)
    changed = pool.snapshot()
    assert changed is not view
    assert changed.taken_at_s == 105.0
    assert changed.entries[0][1] is view.entries[0][1], "nothing has changed about a"
    flight.finish()
    assert pool.snapshot() is not changed
    assert view.entries[1][1].in_flight == 0, "a snapshot never changes"


async def test_a_call_is_in_flight_until_it_has_landed_however_it_ends(pool: ExpertPool) -> None:
    for ending in ("finish", "cancel"):
        flight = pool.begin("a", stream=True)
        assert state(pool).in_flight == 1
        getattr(flight, ending)()
        getattr(flight, ending)()
        flight.cancel()
        assert state(pool).in_flight == 0
    with pytest.raises(ExpertUnavailable), pool.begin("a", stream=True):
        raise ExpertUnavailable("a", "gone")
    with pytest.raises(RuntimeError), pool.begin("a", stream=True):
        raise RuntimeError("a fault of ours")
    with pool.begin("a", stream=True):
        pass

    async def forever() -> None:
        with pool.begin("a", stream=True):
            await asyncio.sleep(60)

    tasks = [asyncio.create_task(forever()) for _ in range(3)]
    await asyncio.sleep(0)
    assert state(pool).in_flight == 3
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert state(pool).in_flight == 0
    counts = pool.counts("a")
    assert (counts.succeeded, counts.failed, counts.cancelled) == (2, 1, 5)


def test_speed_is_learned_from_streams_and_from_whole_answers(pool: ExpertPool, clock: Clock) -> None:
    def streamed(ttft_s: float, rest_s: float, tokens: int | None, prompt_tokens: int | None = 0) -> None:
        flight = pool.begin("a", stream=True, prompt_tokens=prompt_tokens)
        assert flight.ttft_ms is None
        clock.advance(ttft_s)
        flight.first_byte()
        clock.advance(rest_s)
        flight.first_byte()
        assert flight.ttft_ms == pytest.approx(ttft_s * 1000)
        flight.finish(None if tokens is None else Usage(0, tokens))

    assert state(pool).speed == UNSEEN
    streamed(0.1, 0.5, 11, prompt_tokens=None)
    assert state(pool).speed.ttft_ms is not None, "its tokens say something"
    streamed(0.1, 0.5, 11)
    clock.advance(1)
    for _ in range(5):
        streamed(0.1, 0.5, 11)
        clock.advance(1)
    seen = state(pool).speed
    assert (seen.ttft_ms, seen.tpot_ms) == (pytest.approx(100, rel=0.05), pytest.approx(50, rel=0.05))
    streamed(0.1, 1.0, None)
    streamed(0.1, 9.0, 1)
    clock.advance(1)
    assert state(pool).speed.tpot_ms == pytest.approx(50, rel=0.05), (
        "without a count, or of one token, there is no pace"
    )
    for _ in range(20):
        flight = pool.begin("b", stream=False, prompt_tokens=10)
        clock.advance(2)
        flight.first_byte()
        flight.finish(Usage(10, 100))
        clock.advance(1)
    whole = state(pool, "b").speed
    assert whole.ttft_ms + 10 * whole.prefill_ms_per_token + 100 * whole.tpot_ms == pytest.approx(2000, rel=0.05)


def test_a_stream_that_came_in_one_piece_says_nothing_of_its_first_token(pool: ExpertPool, clock: Clock) -> None:
    for number in range(40):
        flight = pool.begin("a", stream=True, prompt_tokens=10)
        clock.advance(0.02)
        at_once = number % 2
        clock.advance(0.5 * at_once)
        flight.first_byte()
        clock.advance(0.5 * (1 - at_once))
        flight.finish(Usage(10, 100))
        clock.advance(1)
    seen = state(pool).speed
    assert seen.ttft_ms + 10 * seen.prefill_ms_per_token == pytest.approx(20, abs=5)
    assert seen.tpot_ms == pytest.approx(5, rel=0.1)


def test_a_base_model_and_its_adapters_share_their_engines_load_and_speed(clock: Clock) -> None:
    def on(name: str, engine: str) -> FakeExpert:
        return FakeExpert(ExpertSpec(name, "fake", "m", engine=engine, max_concurrency=4))

    base, adapter, other = on("base", "gpu-0"), on("adapter", "gpu-0"), on("other", "")
    pool, freed = ExpertPool([base, adapter, other], clock), []
    pool.watch(freed.append)
    flights = [pool.begin("base", stream=True, prompt_tokens=100) for _ in range(4)]
    assert [state(pool, name).in_flight for name in ("base", "adapter", "other")] == [4, 4, 0]
    assert (pool.has_room("adapter"), pool.has_room("other")) == (False, True)
    assert pool.in_flight() == {"base": 4, "adapter": 0, "other": 0}, "others are told of each one's own"
    pool.busy_elsewhere({"adapter": 2})
    assert state(pool, "base").in_flight == 6
    pool.busy_elsewhere({})
    clock.advance(0.5)
    flights[0].first_byte()
    flights[0].finish(Usage(100, 1))
    assert set(freed) == {"base", "adapter"}, "a call that waits for the adapter may go"
    assert pool.has_room("adapter")
    assert state(pool, "adapter").speed.ttft_ms is not None
    assert state(pool, "other").speed == UNSEEN
    # After a reload with another adapter, what is left of the old ones still counts.
    later = on("later", "gpu-0")
    after = ExpertPool([base, later], clock, before=pool)
    assert state(after, "later").in_flight == 3
    for flight in flights:
        flight.cancel()
    assert state(after, "later").in_flight == 0


def test_what_waits_for_its_first_byte_is_counted_on_every_path(pool: ExpertPool, clock: Clock) -> None:
    """Whether it comes, or the call ends without it."""
    member = pool.member_of(pool["a"])
    calls = [pool.begin("a", stream=True, prompt_tokens=100) for _ in range(4)]
    assert member.engine.awaiting_tokens == 400
    calls[0].first_byte()
    calls[1].cancel()
    calls[2].fail("it broke")
    assert member.engine.awaiting_tokens == 100
    for flight in calls:
        flight.finish()
        flight.first_byte()
    assert (member.engine.awaiting_tokens, member.in_flight) == (0, 0)


def test_the_figures_of_error_pages_are_not_those_of_answers(pool: ExpertPool, clock: Clock) -> None:
    flight = pool.begin("a", stream=True)
    flight.head(400)
    clock.advance(0.001)
    flight.first_byte()
    flight.finish()
    assert state(pool).speed == UNSEEN
    assert pool.counts("a").succeeded == 1


def test_failures_in_a_row_open_the_circuit_for_a_while(pool: ExpertPool, clock: Clock) -> None:
    fail(pool, 2)
    succeed(pool)
    fail(pool, 2)
    assert state(pool).healthy, "not in a row"
    fail(pool)
    assert not state(pool).healthy
    assert state(pool).detail == "3 failed calls in a row: gone"
    assert state(pool, "b").healthy
    clock.advance(0.9)
    assert not state(pool).healthy
    clock.advance(0.2)
    assert state(pool).healthy, "time alone makes it worth a trial"
    assert state(pool).detail == ""


def test_one_trial_at_a_time_and_longer_waits_after_each(pool: ExpertPool, clock: Clock) -> None:
    fail(pool, 3)
    for backoff_s in (1.0, 2.0, 4.0, 4.0):
        clock.advance(backoff_s - 0.01)
        assert not state(pool).healthy
        clock.advance(0.02)
        assert state(pool).healthy
        trial = pool.begin("a", stream=False)
        assert not state(pool).healthy, "one trial is enough"
        trial.fail(ExpertUnavailable("a", "still gone"))
        assert not state(pool).healthy
    clock.advance(4.01)
    succeed(pool)
    assert state(pool).healthy
    fail(pool, 3)
    clock.advance(1.01)
    assert state(pool).healthy, "the back-off begins anew"


def test_a_trial_that_the_client_left_decides_nothing(pool: ExpertPool, clock: Clock) -> None:
    fail(pool, 3)
    clock.advance(1.01)
    trial = pool.begin("a", stream=False)
    assert not state(pool).healthy
    trial.cancel()
    assert state(pool).healthy


def test_stragglers_of_a_bad_time_do_not_prolong_it(pool: ExpertPool, clock: Clock) -> None:
    flights = [pool.begin("a", stream=False) for _ in range(10)]
    for flight in flights[:3]:
        flight.fail("gone")
    clock.advance(0.5)
    for flight in flights[3:]:
        flight.fail("gone")
    clock.advance(0.51)
    assert state(pool).healthy


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, (3, 0, 0)),
        (404, (3, 0, 0)),
        (429, (0, 0, 3)),
        *((status, (0, 3, 0)) for status in (307, 402, 408, 425, 500, 503, 529)),
    ],
)
def test_what_a_status_says_about_an_expert(pool: ExpertPool, status: int, expected: tuple[int, int, int]) -> None:
    for _ in range(3):
        flight = pool.begin("a", stream=False)
        flight.head(status)
        flight.finish()
    counts = pool.counts("a")
    assert (counts.succeeded, counts.failed, counts.cancelled) == expected
    assert state(pool).healthy is (counts.failed == 0)
    assert counts.failed == 0 or f"HTTP {status}" in state(pool).detail


def test_what_only_the_operator_can_mend_opens_the_circuit_at_once(pool: ExpertPool, clock: Clock) -> None:
    pool.begin("a", stream=False).fail("HTTP 401", mends_itself=False)
    assert not state(pool).healthy
    clock.advance(1.01)
    succeed(pool)
    pool.begin("a", stream=False).fail(ExpertMisconfigured("a", "no key"))
    assert not state(pool).healthy
    clock.advance(1.01)
    pool.begin("a", stream=False).fail("HTTP 401", mends_itself=False)
    clock.advance(1.01)
    assert not state(pool).healthy, "a trial that fails makes it wait twice as long"


def test_it_is_news_once_until_a_call_goes_well(pool: ExpertPool) -> None:
    assert pool.begin("a", stream=False).accuse("key")
    assert not pool.begin("a", stream=False).accuse("key")
    assert pool.begin("a", stream=False).accuse("model")
    assert pool.begin("b", stream=False).accuse("key")
    succeed(pool)
    assert pool.begin("a", stream=False).accuse("model")


def test_refusals_that_may_be_of_the_requests_open_the_circuit_after_many_in_a_row(
    pool: ExpertPool, clock: Clock
) -> None:
    for _ in range(3):
        for _ in range(9):
            assert not pool.begin("a", stream=False).refuse("HTTP 403")
        succeed(pool)
    for _ in range(9):
        assert not pool.begin("a", stream=False).refuse("HTTP 403")
    assert state(pool).healthy
    assert pool.begin("a", stream=False).refuse("HTTP 403")
    assert not state(pool).healthy
    assert "10 failed calls in a row: HTTP 403" not in state(pool, "b").detail
    clock.advance(1.01)
    assert not pool.begin("a", stream=False).refuse("HTTP 403"), "nobody hears of it again"
    assert not state(pool).healthy
    clock.advance(2.01)
    succeed(pool)
    assert state(pool).healthy


def test_a_refused_trial_that_says_nothing_leaves_the_next_call_to_tell(pool: ExpertPool, clock: Clock) -> None:
    fail(pool, 3)
    clock.advance(1.01)
    pool.begin("a", stream=False).refuse("HTTP 403")
    assert state(pool).healthy, "half open, and nobody is on trial"


def test_an_expert_without_a_limit_is_never_full(clock: Clock) -> None:
    pool = ExpertPool([FakeExpert(ExpertSpec("a", "fake", "a"))], clock)
    flights = [pool.begin("a", stream=False) for _ in range(1000)]
    assert pool.has_room("a")
    assert pool.all_ready
    for flight in flights:
        flight.cancel()


def test_an_expert_that_refuses_for_load_is_not_sick(pool: ExpertPool) -> None:
    for _ in range(5):
        pool.begin("a", stream=False).fail(ExpertSaturated("a", "full"))
    assert state(pool).healthy


def test_sleep(pool: ExpertPool) -> None:
    pool.keep_awake(["b"])
    assert (state(pool, "a").awake, state(pool, "b").awake) == (False, True)
    pool.keep_awake(None)
    assert (state(pool, "a").awake, state(pool, "b").awake) == (True, True)
    with pytest.raises(KeyError, match="nobody"):
        pool.keep_awake(["a", "nobody"])


async def test_probes_judge_after_some_and_forgive_at_once(pool: ExpertPool) -> None:
    expert = pool["a"]
    assert isinstance(expert, Moody)
    expert.problem = "HTTP 503"
    assert await pool.probe("a") == "HTTP 503"
    assert state(pool).healthy, "once is no proof"
    await pool.probe("a")
    assert not state(pool).healthy
    assert state(pool).detail == "probe: HTTP 503"
    expert.problem = None
    assert await pool.probe("a") is None
    assert state(pool).healthy


async def test_a_probe_that_hangs_has_failed(pool: ExpertPool) -> None:
    expert = pool["a"]
    assert isinstance(expert, Moody)
    expert.probe_takes_s = 60
    for _ in range(2):
        assert await pool.probe("a") == "no answer within 0.05 s"
    assert not state(pool).healthy


async def test_a_good_probe_does_not_close_a_circuit_that_calls_have_opened(pool: ExpertPool) -> None:
    fail(pool, 3)
    assert await pool.probe("a") is None
    assert not state(pool).healthy, "a page that says all is well is not an answer"


async def test_probes_in_the_background_go_on_at_their_interval(clock: Clock) -> None:
    experts = [moody("a"), moody("b")]
    probes = ProbePolicy(interval_s=0.02, jitter=0.5, timeout_s=1)
    pool = ExpertPool(experts, clock, POLICY, probes, random.Random(1))
    experts[1].probe_error = ZeroDivisionError("a bug in somebody's backend")
    task = asyncio.create_task(pool.run_probes())
    await asyncio.sleep(0.3)
    assert not task.done()
    assert (state(pool, "a").healthy, state(pool, "b").healthy) == (True, False)
    assert all(5 <= expert.probes <= 31 for expert in experts)
    assert "a bug in somebody's backend" in state(pool, "b").detail
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_all_are_closed_when_one_cannot_start(clock: Clock) -> None:
    good, bad, worse = moody("good"), moody("bad"), moody("worse")
    bad.start_error = ExpertMisconfigured("bad", "no key")
    worse.start_error = ExpertMisconfigured("worse", "no file")
    pool = ExpertPool([good, bad, worse], clock)
    with pytest.raises(ExpertMisconfigured, match="bad: no key") as caught:
        await pool.start()
    assert caught.value.__notes__ == ["worse: no file"]
    assert [expert.closed for expert in (good, bad, worse)] == [1, 1, 1]


async def test_calls_of_many_at_once_leave_nothing_behind(pool: ExpertPool, clock: Clock) -> None:
    chance = random.Random(3)

    async def one(call: ExpertCall | None = None) -> None:
        with pool.begin(chance.choice("ab"), stream=bool(chance.randrange(2))) as flight:
            await asyncio.sleep(chance.random() * 0.01)
            flight.head(chance.choice((200, 200, 429, 500)))
            if chance.randrange(4) == 0:
                raise ExpertUnavailable("a", "gone")
            flight.first_byte()
            if chance.randrange(2):
                flight.finish(Usage(1, chance.randrange(5)))

    tasks = [asyncio.create_task(one()) for _ in range(300)]
    for task in chance.sample(tasks, 60):
        asyncio.get_running_loop().call_later(chance.random() * 0.01, task.cancel)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [state(pool, name).in_flight for name in "ab"] == [0, 0]
    ended = [pool.counts(name) for name in "ab"]
    begun = sum(counts.succeeded + counts.failed + counts.cancelled for counts in ended)
    assert 240 <= begun <= 300, "those cancelled before they began are in no count"
