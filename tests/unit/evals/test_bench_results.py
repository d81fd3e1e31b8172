"""The bench's figures: ratios, aims over several runs, JSON, and the page."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import orjson
import pytest

from pointsman.evals.bench.aims import AIMS, FigureBound
from pointsman.evals.bench.page import write_page
from pointsman.evals.bench.pieces import StreamMeasurement
from pointsman.evals.bench.results import REDIS_OFF, Case, Results

AT_LEAST = FigureBound("named", 1.0, True, lambda run: run.ratio("named model"))
AT_MOST = FigureBound("p50", 0.5, False, lambda run: run.added_p50_ms)


def run(named_per_s: float = 90.0, added_p50_ms: float = 0.4) -> Results:
    cases = [
        Case("named model", named_per_s, 1, 2, 60),
        Case("named model" + REDIS_OFF, 120.0, 1, 2, 50),
        Case("sglang-router 1, cache_aware", 80.0, 1, 2, 45),
        Case("sglang-router 1, round_robin", 100.0, 1, 2, 40),
    ]
    pieces = [
        StreamMeasurement("stream", 30.0, 1e4, 1.0, 0.3),
        StreamMeasurement("sglang-router 1, round_robin", 20.0, 1e4, 1.0, 0.3),
    ]
    return Results(2.0, 5, 32, cases, pieces, by_words={20: cases[0]}, added_p50_ms=added_p50_ms)


def aim(name: str) -> FigureBound:
    return next(aim for aim in AIMS if aim.name.startswith(name))


def test_ratios_are_to_sglang_router_with_round_robin() -> None:
    assert run().ratio("named model") == pytest.approx(0.9)
    assert run().cpu_ratio("named model") == pytest.approx(1.5)
    assert run().piece_ratio("stream") == pytest.approx(1.5)
    assert Results(2.0, 5, 32, pieces=run().pieces).piece_ratio("stream") == pytest.approx(1.5)
    alone = Results(2.0, 5, 32, run().cases[:2], run().pieces[:1])
    assert math.isnan(alone.ratio("named model"))
    assert math.isnan(alone.cpu_ratio("named model"))
    assert math.isnan(alone.piece_ratio("stream"))


def test_what_redis_costs_is_processor_time() -> None:
    assert aim("named model, CPU").value(run()) == pytest.approx(1.2)
    assert math.isnan(aim("fresh prompt, CPU").value(run()))


def test_an_aim_is_reached_when_every_run_reaches_it() -> None:
    assert AT_LEAST.verdict([run(100), run(130)]) == "reached"
    assert AT_MOST.verdict([run(added_p50_ms=0.5)]) == "reached"
    assert AT_LEAST.verdict([run(100), run(70), run(90)]) == "missed in 2 of 3 runs, by 30% at worst"
    assert AT_MOST.verdict([run(added_p50_ms=0.6), run(added_p50_ms=0.75)]) == "missed, by 50% at worst"
    assert AT_LEAST.verdict([run(99.9)]) == "missed, barely"


def test_a_run_without_the_figure_says_nothing() -> None:
    assert AT_MOST.verdict([run(added_p50_ms=math.nan)]) == "not measured"
    assert AT_MOST.verdict([run(added_p50_ms=math.nan), run()]) == "reached"


def test_json_brings_a_run_back() -> None:
    written = orjson.dumps(asdict(run()), option=orjson.OPT_NON_STR_KEYS)
    found = Results.read(orjson.loads(written))
    assert (found.cases, found.pieces, found.by_words) == (run().cases, run().pieces, run().by_words)
    assert found.added_p50_ms == 0.4
    assert math.isnan(found.ready_s)


def test_the_page_has_every_run_beside_the_aims(tmp_path: Path) -> None:
    last = run(105)
    last.profile = {"named model": {"kernel: writes": 20.0, "event loop": 5.0}, "auto": {"event loop": 7.0}}
    write_page([run(90), last], tmp_path)
    page = (tmp_path / "speed.md").read_text("utf-8")
    assert "throughput of sglang-router's | at least 1 | 0.90 | 1.05 | missed in 1 of 2 runs, by 10% at worst |" in page
    assert "| kernel: writes | 20.0 | 0.0 |" in page
    assert "| together | 25.0 | 7.0 |" in page
    assert "| stream | 30.0 | 1.50 |" in page
    assert (tmp_path / "figures" / "speed.svg").exists()
