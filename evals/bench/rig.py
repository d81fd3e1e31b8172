"""What stands in a measurement: an upstream that answers at once, the gateway, and the least that a proxy can do.

The upstream is nginx with a fixed answer: it costs the load's core next to nothing, so that what is measured is the
server in between. For streams it is the shipped fake expert, which speaks server-sent events.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import yaml

from pointsman.evals.bench.processes import Process, free_port, serving

_ANSWER = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"fake","choices":[{"index":0,'
    '"message":{"role":"assistant","content":"ok"},"logprobs":null,"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":120,"completion_tokens":1,"total_tokens":121}}'
)
_NGINX = """
worker_processes 1; daemon off; pid {folder}/{name}.pid; error_log {folder}/{name}.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_buffer_size 1m;
  client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy;
  fastcgi_temp_path {folder}/{name}-f; uwsgi_temp_path {folder}/{name}-u; scgi_temp_path {folder}/{name}-s;
  {more}
}}
"""
_UPSTREAM = """server {{ listen 127.0.0.1:{port} backlog=8192;
    location / {{ default_type application/json; return 200 '{answer}'; }} }}"""
_PROXY = """upstream expert {{ server {upstream}; keepalive 512; }}
  server {{ listen 127.0.0.1:{port} backlog=8192;
    location / {{ proxy_pass http://expert; proxy_http_version 1.1; proxy_set_header Connection ""; {more} }} }}"""


def nginx_installed() -> bool:
    """Whether nginx is there."""
    return shutil.which("nginx") is not None


def _nginx(folder: Path, name: str, more: str) -> list[str]:
    path = folder / f"{name}.conf"
    path.write_text(_NGINX.format(folder=folder, name=name, more=more), "utf-8")
    return ["nginx", "-c", str(path), "-e", str(folder / f"{name}.log")]


@contextlib.asynccontextmanager
async def instant_upstream(folder: Path, core: int) -> AsyncIterator[Process]:
    """Nginx that answers every request at once with a short chat completion."""
    port = free_port()
    command = _nginx(folder, "upstream", _UPSTREAM.format(port=port, answer=_ANSWER))
    async with serving(command, port, ready_path="/", cores=[core], log=folder / "upstream.out") as process:
        yield process


@contextlib.asynccontextmanager
async def streaming_upstream(
    folder: Path, core: int, *, tokens: int, tokens_per_s: float, ttft_ms: float = 0.0
) -> AsyncIterator[Process]:
    """The fake expert as a server of its own, which streams at a pace."""
    port = free_port()
    command = [
        sys.executable, "-m", "pointsman.experts.backends.fake", "--port", str(port), "--reply", "word " * tokens,
        "--tokens-per-s", str(tokens_per_s), "--ttft-ms", str(ttft_ms),
    ]  # fmt: skip
    async with serving(command, port, ready_path="/health", cores=[core], log=folder / "streams.out") as process:
        yield process


@contextlib.asynccontextmanager
async def gateway(
    folder: Path,
    upstream: str,
    *cores: int,
    experts: int = 5,
    redis: bool = True,
    concurrency: int = 4096,
    workers: int = 1,
) -> AsyncIterator[Process]:
    """Pointsman as `pointsman serve` starts it, its own Redis included, over experts that all stand at one upstream."""
    tree = {
        "pool": {
            "probe_interval_s": 0,
            "experts": [
                {
                    "name": "fake" if index == 0 else f"expert-{index}",
                    "backend": "openai_http",
                    "model": "fake",
                    "base_url": upstream,
                    "quality_prior": {"*": 0.6 - 0.4 * index / max(1, experts)},
                    "max_concurrency": concurrency,
                    "generalist": index == 0,
                }
                for index in range(experts)
            ],
        },
        "redis": {"embedded": redis},
        "server": {"workers": workers},
    }
    port = free_port()
    config = folder / f"pointsman-{port}.yaml"
    config.write_text(yaml.safe_dump(tree), "utf-8")
    command = [sys.executable, "-m", "pointsman.gateway.cli", "serve", "--config", str(config), "--port", str(port)]
    log = folder / f"pointsman-{port}.log"
    async with serving(command, port, ready_path="/ready", cores=cores, log=log) as process:
        yield process


@contextlib.asynccontextmanager
async def plain_proxy(folder: Path, upstream: str, core: int, *, streaming: bool = False) -> AsyncIterator[Process]:
    """Nginx that passes requests on and does nothing else: the floor. By itself it would hold back what streams."""
    port = free_port()
    more = "proxy_buffering off;" if streaming else ""
    command = _nginx(folder, "proxy", _PROXY.format(port=port, upstream=upstream.removeprefix("http://"), more=more))
    async with serving(command, port, ready_path="/health", cores=[core], log=folder / "proxy.out") as process:
        yield process
