"""Whether an expert is healthy, by the results of its calls and probes: a circuit breaker that reads no clock.

closed -> (enough failures in a row) -> open -> (back-off over) -> half-open: one trial call -> closed, or open again
for twice as long.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """When an expert counts as unwell, and for how long.

    Attributes:
        failures_to_open: Failed calls in a row that open the circuit.
        backoff_s: How long the circuit stays open the first time; doubles with every failed trial.
        max_backoff_s: Longest back-off.
        probe_failures: Failed probes in a row that make an expert unhealthy; one good probe makes it healthy again.
    """

    failures_to_open: int = 3
    backoff_s: float = 1.0
    max_backoff_s: float = 30.0
    probe_failures: int = 2


class Circuit:
    """The health of one expert. Every method takes the present time, in seconds of any monotonic clock."""

    __slots__ = (
        "_backoff_s",
        "_detail",
        "_failures",
        "_open_until_s",
        "_policy",
        "_probe_detail",
        "_probes_failed",
        "_trial",
        "_well_once",
    )

    def __init__(self, policy: HealthPolicy) -> None:
        self._policy = policy
        self._failures = 0
        self._open_until_s: float | None = None  # None while the circuit is closed
        self._backoff_s = policy.backoff_s
        self._trial = False
        self._detail = ""
        self._probes_failed = 0
        self._probe_detail = ""
        self._well_once = False

    @property
    def never_well(self) -> bool:
        """Whether it has been asked or probed, and nothing has gone well yet."""
        return not self._well_once and (self._failures > 0 or self._probes_failed > 0)

    @property
    def opens_again_at_s(self) -> float | None:
        """When passing time alone will make the expert callable again; None when it will not."""
        return None if self._trial else self._open_until_s

    def healthy(self, now_s: float) -> bool:
        """Whether a call may be sent: circuit closed, or half-open with no trial under way; and probes not failing."""
        if self._probes_failed >= self._policy.probe_failures:
            return False
        return self._open_until_s is None or (now_s >= self._open_until_s and not self._trial)

    def detail(self, now_s: float) -> str:
        """Why it is not healthy; empty when it is."""
        if self.healthy(now_s):
            return ""
        if self._probes_failed >= self._policy.probe_failures:
            return f"probe: {self._probe_detail}"
        return f"{self._failures} failed calls in a row: {self._detail}"

    def last_problem(self, now_s: float) -> str:
        """Why it is not healthy, or what the latest probe found; empty when neither has anything to say."""
        return self.detail(now_s) or (self._probe_detail if self._probes_failed else "")

    def called(self, now_s: float) -> bool:
        """A call begins. True when it is the trial call of a half-open circuit."""
        if self._open_until_s is not None and now_s >= self._open_until_s and not self._trial:
            self._trial = True
            return True
        return False

    def succeeded(self) -> None:
        """A call went well: whatever was before, the expert works."""
        self._well_once = True
        self._failures = 0
        self._open_until_s = None
        self._trial = False
        self._backoff_s = self._policy.backoff_s
        self._detail = ""

    def failed(self, now_s: float, detail: str, *, trial: bool) -> None:
        """A call failed.

        Args:
            now_s: Present time.
            detail: What happened.
            trial: It was the trial call.
        """
        self._failures += 1
        self._detail = detail
        if trial:
            self._trial = False
            self._backoff_s = min(2 * self._backoff_s, self._policy.max_backoff_s)
            self._open_until_s = now_s + self._backoff_s
        elif self._open_until_s is None and self._failures >= self._policy.failures_to_open:
            self._open_until_s = now_s + self._backoff_s
        # Else calls sent before the circuit opened are still failing: they say nothing new.

    def undecided(self, *, trial: bool) -> None:
        """A call ended without telling anything about the expert (the client left): the next may be the trial."""
        if trial:
            self._trial = False

    def probed(self, problem: str | None) -> None:
        """A probe ended: with a problem, or None when all is well."""
        self._probes_failed = 0 if problem is None else self._probes_failed + 1
        self._probe_detail = problem or ""
        self._well_once |= problem is None
