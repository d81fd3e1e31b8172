"""A whole gateway on a real socket, in this process, so that a test can look at both of its sides."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import pytest
import uvicorn

from pointsman.experts.backends.fake import FakeExpert
from pointsman.gateway.app import App, create_app
from pointsman.gateway.process.server import uvicorn_config
from pointsman.gateway.process.serving import Serving
from pointsman.gateway.settings import Settings

#: Between the client and the gateway: our protocol of uvicorn's server, or the ASGI callable on any other server.
Transport = Literal["protocol", "asgi"]
TRANSPORTS: Final[tuple[Transport, ...]] = ("protocol", "asgi")
#: What is seen from outside is the same on both.
both = pytest.mark.parametrize("transport", TRANSPORTS)

#: Fakes that are good at what the default artefact's categories are called.
SPECIALISTS = ("code", "math", "clinical", "prose")


def fake(name: str, *, prior: dict[str, float] | None = None, **fields: Any) -> dict[str, Any]:
    """Settings of a fake expert; `options` is its script."""
    return {
        "name": name,
        "backend": "fake",
        "quality_prior": prior or {"*": 0.5},
        "latency": {"base_ms": 20, "prefill_ms_per_token": 0.1, "tpot_ms": 5},
        "energy": {"base_j": 0.1, "j_per_prompt_token": 0.001, "j_per_completion_token": 0.01},
        "price": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2},
        "context_window_tokens": 4096,
        "params_total_b": 7,
        **fields,
    }


def pool_of_fakes(**options: Any) -> list[dict[str, Any]]:
    """A specialist for each category, and a generalist."""
    experts = [
        fake(f"fake-{name}", prior={name: 0.9, "*": 0.2}, options={"reply": "{model} says: {prompt}", **options})
        for name in SPECIALISTS
    ]
    return [
        *experts,
        fake("fake-general", prior={"*": 0.5}, generalist=True, options={"reply": "{model} says: {prompt}", **options}),
    ]


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that answers at `url`."""

    url: str
    serving: Serving

    @property
    def app(self) -> App:
        """What serves now."""
        return self.serving.current

    def fake(self, name: str) -> FakeExpert:
        """One of its fake experts."""
        expert = self.app.runtime.pool[name]
        assert isinstance(expert, FakeExpert)
        return expert


@asynccontextmanager
async def running(
    tree: dict[str, Any], env: dict[str, str] | None = None, *, transport: Transport = "protocol"
) -> AsyncIterator[Running]:
    """Serve these settings on a free port until the block ends."""
    tree = {**tree, "server": {"graceful_shutdown_s": 2, **tree.get("server", {})}}
    serving = Serving(create_app(Settings.model_validate(tree), env or {}))
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn_config(serving)
    if transport == "asgi":
        config.http = "httptools"
    server = uvicorn.Server(config)
    done = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(10):
            while not server.started:
                if done.done():
                    done.result()
                    raise RuntimeError("the gateway did not start")
                await asyncio.sleep(0.01)
        yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", serving)
    finally:
        server.should_exit = True
        await done


async def eventually(condition: Any, seconds: float = 2.0) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: It did not come to hold.
    """
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
