"""A batch server on a simulated clock, as vLLM works: continuous batching, and prompts read in chunks."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ARRIVED, FIRST_TOKEN, ANSWERED = range(3)

Event = tuple[float, int, int]
"""When, what, and the number of the call."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes:
        at_s: When it arrives.
        prompt_tokens, answer_tokens: Its lengths.
    """

    at_s: float
    prompt_tokens: int
    answer_tokens: int


@dataclass(slots=True)
class _Running:
    number: int
    unread: int
    unwritten: int


def arrivals(phases: Sequence[tuple[float, float]], seed: int) -> list[Call]:
    """Poisson arrivals with lengths that vary widely.

    Args:
        phases: Pairs of how many seconds at how many calls a second.
        seed: Of everything.
    """
    chance, at_s, end_s, calls = random.Random(seed), 0.0, 0.0, []
    for seconds, rate in phases:
        end_s += seconds
        while (at_s := at_s + chance.expovariate(rate)) < end_s:
            prompt = min(3000, max(5, int(chance.lognormvariate(4.5, 1.2))))
            answer = min(400, max(2, int(chance.lognormvariate(3.6, 0.8))))
            calls.append(Call(at_s, prompt, answer))
        at_s = end_s
    return calls


def serve(calls: Sequence[Call], width: int, seed: int = 1) -> Iterator[Event]:
    """What happens to the calls, in order of time.

    A step takes 8 ms, 1.5 ms for every answer that it writes on, and 80 µs for every prompt token that it reads (2048
    at the most), give or take 10 %.

    Args:
        calls: In the order of their arrival.
        width: Calls that run at once; others wait.
        seed: Of the steps' times.
    """
    chance, now_s, next_call = random.Random(seed), 0.0, 0
    waiting: list[int] = []
    running: list[_Running] = []
    events: list[Event] = []
    while next_call < len(calls) or waiting or running:
        if not waiting and not running:
            now_s = max(now_s, calls[next_call].at_s)
        while next_call < len(calls) and calls[next_call].at_s <= now_s:
            events.append((calls[next_call].at_s, ARRIVED, next_call))
            waiting.append(next_call)
            next_call += 1
        while waiting and len(running) < width:
            call = calls[waiting[0]]
            running.append(_Running(waiting.pop(0), call.prompt_tokens, call.answer_tokens))
        writing = [one for one in running if not one.unread]
        room = 2048 - len(writing)
        read = 0
        for one in running:
            part = min(one.unread, room - read)
            one.unread -= part
            read += part
        now_s += (0.008 + 0.0015 * len(writing) + 0.00008 * read) * chance.uniform(0.9, 1.1)
        for one in running:
            if one.unread:
                continue
            if one not in writing:
                events.append((now_s, FIRST_TOKEN, one.number))
            one.unwritten -= 1
            if not one.unwritten:
                events.append((now_s, ANSWERED, one.number))
        running = [one for one in running if one.unwritten]
    return iter(sorted(events))
