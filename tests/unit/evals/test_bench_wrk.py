"""What wrk prints, read; and processor time, counted."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from pointsman.evals.bench.wrk import cpu_ns, read, thread_ns

PRINTED = """Running 4s test @ http://127.0.0.1:1/v1/chat/completions
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.41ms    1.10ms  31.02ms   93.11%
    Req/Sec    13.31k     1.04k   15.02k    77.50%
  Latency Distribution
     50%  612.00us
     75%    2.70ms
     90%    3.20ms
     99%    1.02s
  53004 requests in 4.01s, 29.1MB read
Requests/sec:  13214.21
Transfer/sec:      7.26MB
"""


def test_a_good_run() -> None:
    load = read(PRINTED, 53004 * 70_000)
    assert (load.requests, load.failed, load.per_s) == (53004, 0, 13214.21)
    assert load.p50_ms == pytest.approx(0.612)
    assert load.p99_ms == pytest.approx(1020)
    assert load.cpu_us == pytest.approx(70)


def test_failures_are_counted() -> None:
    bad = PRINTED + "  Socket errors: connect 1, read 2, write 0, timeout 3\n  Non-2xx or 3xx responses: 40\n"
    assert read(bad, 1).failed == 46


def test_what_is_not_wrks_is_an_error() -> None:
    with pytest.raises(ValueError, match="requests in"):
        read("unable to connect", 0)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_processor_time_counts_children_too() -> None:
    before_ns = cpu_ns(os.getpid())
    end_s = time.process_time() + 0.2
    while time.process_time() < end_s:
        pass
    own_ns = cpu_ns(os.getpid()) - before_ns
    assert own_ns >= 0.15e9
    assert thread_ns(os.getpid()) <= cpu_ns(os.getpid())
    busy = [sys.executable, "-c", "while True: pass"]
    with subprocess.Popen(busy) as child:
        before_ns = cpu_ns(os.getpid())
        time.sleep(0.5)
        spent_ns = cpu_ns(os.getpid()) - before_ns
        child.kill()
    assert spent_ns > 0.05e9
