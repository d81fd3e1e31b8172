"""Every backend that can run here, each in the same kind of rig: an expert, and a way to steer what it reaches."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest

from experts.backends.embedded import EmbeddedExpert
from experts.backends.fake import FakeExpert, Script
from experts.backends.fake.server import FakeServer
from experts.backends.litellm import LiteLLMExpert
from experts.backends.openai_http import OpenAIHttpExpert
from experts.backends.planned import Stats
from experts.backends.replay import Record, ReplayExpert, prompt_key
from experts.nano import MODELS_DIR
from experts.protocols import Endpoint, Expert, ExpertCall
from experts.spec import ExpertSpec, Usage

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


@asynccontextmanager
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


@asynccontextmanager
async def openai_http() -> AsyncIterator[Rig]:
    """Over real HTTP to the fake as a server."""
    async with _served() as server:
        expert = OpenAIHttpExpert(_spec("openai_http"), server.url, api_key="sk-test")
        yield Rig(expert, lambda: server.stats, _steer(server))


@asynccontextmanager
async def litellm() -> AsyncIterator[Rig]:
    """Through the real litellm to the fake as a server."""
    if importlib.util.find_spec("litellm") is None:
        pytest.skip("the extra litellm is absent")
    async with _served() as server:
        expert = LiteLLMExpert(_spec("litellm", "openai/m"), api_key="sk-test", api_base=server.url)
        yield Rig(expert, lambda: server.stats, _steer(server))


@asynccontextmanager
async def replay() -> AsyncIterator[Rig]:
    """From records, at the pace they were recorded."""
    text = "a recorded answer\nof two lines, with a space at its end "
    record = Record(text, usage=Usage(5, 12), ttft_ms=30, latency_ms=400)
    expert = ReplayExpert(_spec("replay"), {prompt_key(PROMPT): record}, time_scale=1)

    def steer(script: Script) -> None:
        raise NotImplementedError("records have no failures")

    yield Rig(expert, lambda: expert.stats, steer)


@asynccontextmanager
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


RIGS = {rig.__name__: rig for rig in (fake, openai_http, litellm, replay, embedded)}
#: Those whose far end counts what became of its calls.
COUNTED = tuple(name for name in RIGS if name != "embedded")
#: Those whose far end can be told to fail.
STEERED = tuple(name for name in COUNTED if name != "replay")


@asynccontextmanager
async def rigged(name: str) -> AsyncIterator[Rig]:
    """A started rig, closed in the end."""
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(RIGS[name]())
        await rig.expert.start()
        stack.push_async_callback(rig.expert.aclose)
        yield rig
