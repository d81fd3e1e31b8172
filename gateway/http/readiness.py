"""Whether requests can be answered: for probes in a word, for operators with what stands in the way."""

from __future__ import annotations

from typing import Any

from pointsman.gateway.runtime import Runtime


def can_answer(runtime: Runtime) -> bool:
    """Whether some expert can answer now, as far as calls and probes have told."""
    if runtime.pool.unreachable:
        return False
    return any(state.healthy and state.awake for _, state in runtime.pool.snapshot().entries)


async def readiness(runtime: Runtime, *, inside: bool) -> tuple[int, dict[str, Any]]:
    """The HTTP status, and what to say.

    Args:
        runtime: What serves.
        inside: Whether the caller may know the experts, how they fare, and what became of the last change of the
            settings.
    """
    serving = can_answer(runtime)
    body: dict[str, Any] = {"status": "ready" if serving else "no expert is healthy"}
    if inside:
        entries = runtime.pool.snapshot().entries
        body["experts"] = {spec.name: "ok" if state.healthy else state.detail or "unhealthy" for spec, state in entries}
        # Redis is reported, not required: requests go on without it.
        body["redis"] = "off" if runtime.store is None else "ok" if await runtime.store.ping() else "unreachable"
        body["settings"] = runtime.configuration.to_dict()
    return (200 if serving else 503), body
