"""The parts that every exchange uses, and the exchanges that are open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pointsman.experts.pool import ExpertPool
from pointsman.gateway.access.auth import Keyring
from pointsman.gateway.deciding.decider import Decider
from pointsman.gateway.deciding.null_experts import NullExperts
from pointsman.gateway.deciding.resumption import Resumption
from pointsman.gateway.dispatch.attempts import Attempts
from pointsman.gateway.dispatch.exploration import Exploration
from pointsman.gateway.dispatch.fan_out import FanOut
from pointsman.gateway.dispatch.hedging import Hedging
from pointsman.gateway.record.ledger import Ledger
from pointsman.gateway.telemetry import Telemetry
from pointsman.gateway.wire.cors import CrossOrigin
from pointsman.gateway.wire.large_bodies import BodyLimits, LargeBodies


class OpenExchange(Protocol):
    """A request and its response, begun and not ended."""

    def stop(self) -> None:
        """Break it off."""


@dataclass(slots=True, kw_only=True, eq=False, weakref_slot=True)
class DataPlane:
    """The parts of an exchange; one per App.

    Attributes:
        pool: The experts.
        decider: Decides.
        resumption: Puts the turns that are kept into the requests that go on from them.
        attempts: Asks one expert.
        gathering: Asks several, and compares.
        ledger: Keeps the decisions.
        telemetry: Counts.
        nulls: Told of decisions, and keeps answers; None where there are no null experts.
        exploration: May ask another expert after the client has its answer; None where it never does.
        hedging: May ask a second expert when the first one is late; None where it never does.
        keyring: Who may call.
        max_attempts: How many experts one request may ask, one after the other.
        body_limits: What a body may be.
        large_bodies: Reads what is large.
        max_answer_bytes: Largest answer in one piece.
        max_translated_bytes: Largest answer that is put into another API's words.
        forward: Client headers that travel on to experts, lower case.
        first_event_timeout_s: How long a stream is kept back that has said nothing yet.
        cors: What pages of other origins may do; None for nothing.
        private: By expert, what no error of it may tell a client: its key and its address.
        idle_timeout_s: How long a client may take nothing of an answer that is written to it.
        clock: Monotonic seconds.
        under_way: The exchanges that have begun and not ended.
    """

    pool: ExpertPool
    decider: Decider
    resumption: Resumption
    attempts: Attempts
    gathering: FanOut
    ledger: Ledger
    telemetry: Telemetry
    nulls: NullExperts | None
    exploration: Exploration | None
    hedging: Hedging | None
    keyring: Keyring
    max_attempts: int
    body_limits: BodyLimits
    large_bodies: LargeBodies
    max_answer_bytes: int
    max_translated_bytes: int
    forward: tuple[bytes, ...]
    first_event_timeout_s: float
    cors: CrossOrigin | None
    private: Mapping[str, tuple[str, ...]]
    idle_timeout_s: float
    clock: Callable[[], float]
    under_way: set[OpenExchange] = field(default_factory=set)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self.under_way

    def stop(self) -> None:
        """Break off what is under way."""
        for one in list(self.under_way):
            one.stop()
