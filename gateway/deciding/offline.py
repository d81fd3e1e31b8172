"""A request decided without a server: what `pointsman route` and the Python API put to a router."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.ids import DecisionIds
from pointsman.gateway.wire.budget import parse_budget
from pointsman.gateway.wire.fields import invalid
from pointsman.gateway.wire.flags import take_flags
from pointsman.gateway.wire.request import AUTO, Inbound, parse_inbound
from pointsman.routers.conversation import Turn, recall
from pointsman.routers.protocols import RouterProtocol
from pointsman.routers.selection.flags import FlagPositions
from pointsman.routers.types import Assessment, Budget, RouteRequest


@dataclass(frozen=True, slots=True)
class OfflineRequest:
    """One chat as the gateway would read it.

    Attributes:
        inbound: The parsed chat, without flags.
        request: The same as the router reads it.
    """

    inbound: Inbound
    request: RouteRequest

    @classmethod
    def read(
        cls, chat: Mapping[str, Any], routing: Mapping[str, Any], default: Budget, *, flags: FlagPositions
    ) -> OfflineRequest:
        """Read a chat as `POST /v1/chat/completions` does.

        Args:
            chat: The body without `model`.
            routing: What the body's `routing` object would hold.
            default: The budget of a request that states none.
            flags: Where in a turn goals may be written into the prompt.

        Raises:
            RequestRefused: A field is malformed; the error names it.
        """
        try:
            body = orjson.dumps({"model": AUTO, **chat})
        except orjson.JSONEncodeError as error:
            raise ValueError(f"the messages are not JSON: {error}") from None
        inbound = parse_inbound(Endpoint.CHAT, body)
        if inbound.work.unread_limit is not None:
            # There is no expert behind it to judge.
            raise invalid(inbound.work.unread_limit, "a whole number of at least 1")
        budget, allowed = parse_budget(dict(routing), {}, default)
        if flags:
            budget = take_flags(inbound, budget, flags)
        request = RouteRequest(
            id=DecisionIds().new(),
            text=inbound.text,
            prompt_tokens=inbound.prompt_tokens,
            max_completion_tokens=inbound.max_completion_tokens,
            required=inbound.required,
            budget=budget,
            allowed=allowed,
            work=inbound.work,
        )
        return cls(inbound, request)

    def assess(self, router: RouterProtocol) -> Assessment:
        """Stage 1 of the latest turn, with what the turns before it say about it."""
        texts = (*self.inbound.earlier, self.inbound.text)
        return recall([Turn(text, router.assess(replace(self.request, text=text))) for text in texts])
