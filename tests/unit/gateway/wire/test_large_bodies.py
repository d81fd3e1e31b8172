"""Large bodies are read one after the other, and whoever sends many of them makes its own wait."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from pointsman.gateway.wire.large_bodies import LargeBodies


class Read:
    """What is read, in order, once the first one may go on."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.threads: set[int] = set()
        self.go_on = threading.Event()

    def __call__(self, name: str) -> str:
        self.go_on.wait(30)
        self.names.append(name)
        self.threads.add(threading.get_ident())
        return name.upper()


async def test_tenants_and_experts_take_turns() -> None:
    large, read = LargeBodies(), Read()
    # A tenant and an expert of one name are two.
    waiting = [large.read_answer("a", partial(read, f"answer {number}")) for number in range(4)]
    waiting += [large.read_request("a", partial(read, f"request {number}")) for number in range(2)]
    waiting += [large.read_answer("b", partial(read, "other answer"))]
    read.go_on.set()
    assert await asyncio.gather(*waiting) == [
        *("ANSWER 0", "ANSWER 1", "ANSWER 2", "ANSWER 3"),
        *("REQUEST 0", "REQUEST 1", "OTHER ANSWER"),
    ]
    assert read.names == [
        *("answer 0", "answer 1", "request 0", "other answer"),
        *("answer 2", "request 1", "answer 3"),
    ]
    assert len(read.threads) == 1
    assert read.threads.isdisjoint({threading.get_ident()})


async def test_what_nobody_waits_for_is_not_read() -> None:
    large, read = LargeBodies(), Read()
    first = large.read_answer("a", partial(read, "first"))
    left = large.read_answer("a", partial(read, "left"))
    last = large.read_answer("a", partial(read, "last"))
    left.cancel()
    first.cancel()  # while it is read
    read.go_on.set()
    assert await last == "LAST"
    assert read.names == ["first", "last"]


async def test_an_error_is_told_and_ends_nothing() -> None:
    large, read = LargeBodies(), Read()
    read.go_on.set()
    failing = large.read_answer("a", lambda: 1 // 0)
    after = large.read_answer("a", partial(read, "after"))
    with pytest.raises(ZeroDivisionError):
        await failing
    assert await after == "AFTER"
