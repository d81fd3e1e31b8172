"""The bench of the decision measures what it says it measures."""

import itertools
import time

import pytest

from pointsman.evals.bench.decide import EVERYTHING, Bench, CallTiming, timed


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(20)


def test_percentiles_of_one_round_by_hand():
    timing = CallTiming.of([float(value) for value in range(1, 102)][::-1])
    assert (timing.p50_us, timing.p99_us, timing.count) == (51.0, 100.0, 101)


def test_the_quietest_round_counts_and_the_loudest_stands_beside_it():
    merged = CallTiming.over(
        [CallTiming(5.0, 5.0, 9.0, 10), CallTiming(3.0, 3.0, 20.0, 10), CallTiming(4.0, 4.0, 4.0, 10)]
    )
    assert merged == CallTiming(3.0, 5.0, 20.0, 10, rounds=3)


def test_only_the_call_is_timed_and_only_its_processor_time():
    def work() -> None:
        time.sleep(0.002)

    def slow_to_make():
        for _ in itertools.count():
            sum(range(20_000))
            yield work

    assert timed(slow_to_make(), 20).p50_us < 1000


def test_prompts_are_new_and_as_long_as_they_say(bench):
    requests = list(itertools.islice(bench.requests(100), 50))
    assert len({request.text for request in requests}) == 50
    lengths = [len(bench.router(1).embedder.static.token_ids(request.text)) for request in requests]
    assert 85 <= sum(lengths) / 50 <= 115


def test_decisions_over_many_experts_find_one(bench):
    for budget in (EVERYTHING, EVERYTHING.__class__()):
        decision = bench.router(40).decide(next(bench.requests(100, budget)), next(bench.views(40)))
        assert decision.expert is not None
        assert len(decision.candidates) == 40
    assert bench.selection(40).p50_us > 0
