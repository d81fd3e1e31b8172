"""The contract between the gateway and an expert backend: OpenAI wire bytes in, OpenAI wire bytes out.

Bytes rather than objects, because the data plane passes an expert's answer through untouched; backends that have no
such bytes of their own (embedded, litellm, replay, fake) produce exactly what an OpenAI-compatible server would send.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol, Self, runtime_checkable

from pointsman.experts.http1.response import Sink
from pointsman.experts.spec import Capability, ExpertSpec

Headers = tuple[tuple[bytes, bytes], ...]


class Endpoint(StrEnum):
    """The endpoint families an expert may serve; the value is the path below `/v1/`.

    Attributes:
        capability: What an expert must state to be called there.
        writes: Whether the answer is text that a model writes: what budgets, evidence and caches are about.
    """

    capability: Capability
    writes: bool

    def __new__(cls, path: str, capability: Capability, writes: bool) -> Self:
        """A member with what it stands for."""
        member = str.__new__(cls, path)
        member._value_ = path
        member.capability = capability
        member.writes = writes
        return member

    CHAT = "chat/completions", Capability.CHAT, True
    COMPLETIONS = "completions", Capability.COMPLETIONS, True
    MESSAGES = "messages", Capability.MESSAGES, True
    COUNT_TOKENS = "messages/count_tokens", Capability.COUNT_TOKENS, False
    RESPONSES = "responses", Capability.RESPONSES, True
    EMBEDDINGS = "embeddings", Capability.EMBEDDINGS, False
    RERANK = "rerank", Capability.RERANK, False
    SCORE = "score", Capability.SCORE, False


#: What every backend speaks; the others are for experts that state them.
TEXT_ENDPOINTS: Final = (Endpoint.CHAT, Endpoint.COMPLETIONS)


@dataclass(frozen=True, slots=True)
class PreparedAnswer:
    """An answer that was found while deciding, for the expert that offered it to give.

    Attributes:
        text: The answer.
        finish_reason: Why it ends there.
    """

    text: str
    finish_reason: str = "stop"


# Made for every request, and freezing it costs more than the rest of the making: not frozen, and never changed.
@dataclass(slots=True, eq=False)
class ExpertCall:
    """One request as an expert gets it.

    Attributes:
        request_id: The gateway's id, for logs on both sides.
        endpoint: Which endpoint family.
        body: The JSON body to send: the client's, with `model` set to the expert's own id and our fields stripped.
        payload: The same body parsed. Read-only.
        stream: Whether the client asked for server-sent events.
        headers: Client headers that may travel on (lower-case names), already allow-listed.
        head_timeout_s: How long to wait for the response head; None for the backend's own default.
        idle_timeout_s: How long to wait between bytes of the response; None for the backend's own default.
        prepared: The answer that a null expert offered; None for every other expert.
        model: The model id that the body names, where it is not the expert's usual one; empty for that.
    """

    request_id: str
    endpoint: Endpoint
    body: bytes
    payload: Mapping[str, Any]
    stream: bool
    headers: Headers = ()
    head_timeout_s: float | None = None
    idle_timeout_s: float | None = None
    prepared: PreparedAnswer | None = None
    model: str = ""


@runtime_checkable
class ExpertReply(Protocol):
    """An answer whose head has arrived. Iterate for the body; `aclose` in every case, also half-way.

    Iteration raises `ExpertStreamBroken` (or `ExpertTimeout`) when the body ends before its end. Closing before the
    end cancels the work upstream.
    """

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def headers(self) -> Headers:
        """Response headers, lower-case names, hop-by-hop headers already dropped."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body, in pieces as they come."""

    async def aclose(self) -> None:
        """Release the connection; cancels the expert's work if the body was not read to its end. Idempotent."""


@runtime_checkable
class Expert(Protocol):
    """A model one may call."""

    @property
    def spec(self) -> ExpertSpec:
        """What it is."""

    async def start(self) -> None:
        """Prepare (open pools, spawn a process). Cheap and idempotent; heavy work happens at the first call.

        Raises:
            ExpertMisconfigured: It can never work as configured.
        """

    async def call(self, call: ExpertCall) -> ExpertReply:
        """Send a request and return when the head of the answer is here.

        An HTTP error status is a reply, not an exception. Cancelling the coroutine cancels the work upstream.

        Raises:
            ExpertError: As the tree in `pointsman.experts.errors` says.
        """

    async def probe(self) -> str | None:
        """Ask whether it works. None when it does, else why not. Never raises for a sick expert."""

    async def aclose(self) -> None:
        """Let go of everything. Idempotent."""


@runtime_checkable
class PushingExpert(Expert, Protocol):
    """An expert whose connection pushes what it reads. `pointsman.experts.pump` does so for all others."""

    def send(self, call: ExpertCall, sink: Sink) -> None:
        """As `call`, without waiting: each piece goes to a sink when it arrives, a failure as `ExpertError`.

        Raises:
            ExpertError: The request cannot be sent.
        """
