"""Nothing that a client or an expert says holds the event loop: the search of `tests/fuzz/timing.py` in short.

The bound here is a generous one, for machines that are slow and shared; what 64 kB may take is the long form's to say.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator

import pytest

from tests.fuzz.growth import Make, Shape, search
from tests.fuzz.held import MeasuredLoop, once_ms
from tests.fuzz.hostile import MOST_BYTES
from tests.fuzz.measured_gateway import ExpertHold, client_ms
from tests.fuzz.timing import SIDES, measure_of

GENEROUS_MS = 500.0
TRIES = 60


def formats() -> Iterator[object]:
    for side, makes in SIDES.items():
        for name, make in makes.items():
            yield pytest.param(side, name, make, id=f"{side}-{name}")


every = pytest.mark.parametrize(("side", "name", "make"), list(formats()))


@pytest.mark.slow
@every
def test_no_input_holds_the_loop(side: str, name: str, make: Make) -> None:
    measure = measure_of(side, name)
    found = search(make, measure, tries=TRIES, seed=1)
    worst_ms, _, shape, size = found.worst[0]
    assert found.tries == TRIES
    assert 0.0 < worst_ms < GENEROUS_MS, shape.sized(make, size)[:2000]
    if isinstance(measure, ExpertHold):
        assert measure.asked >= TRIES, "the answers were to be read"


@every
def test_inputs_are_as_long_as_is_said_and_the_same_for_a_seed(side: str, name: str, make: Make) -> None:
    for seed in range(6):
        shape = Shape(seed, (seed, seed + 1))
        first, again = (shape.sized(make, MOST_BYTES - 1000) for _ in range(2))
        assert first == again
        assert len(first) < 1.4 * MOST_BYTES
        assert len(make(random.Random(seed), MOST_BYTES - 1000)) < 1.4 * MOST_BYTES


def cost_of_digits(data: bytes) -> float:
    """That of a pattern that begins anew at every digit, in steps."""
    return 1e-4 * sum(len(run) ** 2 for run in re.findall(rb"\d+", data))


def test_a_search_goes_where_it_is_slow() -> None:
    """It finds the digits that this pattern, and no unit of the words, is slow at, and tries them in full."""
    found = search(SIDES["clients"]["completions"], cost_of_digits, tries=150, seed=1)
    assert found.worst[0][0] > 10
    assert found.worst == sorted(found.worst, reverse=True)
    assert 0 < found.full < 75


def test_what_is_slow_in_full_alone_is_foreseen_from_little() -> None:
    """Half a millisecond in 4 kB is 128 in 64, where it grows with the square: few are tried there, and it is one."""

    def make(rnd: random.Random, size: int) -> bytes:
        return b"x" * size if rnd.random() < 0.9 else b"1" * size

    def measure(data: bytes) -> float:
        each = 128.0 / MOST_BYTES**2 if data[:1] == b"1" else 0.0
        return 0.3 + each * len(data) ** 2

    found = search(make, measure, tries=300, seed=1)
    assert found.worst[0][0] > 100
    assert found.full < 150


def test_what_holds_the_loop_is_seen() -> None:
    """A body as large as that of some thousand ordinary requests takes some of its time, if not much."""
    body = b'{"model":"nobody","messages":[' + b",".join([b'{"role":"user","content":"a"}'] * 2000) + b"]}"
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    assert 0.1 < client_ms(head + body) < GENEROUS_MS


@pytest.mark.parametrize("name", SIDES["experts"])
def test_what_experts_say_is_read(name: str) -> None:
    """They are asked each time, whatever they said before, and whatever was kept."""
    measure = ExpertHold(name)
    broken = b"\x00HTTP/1.1 502 No\r\ncontent-length: 0\r\n\r\n"
    for number, answer in enumerate([broken] * 10 + [b"\x01HTTP/1.1 200 OK\r\n\r\n{}"] * 3, 1):
        assert 0.0 < measure(answer) < GENEROUS_MS
        assert measure.asked >= number


def test_the_loop_waits_for_nothing() -> None:
    """An hour passes at once, and what is called after it is called in the order of its time."""
    loop = MeasuredLoop()
    said: list[str] = []

    async def wait(_: bytes) -> None:
        loop.call_later(7200, said.append, "late")
        loop.call_later(1800, said.append, "early")
        await asyncio.sleep(3600)
        said.append("between")

    assert once_ms(wait, b"", loop) < GENEROUS_MS
    assert said == ["early", "between"]
    loop.close()
