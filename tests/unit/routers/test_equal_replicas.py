"""Experts that are equal in all else share the load."""

from __future__ import annotations

import heapq
import random
from collections import Counter

import pytest

from pointsman.experts.backends.fake import FakeExpert
from pointsman.experts.pool import ExpertPool
from tests.unit.routers.pools import assessment, request, spec
from tests.unit.routers.test_two_stage_select import make_router


@pytest.mark.parametrize("per_s", [0.2, 7, 60])
def test_equal_experts_share_the_load_at_every_rate(per_s):
    """Within 10 %, whether calls meet or not; and one that joins later takes no more than its share."""
    now_s, chance, router = 0.0, random.Random(1), make_router()
    pool = ExpertPool([FakeExpert(spec(name)) for name in "abc"], lambda: now_s)
    asked, under_way, counts = assessment(dict.fromkeys("abc", 0.8)), [], Counter()
    for number in range(900):
        now_s += chance.expovariate(per_s)
        while under_way and under_way[0][0] <= now_s:
            heapq.heappop(under_way)[2].finish()
        decision = router.select(asked, request(), pool.snapshot())
        counts[decision.expert] += 1
        flight = pool.begin(decision.expert, stream=False)
        heapq.heappush(under_way, (now_s + chance.expovariate(1.0), number, flight))
    assert all(abs(counts[name] - 300) <= 30 for name in "abc"), counts
