"""For how long the gateway, with all that it can do switched on, is held by what a client or an expert says."""

from __future__ import annotations

import json
import tempfile
import zlib
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.e2e.answering import PRICES, answering_router
from tests.e2e.running import fake
from tests.fuzz.connection import Gateway, well_formed
from tests.fuzz.held import AGAIN_FROM_MS, MeasuredLoop, once_ms
from tests.fuzz.hostile import KEY, posted

#: How long an answer may take, by the loop's own clock, which waits for nothing.
_PATIENCE_S: Final = 60.0
_KEY_ENV: Final = "KEY_OF_THE_SEARCH"
_MUCH: Final = 1e12
_LIMITS: Final = {
    "requests_per_minute": _MUCH,
    "tokens_per_minute": _MUCH,
    "usd_per_hour": _MUCH,
    "usd_per_month": _MUCH,
    "joules_per_day": _MUCH,
}


def _tree(*experts: dict[str, Any]) -> dict[str, Any]:
    """All that reads what is said."""
    return {
        "pool": {"experts": list(experts)},
        "auth": {
            "keys": [{"name": "caller", "key_env": _KEY_ENV, "tenant": "t", "limits": _LIMITS}],
            "tenants": {"t": {"limits": _LIMITS}},
        },
        "router": {"flags": True},
        "safety": {"enabled": True},
        "null_experts": {
            "calculator": True,
            "answers": {"exact": True, "semantic": True, "any_temperature": True},
            "constants": {"entries": [{"ask": ["When are you open?"], "answer": "From 9 to 5."}]},
            "refusal": {"topics": [{"name": "weather", "examples": ["What is the weather?"]}]},
        },
        "conversations": {"derive_sessions": True},
        "learning": {"enabled": True, "exploration": {"share": 0.5, "max_cost_usd_per_hour": _MUCH}},
        "retries": {"share": 1.0, "least_per_s": 1e6},
        "hedging": {"enabled": True, "max_share": 1.0},
        "ledger": {"local_entries": 200},
        "redis": {"embedded": False},
    }


_QUICK: Final[dict[str, Any]] = {
    "context_window_tokens": 10_000_000,
    "options": {"reply": "ok", "tokens_per_s": 1_000_000},
}
_CHATS: Final = ["chat", "completions", "streaming", "tools", "logprobs", "json_schema"]
_ALL: Final = [*_CHATS, "messages", "responses", "count_tokens", "embeddings", "rerank", "score"]


def _behind_http(name: str, capabilities: list[str]) -> dict[str, Any]:
    made = fake(name, context_window_tokens=10_000_000, generalist=name == "all-1", capabilities=capabilities)
    return {**made, "backend": "openai_http", "base_url": "http://127.0.0.1:9/v1", "model": "inner"}


class _Measured:
    """A gateway and its loop."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self.loop = MeasuredLoop()
        self.gateway = Gateway(tree, self.loop, {_KEY_ENV: KEY.decode()})

    def held_ms(self, cuts: bytes, said: bytes) -> float:
        """For how long this holds the loop at the most."""
        took_ms = self._say(cuts, said)
        return min(took_ms, self._say(cuts, said)) if took_ms > AGAIN_FROM_MS else took_ms

    def _say(self, cuts: bytes, said: bytes) -> float:
        written = b""

        async def connection(said: bytes) -> None:
            nonlocal written
            written = await self.gateway.connection(cuts, said, _PATIENCE_S)

        self._forget()
        took_ms = once_ms(connection, said, self.loop)
        well_formed(written)
        return took_ms

    def _forget(self) -> None:
        """What was found out about what was said before, so that the same costs the same again."""
        plane = self.gateway.app.plane
        decider, nulls = plane.decider, plane.nulls
        assert decider._cache is not None
        assert nulls is not None
        for kept in (decider._cache._local, nulls._answers._local, nulls._gate._found):
            kept.clear()
        if decider._memory is not None:
            decider._memory._held.clear()


@cache
def _before_clients() -> _Measured:
    """One for all that clients say."""
    return _Measured(_tree(fake("one", generalist=True, **_QUICK), fake("two", **_QUICK)))


@cache
def _before_experts() -> _Measured:
    """One for all that experts say."""
    alls = (_behind_http(f"all-{n}", _ALL) for n in (1, 2))
    return _Measured(_tree(*alls, *(_behind_http(f"chats-{n}", _CHATS) for n in (1, 2))))


@cache
def _before_compared_experts() -> _Measured:
    """One that asks several, and compares what they say."""
    with tempfile.TemporaryDirectory() as folder:
        router = answering_router(Path(folder))
        tree = _tree(*(_behind_http(name, _CHATS) for name in PRICES))
        return _Measured({**tree, "router": {"artifact": str(router)}, "evidence": {"enabled": True}})


def client_ms(data: bytes) -> float:
    """For how long what a client says holds the loop at the most, in CPU milliseconds."""
    return _before_clients().held_ms(b"\x55\xaa" if len(data) % 2 else b"", data)


class ExpertHold:
    """For how long what an expert answers to such a request holds the loop at the most.

    Args:
        name: Of `EXPERT_FORMATS`.

    Attributes:
        asked: How often an expert was asked.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked = 0
        self._number = 0

    def __call__(self, data: bytes) -> float:
        """In CPU milliseconds."""
        measured = _before_compared_experts() if self.name == "gathered" else _before_experts()
        before, measured.loop.answer = measured.loop.asked, data
        # What was answered before says nothing of the expert that answers now.
        for member in measured.gateway.app.runtime.pool._members.values():
            member.circuit.succeeded()
        self._number += 1
        took_ms = measured.held_ms(b"", self._request(data, self._number))
        self.asked += measured.loop.asked - before
        return took_ms

    def _request(self, data: bytes, number: int) -> bytes:
        """One that was never made before: no answer is kept for it."""
        chance = zlib.crc32(data)
        streamed = (b"text/event-stream" in data[:200]) != (chance % 16 == 0)
        name, asked = self.name, f"Tell me of number {number} in row {zlib.crc32(b'%d' % number)}."
        turns = [{"role": "user", "content": asked}]
        body: dict[str, Any] = {"model": "auto", "stream": streamed}
        if name.endswith("-of-chat"):
            body["routing"] = {"experts": ["chats-1", "chats-2"]}
        if name == "completions":
            path, more = "completions", {"prompt": asked}
        elif name.startswith("messages"):
            path, more = "messages", {"messages": turns, "max_tokens": 100_000}
        elif name.startswith("responses"):
            path, more = "responses", {"input": asked}
        elif name == "embeddings":
            path, more = (
                ("embeddings", {"input": [asked, asked]}),
                ("rerank", {"query": asked, "documents": ["a", "b"]}),
                ("score", {"text_1": asked, "text_2": ["a", "b"]}),
            )[chance % 3]
            body = {"model": "all-1"}
        else:
            path, more = "chat/completions", {"messages": turns}
            if chance % 5 == 1:
                more["stream_options"] = {"include_usage": True}
        return posted(path, json.dumps({**body, **more}).encode())
