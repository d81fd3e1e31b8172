"""A minute of `make chaos`: no request is lost, and faults of Redis are not felt."""

from __future__ import annotations

from pathlib import Path

import pytest

from pointsman.evals.chaos.load import RequestOutcome
from pointsman.evals.chaos.report import broken_promises, during, page
from pointsman.evals.chaos.run import FAULTS, run


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_every_request_is_accounted_for_through_every_fault(tmp_path: Path) -> None:
    seen = await run(60, 40, tmp_path)
    assert {phase.name for phase in seen.phases} == {"calm", *FAULTS}
    assert all(during(seen, phase) for phase in seen.phases)
    assert {request.outcome for request in seen.requests} >= {RequestOutcome.ANSWERED, RequestOutcome.LEFT}
    # Faults that reached nobody would prove nothing: a hanging expert is waited for before it is given up.
    hanging = next(phase for phase in seen.phases if phase.name == "expert hangs")
    assert max(request.latency_ms for request in during(seen, hanging)) > 900
    assert not broken_promises(seen), page(seen)
