"""What is learned of an expert's speed: under every load, after a burst, and when it rests."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import pytest

from pointsman.experts.spec import UNSEEN, LatencyModel, Speed
from pointsman.experts.speed import NO_LOAD, Load, SpeedModel
from tests.unit.experts.batch_engine import ANSWERED, ARRIVED, Call, arrivals, serve

CAP_MS = 500.0
#: From idle to saturation, a burst, and back: seconds, calls a second.
DAY = ((60, 0.5), (60, 2), (60, 4), (40, 8), (30, 15), (60, 0.2), (60, 4), (40, 0.05), (60, 1.5))


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A figure that was foreseen, and what came: milliseconds."""

    at_s: float
    expected: float
    worst: float
    came: float

    @property
    def off(self) -> float:
        return abs(self.expected - self.came) / self.came


def watch(model: SpeedModel, calls: list[Call], width: int, *, whole: bool) -> tuple[list[Foreseen], list[Foreseen]]:
    """Have a batch server answer the calls, and the model foresee each one's time to first token, and its latency."""
    met: dict[int, tuple[Load, Speed]] = {}
    first_s: dict[int, float] = {}
    ttft, latency = [], []
    awaiting = 0
    for now_s, event, number in serve(calls, width):
        call = calls[number]
        took_ms = (now_s - call.at_s) * 1000
        if event == ARRIVED:
            load = Load(len(met), awaiting)
            met[number] = (load, model.under(load, now_s))
            awaiting += 0 if whole else call.prompt_tokens
            continue
        load, speed = met[number]
        typical = None if speed.ttft_ms is None else speed.ttft_ms + call.prompt_tokens * speed.prefill_ms_per_token
        if event != ANSWERED:
            first_s[number] = now_s
            if typical is not None:
                ttft.append(Foreseen(call.at_s, typical, typical * speed.ttft_p95_factor, took_ms))
            if not whole:
                awaiting -= call.prompt_tokens
                model.first_byte(load, call.prompt_tokens, took_ms, now_s)
            continue
        del met[number]
        tokens = call.answer_tokens - (0 if whole else 1)
        if typical is not None and speed.tpot_ms is not None:
            worst = typical * speed.ttft_p95_factor + tokens * speed.tpot_ms * speed.tpot_p95_factor
            latency.append(Foreseen(call.at_s, typical + tokens * speed.tpot_ms, worst, took_ms))
        if whole:
            model.whole(load, call.prompt_tokens, tokens, took_ms, now_s)
        elif tokens:
            model.rest(load, tokens, (now_s - first_s[number]) * 1000, now_s)
    return ttft[20:], latency[20:]


@pytest.mark.parametrize("width", [4, 16, 64, 256])
@pytest.mark.parametrize("busier", [0.5, 1, 2])
def test_an_engine_of_any_width_is_foreseen_from_idle_to_saturation(width, busier):
    """Within 20 % at the median, and whom a cap admits breaks it in one case of twenty at the most."""
    calls = arrivals([(seconds, rate * busier) for seconds, rate in DAY], seed=0)
    ttft, latency = watch(SpeedModel(None), calls, width, whole=False)
    for figures in (ttft, latency):
        assert median(one.off for one in figures) <= 0.2
        assert sum(one.came > one.worst for one in figures) <= 0.1 * len(figures)
    admitted = [one for one in ttft if one.worst <= CAP_MS]
    assert len(admitted) > 50
    assert sum(one.came > CAP_MS for one in admitted) <= 0.05 * len(admitted)


def test_whole_answers_teach_too():
    _, latency = watch(SpeedModel(None), arrivals(DAY, seed=0), 16, whole=True)
    assert median(one.off for one in latency) <= 0.2


def test_what_is_stated_counts_until_calls_say_otherwise():
    calls = arrivals(DAY, seed=0)
    for stated in (LatencyModel(500.0, 1.0, 50.0), LatencyModel(5.0, 0.01, 1.0)):
        ttft, _ = watch(SpeedModel(stated), calls, 16, whole=False)
        assert median(one.off for one in ttft) <= 0.2


def test_nobody_has_seen_it():
    assert SpeedModel(LatencyModel(1.0, 1.0, 1.0)).under(NO_LOAD, 5.0) == UNSEEN


def burst(model: SpeedModel, now_s: float) -> float:
    """A minute in which every call waits for seconds because thirty others are in flight."""
    for _ in range(200):
        now_s += 0.3
        model.first_byte(Load(30, 3000), 100, 4000.0, now_s)
        model.rest(Load(30, 3000), 50, 5000.0, now_s)
    return now_s


def test_a_burst_says_nothing_of_the_idle_expert():
    """No call has to correct it: it is the load that was slow, and what was seen before it still holds."""
    model, now_s = SpeedModel(None), 10.0
    for _ in range(5):
        now_s += 1
        model.first_byte(NO_LOAD, 100, 25.0, now_s)
        model.rest(NO_LOAD, 50, 500.0, now_s)
    model.under(NO_LOAD, now_s)
    now_s = burst(model, now_s)
    idle = model.under(NO_LOAD, now_s + 0.2)
    assert idle.ttft_ms + 100 * idle.prefill_ms_per_token <= 50
    assert idle.tpot_ms <= 20
    assert model.under(Load(30, 3000), now_s + 0.2).ttft_ms == pytest.approx(4000, rel=0.3)


def test_an_expert_that_was_slow_for_no_load_of_ours_gets_another_call_in_time():
    """Others use it too: what was seen fades while nobody calls, and one call corrects it either way."""
    model, now_s = SpeedModel(None), 10.0
    model.first_byte(NO_LOAD, 10, 25.0, now_s)
    for _ in range(100):
        now_s += 1
        model.first_byte(NO_LOAD, 10, 3000.0, now_s)
    assert model.under(NO_LOAD, now_s).ttft_ms > 1000
    assert model.holds_until_s(now_s) < now_s + 10, "the snapshot is taken again before a call comes"
    later_s = now_s + 300
    assert model.under(NO_LOAD, later_s).ttft_ms < 100
    model.first_byte(NO_LOAD, 10, 3000.0, later_s)
    assert model.under(NO_LOAD, later_s + 1).ttft_ms > 500


def test_a_figure_that_nothing_contradicts_holds_for_good():
    model = SpeedModel(None)
    for second in range(10):
        model.first_byte(NO_LOAD, 10, 25.0, float(second))
    assert model.holds_until_s(10.0) == math.inf


def test_more_load_is_never_foreseen_to_be_faster():
    model = SpeedModel(None)
    watch(model, arrivals(DAY, seed=3), 16, whole=False)
    now_s = sum(seconds for seconds, _ in DAY) + 1.0
    speeds = [model.under(Load(calls, calls * 50), now_s) for calls in range(0, 300, 7)]
    for before, after in pairwise(speeds):
        assert before.ttft_ms <= after.ttft_ms
        assert before.tpot_ms <= after.tpot_ms


def test_days_of_calls_keep_the_sums_finite():
    model, now_s = SpeedModel(None), 0.0
    for _ in range(300):
        now_s += 3600.0
        model.first_byte(NO_LOAD, 10, 25.0, now_s)
    speed = model.under(NO_LOAD, now_s)
    assert speed.ttft_ms + 10 * speed.prefill_ms_per_token == pytest.approx(25.0, rel=0.1)
