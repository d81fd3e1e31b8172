"""A request that goes on from turns which the gateway keeps: the same request with these turns in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import orjson

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.access.caller import EVERY_ID, Caller
from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.shared.conversation_memory import ConversationMemory
from pointsman.gateway.wire.large_bodies import LARGE_BYTES, BodyLimits, LargeBodies
from pointsman.gateway.wire.request import parse_json
from pointsman.gateway.wire.turns import NamedTurn, is_response, lost, may_name_turns, named_turns, with_turns

T = TypeVar("T")


class Resumption:
    """Puts kept turns into the requests that name them. Holds no state of its own beyond its parts.

    Args:
        memory: What is kept here, and what by experts.
        limits: What a body may be; with its turns it may be no larger.
        large: Reads what is large.
    """

    def __init__(self, memory: ConversationMemory, limits: BodyLimits, large: LargeBodies) -> None:
        self._turns = memory.turns
        self._made = memory.made
        self._limits = limits
        self._large = large

    @staticmethod
    def concerns(endpoint: Endpoint, body: bytes) -> bool:
        """Whether a body may name a turn; one that does not is not looked at."""
        return may_name_turns(endpoint, body)

    async def resumed(self, endpoint: Endpoint, body: bytes, caller: Caller) -> tuple[bytes, str | None]:
        """The body with the turns that it names, and the response among them that it names as the one before.

        It stays as it is where it names none of ours.

        Raises:
            RequestRefused: It cannot be read, or names a turn that is not here.
        """
        if not self.concerns(endpoint, body):
            return body, None
        payload = await self._read(caller.tenant, len(body), partial(parse_json, body))
        named = named_turns(endpoint, payload)
        if not named:
            return body, None
        found: dict[str, bytes] = {}
        elsewhere: set[str] = set()
        size = len(body)
        for one in named:
            if one.turn_id in found or one.turn_id in elsewhere:
                continue
            turn = await self._turns.get(caller.tenant, one.turn_id)
            if turn is None:
                # An expert that is a gateway like this one gives ids like these.
                await self._see_elsewhere(one, caller)
                elsewhere.add(one.turn_id)
                continue
            found[one.turn_id] = turn
            size += len(turn)
            if size > self._limits.most_bytes:
                raise RequestRefused(
                    Code.BODY_TOO_LARGE,
                    f"{one.param}: with the turns that it names the request is larger than "
                    f"{self._limits.most_bytes} bytes.",
                    param=one.param,
                )
        if not found:
            return body, None

        def whole() -> bytes:
            return orjson.dumps(with_turns(endpoint, payload, found))

        first = named[0]
        previous = first.value if first.param == "previous_response_id" and first.turn_id in found else None
        return await self._read(caller.tenant, size, whole), previous

    async def kept(self, response_id: str, caller: Caller) -> bytes | None:
        """The turn that a response of ours ends; None where there is none."""
        return await self._turns.get(caller.tenant, response_id) if is_response(response_id) else None

    def forget(self, response_id: str, caller: Caller) -> None:
        """Keep it no longer."""
        self._turns.delete(caller.tenant, response_id)

    async def _see_elsewhere(self, named: NamedTurn, caller: Caller) -> None:
        granted = caller.provider_ids
        if named.value in granted or EVERY_ID in granted:
            return
        if await self._made.maker(caller.tenant, named.value) is None:
            raise lost(named.param, named.value, unreachable=not self._turns.reachable)

    async def _read(self, tenant: str, size_bytes: int, read: Callable[[], T]) -> T:
        return read() if size_bytes < LARGE_BYTES else await self._large.read_request(tenant, read)
