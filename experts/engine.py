"""The server behind one or more experts: a base model and its adapters wait in one queue and run in one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pointsman.experts.spec import LatencyModel
from pointsman.experts.speed import Load, SpeedModel

if TYPE_CHECKING:
    from pointsman.experts.flight import Member


class EngineLoad:
    """What all experts of one engine make of its load and its speed.

    Args:
        stated: Its latency without load as the operator states it of the first of them, None where not stated.

    Attributes:
        in_flight: Calls from here, dispatched and not yet finished.
        elsewhere: Calls that other replicas of the gateway have in flight, as far as they say so.
        awaiting_tokens: Prompt tokens of the calls from here that stream and wait for their first byte.
        speed: Learned from all its calls.
    """

    __slots__ = ("_members", "awaiting_tokens", "elsewhere", "in_flight", "speed")

    def __init__(self, stated: LatencyModel | None) -> None:
        self.in_flight = 0
        self.elsewhere = 0
        self.awaiting_tokens = 0
        self.speed = SpeedModel(stated)
        self._members: tuple[Member, ...] = ()

    def join(self, member: Member) -> None:
        """One more expert runs on it."""
        self._members = (*self._members, member)

    def leave(self, member: Member) -> None:
        """One is gone."""
        self._members = tuple(one for one in self._members if one is not member)

    @property
    def load(self) -> Load:
        """What one more call would meet."""
        return Load(self.in_flight + self.elsewhere, self.awaiting_tokens)

    def changed(self) -> None:
        """What its experts said of their state no longer holds."""
        for member in self._members:
            member.changed = True

    def tell(self) -> None:
        """Notify the listeners of all its experts that there may be room."""
        for member in self._members:
            for freed in member.watchers:
                freed(member.spec.name)
