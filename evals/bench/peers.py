"""The peers that stand beside the gateway: those in this environment, and those in a folder of their own.

litellm's proxy and Portkey would change what the gateway itself runs on, so `make bench-peers` puts them into `.peers`.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import yaml

from pointsman.evals.bench.processes import Process, free_port, serving
from pointsman.evals.bench.rig import plain_proxy

#: Where `make bench-peers` installs, below the repository.
FOLDER: Final = Path(".peers")


@dataclass(frozen=True, slots=True)
class Peer:
    """A server beside ours.

    Attributes:
        process: The server.
        headers: What each of its requests must carry.
    """

    process: Process
    headers: Mapping[str, str] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def peers(folder: Path, upstream: str, core: int, *, streaming: bool = False) -> AsyncIterator[dict[str, Peer]]:
    """The peers that are installed, by what they are called in the results, each idle until it is measured.

    Args:
        folder: For settings and logs.
        upstream: Where all of them send what they get.
        core: The core that they share.
        streaming: Only those that can keep up with many streams.
    """
    async with contextlib.AsyncExitStack() as stack:
        found: dict[str, Peer] = {}

        async def start(name: str, command: list[str], port: int, ready_path: str, **headers: str) -> None:
            log = folder / f"peer-{port}.log"
            process = await stack.enter_async_context(
                serving(command, port, ready_path=ready_path, cores=[core], log=log, limit_s=90)
            )
            found[name] = Peer(process, headers)

        for policy in ("round_robin",) if streaming else ("cache_aware", "round_robin"):
            if find_spec("sglang_router") is not None:
                port = free_port()
                await start(
                    f"sglang-router {version('sglang-router')}, {policy}",
                    _sglang(port, upstream, policy),
                    port,
                    "/health",
                )
        if find_spec("vllm_router") is not None:
            port = free_port()
            await start(f"vllm-router {version('vllm-router')}, round_robin", _vllm(port, upstream), port, "/health")
        nginx = plain_proxy(folder, upstream, core, streaming=streaming)
        found["nginx, plain proxy"] = Peer(await stack.enter_async_context(nginx))
        portkey = FOLDER / "portkey/node_modules/@portkey-ai/gateway"
        if portkey.is_dir() and not streaming:
            port = free_port()
            number = json.loads((portkey / "package.json").read_text("utf-8"))["version"]
            command = [
                "env", "TRUSTED_CUSTOM_HOSTS=127.0.0.1,localhost", "NODE_ENV=production",
                "node", str(portkey / "build/start-server.js"), f"--port={port}", "--headless",
            ]  # fmt: skip
            config = json.dumps({"provider": "openai", "api_key": "none", "custom_host": f"{upstream}/v1"})
            await start(f"Portkey {number}", command, port, "/", **{"x-portkey-config": config})
        litellm = FOLDER / "litellm/bin/litellm"
        if litellm.exists() and not streaming:
            port = free_port()
            number = next((FOLDER / "litellm/lib").glob("python3*/site-packages/litellm-[0-9]*")).name.split("-")[1]
            await start(
                f"litellm {number.removesuffix('.dist')}, proxy",
                _litellm(folder, litellm, port, upstream),
                port,
                "/health/liveliness",
            )
        yield found


def _sglang(port: int, upstream: str, policy: str) -> list[str]:
    return [
        sys.executable, "-m", "sglang_router.launch_router", "--worker-urls", upstream,
        "--host", "127.0.0.1", "--port", str(port), "--policy", policy,
        "--prometheus-port", str(free_port()), "--log-level", "error",
    ]  # fmt: skip


def _vllm(port: int, upstream: str) -> list[str]:
    return [
        sys.executable, "-m", "vllm_router.launch_router", "--worker-urls", upstream,
        "--host", "127.0.0.1", "--port", str(port), "--policy", "round_robin",
        "--prometheus-port", str(free_port()), "--log-level", "error",
    ]  # fmt: skip


def _litellm(folder: Path, program: Path, port: int, upstream: str) -> list[str]:
    params = {"model": "openai/fake", "api_base": f"{upstream}/v1", "api_key": "none"}
    config = folder / "litellm.yaml"
    config.write_text(yaml.safe_dump({"model_list": [{"model_name": "fake", "litellm_params": params}]}), "utf-8")
    return [
        "env", "LITELLM_LOCAL_MODEL_COST_MAP=True", "LITELLM_LOG=ERROR",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY=true",
        str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1",
    ]  # fmt: skip
