"""Whether an expert is healthy, by the results of its calls and probes: a circuit breaker that reads no clock.

closed -> (enough failures in a row, or one that only the operator can mend) -> open -> (back-off over) -> half-open:
one trial call -> closed, or open again for twice as long.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """When an expert counts as unwell, and for how long.

    Attributes:
        failures_to_open: Failed calls in a row that open the circuit.
        refusals_to_open: Calls refused in a row that open it, where each refusal may have been of its request alone: so
            many that no single caller's requests are likely to be all of them.
        backoff_s: How long the circuit stays open the first time; doubles with every failed trial.
        max_backoff_s: Longest back-off.
        probe_failures: Failed probes in a row that make an expert unhealthy; one good probe makes it healthy again.
    """

    failures_to_open: int = 3
    refusals_to_open: int = 10
    backoff_s: float = 1.0
    max_backoff_s: float = 30.0
    probe_failures: int = 2


class Circuit:
    """The health of one expert. Every method takes the present time, in seconds of any monotonic clock."""

    __slots__ = (
        "_accused",
        "_backoff_s",
        "_detail",
        "_failures",
        "_open_until_s",
        "_policy",
        "_probe_detail",
        "_probes_failed",
        "_refused",
        "_told",
        "_trial",
        "_well_once",
    )

    def __init__(self, policy: HealthPolicy) -> None:
        self._policy = policy
        self._failures = 0
        self._refused = 0
        self._accused = ""
        self._told: set[str] = set()
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
        return f"{self._failures or self._refused} failed calls in a row: {self._detail}"

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
        self._failures = self._refused = 0
        self._accused = ""
        self._open_until_s = None
        self._trial = False
        self._backoff_s = self._policy.backoff_s
        self._detail = ""

    def failed(self, now_s: float, detail: str, *, trial: bool, mends_itself: bool = True) -> None:
        """A call failed.

        Args:
            now_s: Present time.
            detail: What happened.
            trial: It was the trial call.
            mends_itself: Whether the next call may fare better; else one failure opens the circuit.
        """
        self._failures += 1
        self._detail = detail
        enough = self._failures >= self._policy.failures_to_open or not mends_itself
        if trial:
            self._trial = False
            self._backoff_s = min(2 * self._backoff_s, self._policy.max_backoff_s)
            self._open_until_s = now_s + self._backoff_s
        elif self._open_until_s is None and enough:
            self._open_until_s = now_s + self._backoff_s
        # Else calls sent before the circuit opened are still failing: they say nothing new.

    def refused(self, now_s: float, detail: str, *, trial: bool) -> bool:
        """A call was refused, be it for what it asked or for who asks. Returns whether that opened the circuit.

        Arguments as `failed`.
        """
        self._refused += 1
        if self._refused < self._policy.refusals_to_open:
            self.undecided(trial=trial)
            return False
        opens = self._open_until_s is None
        self.failed(now_s, detail, trial=trial, mends_itself=False)
        return opens

    def accuse(self, what: str) -> bool:
        """Note what only the operator can mend. Returns whether it is news since the last call that went well."""
        news = what != self._accused
        self._accused = what
        return news

    def tell_once(self, what: str) -> bool:
        """Note what the operator may want to know. Returns whether it is news at all."""
        news = what not in self._told
        self._told.add(what)
        return news

    def undecided(self, *, trial: bool) -> None:
        """A call ended without telling anything about the expert (the client left): the next may be the trial."""
        if trial:
            self._trial = False

    def probed(self, problem: str | None) -> None:
        """A probe ended: with a problem, or None when all is well."""
        self._probes_failed = 0 if problem is None else self._probes_failed + 1
        self._probe_detail = problem or ""
        self._well_once |= problem is None
