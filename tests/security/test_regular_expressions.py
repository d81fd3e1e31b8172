"""No text of a client or an expert makes a regular expression slow: each takes time in proportion to what it reads.

They are found in the source, so that a new one is tried without anybody thinking of it. What is superlinear is given no
more than so many characters, and is tried at that length.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from pointsman.gateway.dispatch import blame
from pointsman.routers.null_experts import calculator, guards
from pointsman.routers.reading import dump
from pointsman.routers.safety import scorer
from pointsman.routers.selection import flags
from tests.fuzz.patterns import Found, attacks, found

#: File -> the most characters that its expressions are given.
SHORT: Final[Mapping[str, int]] = {
    "gateway/dispatch/blame.py": blame._MOST_CHARS,
    "routers/null_experts/calculator.py": calculator._MOST_CHARS,
    "routers/null_experts/guards.py": guards._MOST_CHARS,
    "routers/reading/dump.py": dump._LINE_CHARS,
    "routers/safety/signs.py": scorer._WHOLE_CHARS,
    "routers/selection/flags.py": flags._REACH_CHARS,
}
#: At which nothing that is bounded may take longer. A thousand of them are tried, so that this is the slowest of all.
SHORT_MS: Final = 100.0
#: Small ones first: what doubles with every character would never come to an end.
SIZES: Final = (4, 8, 12, 16, 20, 24, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384)
#: Below this the clock and the machine say more than the expression does.
TELLING_S: Final = 0.004
#: Four times the text may take so many times as long; a quadratic expression takes sixteen times.
MOST_RATIO: Final = 9.0

ALL: Final = found()


def tried(one: Found) -> list[Callable[[Any], object]]:
    if one.anchored:
        return [one.pattern.match, one.pattern.fullmatch]
    return [lambda text: sum(1 for _ in one.pattern.finditer(text))]


def took_s(call: Callable[[Any], object], text: Any, times: int = 1) -> float:
    """The least CPU time of several."""
    least = float("inf")
    for _ in range(times):
        began_s = time.thread_time()
        call(text)
        least = min(least, time.thread_time() - began_s)
    return least


def superlinear(call: Callable[[Any], object], text_of: Callable[[int], Any]) -> str | None:
    """Where the time grows faster than the text; None where it does not."""
    for size in SIZES:
        least_s = took_s(call, text_of(size))
        if least_s < TELLING_S:
            continue
        least_s, quarter_s = took_s(call, text_of(size), 3), took_s(call, text_of(size // 4), 5)
        if least_s > TELLING_S and least_s > MOST_RATIO * quarter_s:
            return f"{size} characters took {least_s * 1e3:.1f} ms, a quarter of them {quarter_s * 1e3:.2f} ms"
        if least_s > 1.0:
            return f"{size} characters took {least_s:.1f} s"
    return None


def test_those_in_the_source_are_found() -> None:
    files = {one.path for one in ALL}
    assert {"gateway/wire/model_field.py", "routers/evidence/keys.py", "routers/embed/words.py", *SHORT} <= files
    assert len(ALL) > 50


@pytest.mark.slow
@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_none_takes_longer_than_its_text_is_long(one: Found) -> None:
    bound = SHORT.get(one.path)
    for attack in sorted(attacks(one.pattern), key=str):
        for call in tried(one):
            if bound is None:
                slow = superlinear(call, lambda size, attack=attack: attack.text(size, one.pattern.pattern))
                assert slow is None, f"{attack}: {slow}"
            else:
                text = attack.text(bound, one.pattern.pattern)[:bound]
                for size in (8, 16, 24, 32, 64, bound // 4, bound):
                    least_s = took_s(call, text[-size:], 1)
                    if least_s * 1e3 > SHORT_MS:
                        assert took_s(call, text[-size:], 3) * 1e3 < SHORT_MS, attack


@pytest.mark.parametrize("pattern", [r"\s+$", r"(a+)+b", r"\[\s*flag\s*:\s*([^\]]+)\]", r"x*\s*x*y"])
def test_a_slow_one_would_be_seen(pattern: str) -> None:
    import re

    one = Found("here", re.compile(pattern), anchored=False)
    assert any(
        superlinear(call, lambda size, attack=attack: attack.text(size, ""))
        for attack in attacks(one.pattern)
        for call in tried(one)
    )
