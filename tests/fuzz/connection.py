"""A client's connection to the whole gateway: any bytes, in any pieces, by the server's own protocol.

The first four bytes say where the rest is split.
"""

from __future__ import annotations

import asyncio
import re
from functools import cache
from itertools import pairwise
from typing import Any, Final

from uvicorn.server import ServerState

from pointsman.gateway.app import create_app
from pointsman.gateway.http.protocol import GatewayProtocol
from pointsman.gateway.process.server import uvicorn_config
from pointsman.gateway.process.serving import Serving
from pointsman.gateway.settings import Settings
from tests.e2e.running import fake

#: An input that is not over by then hangs.
_OVER_S: Final = 5.0
_MOST_BYTES: Final = 4 * 1024 * 1024
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n\0]*\r\n")


class _Transport(asyncio.Transport):
    """The gateway's end of a socket, without the socket."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written = bytearray()
        self.closing = False

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """What comes comes at once."""

    def resume_reading(self) -> None:
        """Likewise."""


def connection(data: bytes) -> None:
    """One connection: every answer is well-formed and none is a 500, whatever comes, and nothing is left behind."""
    _gateway()(data)


@cache
def _gateway() -> Gateway:
    return Gateway()


def _answering(protocol: GatewayProtocol) -> bool:
    return protocol.cycle is not None and not protocol.cycle.response_complete and protocol._collecting is None


class Gateway:
    """One gateway, on an event loop that turns only for its inputs.

    Args:
        tree: Its settings; by default a fake expert, and keys off.
        loop: The event loop.
        env: Its environment.

    Attributes:
        app: What serves.
    """

    def __init__(
        self,
        tree: dict[str, Any] | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self._loop = asyncio.new_event_loop() if loop is None else loop
        tree = {"pool": {"experts": [fake("only", generalist=True)]}} if tree is None else tree
        self.app = create_app(Settings.model_validate(tree), env or {})
        self._config = uvicorn_config(Serving(self.app))
        self._config.load()

    def __call__(self, data: bytes) -> None:
        """One connection, from its first byte to its last."""
        well_formed(self._loop.run_until_complete(self.connection(data[:4], data[4:])))

    async def connection(self, cuts: bytes, said: bytes, patience_s: float = 0.0) -> bytes:
        """One connection that says this, split at these 255ths of it; what it was answered.

        For so long it waits for an answer that has to be waited for, where it has asked for one.
        """
        state = ServerState()
        make: Any = self._config.http_protocol_class
        protocol: GatewayProtocol = make(config=self._config, server_state=state, app_state={})
        transport = _Transport()
        protocol.connection_made(transport)
        for start, end in pairwise([0, *sorted(cut * len(said) // 255 for cut in cuts), len(said)]):
            if transport.closing:
                break
            protocol.data_received(said[start:end])
            await asyncio.sleep(0)
        # As when the client has said everything and waits: what can be answered is.
        for _ in range(10):
            await asyncio.sleep(0)
        until_s, step_s = self._loop.time() + patience_s, 0.001
        while self._loop.time() < until_s and not transport.closing and _answering(protocol):
            await asyncio.sleep(step_s)
            step_s *= 1.2
        protocol.connection_lost(None)
        async with asyncio.timeout(_OVER_S):
            while state.tasks:
                await asyncio.sleep(0)
            while patience_s and not self.app.idle:  # a call that the request left behind
                await asyncio.sleep(0.001)
        return bytes(transport.written)


def well_formed(written: bytes) -> None:
    """Whether these are answers, and none of them a 500."""
    answers = _STATUS_LINE.findall(written)
    assert b"500" not in answers, written
    assert bool(answers) == bool(written)
    assert len(written) < _MOST_BYTES
    if written:
        assert _STATUS_LINE.match(written)
