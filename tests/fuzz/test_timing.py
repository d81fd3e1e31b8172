"""No input of a client holds the event loop: the search of `tests/fuzz/timing.py` in short, and what it finds slow.

The bound here is a generous one, for machines that are slow and shared; what 64 kB may take is the long form's to say.
"""

from __future__ import annotations

import random
import re

import pytest

from tests.fuzz.hostile import FORMATS, MOST_BYTES, bent
from tests.fuzz.timing import client_ms, search

GENEROUS_MS = 500.0
TRIES = 40


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_no_input_holds_the_loop(name: str) -> None:
    found = search(FORMATS[name], tries=TRIES, seed=1)
    worst_ms, data = found.worst[0]
    assert found.tries == TRIES
    assert 0.0 < worst_ms < GENEROUS_MS, data[:2000]


@pytest.mark.parametrize("name", FORMATS)
def test_inputs_are_as_long_as_is_said_and_the_same_for_a_seed(name: str) -> None:
    for seed in range(6):
        first, again = (FORMATS[name](random.Random(seed), MOST_BYTES - 1000) for _ in range(2))
        assert first == again
        assert len(first) < 1.2 * MOST_BYTES
        assert len(bent(random.Random(seed), first)) < 1.2 * MOST_BYTES


def test_a_search_goes_where_it_is_slow() -> None:
    """It bends what was worst, and finds the digits that this pattern, and no unit of the words, is slow at."""
    slow = re.compile(rb"\d+x")

    def steps(data: bytes) -> float:
        return float(sum(len(run) ** 2 for run in re.findall(rb"\d+", data)) if slow.search(data) is None else 0)

    found = search(FORMATS["completions"], tries=150, seed=1, measure=steps)
    assert found.worst[0][0] > 10_000
    assert found.worst == sorted(found.worst, reverse=True)


def test_what_holds_the_loop_is_seen() -> None:
    """A body as large as that of some thousand ordinary requests takes some of its time, if not much."""
    body = b'{"model":"nobody","messages":[' + b",".join([b'{"role":"user","content":"a"}'] * 2000) + b"]}"
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    assert 0.1 < client_ms(head + body) < GENEROUS_MS
