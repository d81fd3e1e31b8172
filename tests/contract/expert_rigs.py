"""Every backend that can run here, each in the same kind of rig: an expert, and a way to steer what it reaches."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest

from pointsman.experts.backends.embedded import EmbeddedExpert
from pointsman.experts.backends.fake import FakeExpert, Script
from pointsman.experts.backends.fake.server import FakeServer
from pointsman.experts.backends.litellm import LiteLLMExpert
from pointsman.experts.backends.openai_http import OpenAIHttpExpert
from pointsman.experts.backends.planned import Stats
from pointsman.experts.backends.replay import RecordedAnswer, ReplayExpert, prompt_key
from pointsman.experts.nano import MODELS_DIR
from pointsman.experts.protocols import Endpoint, Expert, ExpertCall
from pointsman.experts.spec import ExpertSpec, Usage

PROMPT = "Say something, please"
#: Slow enough to leave in the middle, fast enough to wait for.
SLOW = Script(ttft_ms=30, tokens_per_s=160, completion_tokens=40)


@dataclass
class Rig:
    """One backend, ready to be called.

    Attributes:
        expert: The backend.
        stats: What the far end saw of the calls.
        steer: Gives the far end another script.
    """

    expert: Expert
    stats: Callable[[], Stats]
    steer: Callable[[Script], None]


Made = Callable[[], AbstractAsyncContextManager[Rig]]
#: One for each backend, by its name.
RIGS: dict[str, Made] = {}
#: Those whose far end counts what became of its calls.
COUNTED: list[str] = []
#: Those whose far end can be told to fail.
STEERED: list[str] = []


def rig_of(backend: str, *, counted: bool, steered: bool) -> Callable[[Callable[[], AsyncIterator[Rig]]], Made]:
    """Put a backend under the contract.

    Args:
        backend: The name under which it is registered.
        counted: Whether its far end counts what became of its calls.
        steered: Whether its far end can be told to fail.
    """

    def register(make: Callable[[], AsyncIterator[Rig]]) -> Made:
        RIGS[backend] = asynccontextmanager(make)
        COUNTED.extend([backend] if counted else [])
        STEERED.extend([backend] if steered else [])
        return RIGS[backend]

    return register


def call(endpoint: Endpoint = Endpoint.CHAT, *, model: str = "m", **fields: Any) -> ExpertCall:
    """A call, with `head_timeout_s` and `idle_timeout_s` among the fields of the body if given."""
    timeouts = {name: fields.pop(name) for name in ("head_timeout_s", "idle_timeout_s") if name in fields}
    asked = {"messages": [{"role": "user", "content": PROMPT}]} if endpoint is Endpoint.CHAT else {"prompt": PROMPT}
    payload = {"model": model, "temperature": 0, **asked, **fields}
    return ExpertCall("r-1", endpoint, orjson.dumps(payload), payload, bool(fields.get("stream")), **timeouts)


async def settled(rig: Rig) -> Stats:
    """What the far end saw, once it has seen all of it."""
    for _ in range(200):
        if rig.stats().in_flight == 0:
            break
        await asyncio.sleep(0.01)
    return rig.stats()


def _spec(backend: str, model: str = "m") -> ExpertSpec:
    return ExpertSpec("under-test", backend, model)


@rig_of("fake", counted=True, steered=True)
async def fake() -> AsyncIterator[Rig]:
    """In process."""
    expert = FakeExpert(_spec("fake"), SLOW)

    def steer(script: Script) -> None:
        expert.script = script

    yield Rig(expert, lambda: expert.stats, steer)


@asynccontextmanager
async def _served() -> AsyncIterator[FakeServer]:
    server = FakeServer(SLOW, api_key="sk-test")
    await server.start()
    try:
        yield server
    finally:
        await server.aclose()


def _steer(server: FakeServer) -> Callable[[Script], None]:
    def steer(script: Script) -> None:
        server.script = script

    return steer


@rig_of("openai_http", counted=True, steered=True)
async def openai_http() -> AsyncIterator[Rig]:
    """Over real HTTP to the fake as a server."""
    async with _served() as server:
        expert = OpenAIHttpExpert(_spec("openai_http"), server.url, api_key="sk-test")
        yield Rig(expert, lambda: server.stats, _steer(server))


@rig_of("litellm", counted=True, steered=True)
async def litellm() -> AsyncIterator[Rig]:
    """Through the real litellm to the fake as a server."""
    if importlib.util.find_spec("litellm") is None:
        pytest.skip("the extra litellm is absent")
    async with _served() as server:
        expert = LiteLLMExpert(_spec("litellm", "openai/m"), api_key="sk-test", api_base=server.url)
        yield Rig(expert, lambda: server.stats, _steer(server))


@rig_of("replay", counted=True, steered=False)
async def replay() -> AsyncIterator[Rig]:
    """From records, at the pace they were recorded."""
    text = "a recorded answer\nof two lines, with a space at its end "
    record = RecordedAnswer(text, usage=Usage(5, 12), ttft_ms=30, latency_ms=400)
    expert = ReplayExpert(_spec("replay"), {prompt_key(PROMPT): record}, time_scale=1)

    def steer(script: Script) -> None:
        raise NotImplementedError("records have no failures")

    yield Rig(expert, lambda: expert.stats, steer)


@rig_of("embedded", counted=False, steered=False)
async def embedded() -> AsyncIterator[Rig]:
    """A real model, in an engine process of its own."""
    checkpoints = sorted(config.parent.name for config in MODELS_DIR.glob("*/config.json"))
    if not checkpoints:
        pytest.skip("no nano checkpoints are here: `make nano` trains them")

    def steer(script: Script) -> None:
        raise NotImplementedError("a real model does as it likes")

    def stats() -> Stats:
        raise NotImplementedError("the engine keeps no count of its calls")

    with TemporaryDirectory() as folder:
        yield Rig(EmbeddedExpert(_spec("embedded", checkpoints[0]), socket=Path(folder) / "engine"), stats, steer)


@asynccontextmanager
async def rigged(name: str) -> AsyncIterator[Rig]:
    """A started rig, closed in the end."""
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(RIGS[name]())
        await rig.expert.start()
        stack.push_async_callback(rig.expert.aclose)
        yield rig
