"""The operators' listener: it has its own address, and the public port serves none of its paths.

Every worker has one on the same address; the kernel gives a connection to any of them. Keys and limits are the same in
all workers, and a command to one worker applies to all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import uvicorn

from pointsman.gateway.access.caller import Caller
from pointsman.gateway.access.limits import Meter, remaining
from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.http.asgi import Receive, Scope, Send
from pointsman.gateway.http.readiness import readiness
from pointsman.gateway.runtime import Runtime
from pointsman.gateway.settings.auth import AdminSettings

_log = logging.getLogger(__name__)

_JSON: Final = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]

Answer = Callable[[Runtime], Awaitable[tuple[int, dict[str, Any]]]]


class AdminListener:
    """Serves operators.

    Args:
        current: Gives the parts of the App that serves now.
    """

    def __init__(self, current: Callable[[], Runtime]) -> None:
        self._current = current
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.url: str | None = None

    async def start(self, settings: AdminSettings) -> None:
        """Listen, where a port is set.

        Raises:
            OSError: The address cannot be had.
        """
        if settings.port is None:
            return
        listener = _listener(settings.host, settings.port)
        host, port = listener.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        config = uvicorn.Config(
            self,
            ws="none",
            lifespan="off",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            log_config=None,
            limit_concurrency=32,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="admin")

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Nothing is read of its body."""
        if scope["type"] != "http":
            return
        try:
            status, body, headers = await self._answer(scope)
        except RequestRefused as refusal:
            status, body, headers = refusal.status, refusal.body(), refusal.headers()
        except Exception:
            # The last resort: an operator still gets an answer in the usual shape, and the log says why.
            _log.exception("an admin request failed")
            failure = RequestRefused(Code.INTERNAL, "The gateway failed; its log says why.")
            status, body, headers = failure.status, failure.body(), failure.headers()
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        runtime = self._current()
        caller = runtime.access.keyring.operator(dict(scope["headers"]), scope["query_string"])
        found = _ANSWERS.get(scope["path"])
        if found is None:
            raise RequestRefused(Code.NOT_FOUND, f"There is no {scope['path'][:80]} here.")
        method, answer = found
        if scope["method"] != method:
            raise RequestRefused(Code.METHOD_NOT_ALLOWED, f"{scope['path']} answers {method} only.")
        if method == "POST":
            _log.warning("%s by '%s'", scope["path"], caller.name)
        status, body = await answer(runtime)
        return status, orjson.dumps(body), list(_JSON)


class _Server(uvicorn.Server):
    """A second server in one process: signals are the first one's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listener(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # All workers listen here; only processes of the same user can.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen()
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


async def _keys(runtime: Runtime) -> tuple[int, dict[str, Any]]:
    hashes = {key.name: len(key.hashes) for key in runtime.settings.auth.keys}
    return 200, {"object": "list", "data": [_key(caller, hashes[caller.name]) for caller in runtime.access.callers]}


def _key(caller: Caller, hashes: int) -> dict[str, Any]:
    """A key without anything that could open something."""
    expires_s = caller.expires_s
    return {
        "name": caller.name,
        "tenant": caller.tenant,
        "role": caller.role.value,
        "experts": None if caller.experts is None else sorted(caller.experts),
        "expires": None if expires_s is None else datetime.fromtimestamp(expires_s, UTC).isoformat(),
        "disabled": caller.disabled,
        "hashes": hashes,
    }


async def _limits(runtime: Runtime) -> tuple[int, dict[str, Any]]:
    access = runtime.access
    return 200, {
        "object": "list",
        "shared": access.leases is not None,
        "data": [_limit(meter) for meter in access.meters],
    }


def _limit(meter: Meter) -> dict[str, Any]:
    """How a limit stands: `left` over all processes as last heard, the rest in this process."""
    limit = meter.limit
    known = meter.until_s > 0.0
    return {
        "scope": limit.scope,
        "resource": limit.resource.name.lower(),
        "period": limit.period.value,
        "limit": limit.amount,
        "window_began": datetime.fromtimestamp(meter.began_s, UTC).isoformat() if known else None,
        "left": remaining(meter) if known else None,
        "spent_here": meter.spent if known else None,
        "held_here": meter.held if known else None,
        "processes": meter.peers,
    }


async def _ready(runtime: Runtime) -> tuple[int, dict[str, Any]]:
    return await readiness(runtime, inside=True)


async def _reload(runtime: Runtime) -> tuple[int, dict[str, Any]]:
    report = await runtime.configuration.reload()
    return (200 if report.outcome.changed else 409), report.to_dict()


async def _rollback(runtime: Runtime) -> tuple[int, dict[str, Any]]:
    report = await runtime.configuration.rollback()
    return (200 if report.outcome.changed else 409), report.to_dict()


async def _drain(runtime: Runtime) -> tuple[int, dict[str, Any]]:
    """The same as a SIGTERM to the whole gateway: no new connections, requests under way end."""
    main = os.getppid() if runtime.settings.server.workers > 1 else os.getpid()
    # The answer goes out first.
    asyncio.get_running_loop().call_later(0.1, os.kill, main, signal.SIGTERM)
    return 202, {"status": "draining"}


#: Path -> its method, and what it answers.
_ANSWERS: Final[Mapping[str, tuple[str, Answer]]] = {
    "/admin/keys": ("GET", _keys),
    "/admin/ready": ("GET", _ready),
    "/admin/limits": ("GET", _limits),
    "/admin/reload": ("POST", _reload),
    "/admin/rollback": ("POST", _rollback),
    "/admin/drain": ("POST", _drain),
}
