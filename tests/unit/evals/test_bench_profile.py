"""Samples of py-spy, told apart by parts of the gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from pointsman.evals.bench.profile import PARTS, ProfileError, part_of, shares

ROOT = Path(__file__).parents[3]
OUTER = (
    "thread (8): MainThread;_run_code (<frozen runpy>:88);serve (gateway/cli/serve.py:55);"
    "Server.run (uvicorn/server.py:86);asyncio_run (uvicorn/_compat.py:30);uv__io_poll (linux.c:1546)"
)
PROTOCOL = f"{OUTER};GatewayProtocol.data_received (gateway/http/protocol.py:157)"


@pytest.mark.parametrize(
    ("stack", "part"),
    [
        (f"{PROTOCOL};UVStream_write (loop.c:110085);write (libc.so.6)", "kernel: writes"),
        (f"{OUTER};uv__read (stream.c:1063);read (libc.so.6)", "kernel: reads and waits"),
        (f"{PROTOCOL};feed_data (parser.c:6373);llhttp__internal__run (llhttp.c:1283)", "HTTP of the client"),
        (f"{OUTER};Connection.data_received (experts/http1/connection.py:222);feed (parser.c:1)", "HTTP of the expert"),
        (f"{PROTOCOL};LexicalEmbedder.embed (routers/embed/lexical.py:72);PyArray_ToList (numpy.so)", "assess"),
        (f"{PROTOCOL};get_running_loop (asyncio/events.py:1);send (redis/asyncio/connection.py:9)", "Redis"),
        (f"{OUTER};Pipeline.execute (redis/asyncio/client.py:1);isfuture (asyncio/base_futures.py:21)", "Redis"),
        (f"{PROTOCOL};Relay.finish (gateway/dispatch/relay.py:214)", "exchange"),
        (f"{OUTER};uv_run (core.c:464)", "event loop"),
    ],
)
def test_a_sample_belongs_to_the_innermost_part_that_is_known(stack: str, part: str) -> None:
    assert part_of(stack).startswith(part)


def test_shares_are_of_the_serving_thread() -> None:
    raw = [
        f"{PROTOCOL};write (libc.so.6) 30",
        f"{OUTER};uv_run (core.c:464) 10",
        "thread (9): redis-watcher;Popen.wait (subprocess.py:1264);wait4 (libc.so.6) 900",
    ]
    assert shares(raw) == {"kernel: writes": 0.75, "event loop": 0.25}
    with pytest.raises(ProfileError, match="main thread"):
        shares(raw[2:])


def test_every_part_has_code() -> None:
    files = [
        str(file.relative_to(ROOT))
        for folder in ("gateway", "routers", "experts")
        for file in (ROOT / folder).rglob("*.py")
    ]
    for part, names in PARTS:
        assert any(name in file for name in names for file in files), part
