"""The guard that keeps tests on this machine."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from tests.network_guard import NetworkBlockedError, is_local

# RFC 5737: an address for documentation, routed nowhere.
ELSEWHERE = "192.0.2.1"


def test_connecting_elsewhere_is_refused() -> None:
    with socket.socket() as sock, pytest.raises(NetworkBlockedError, match=ELSEWHERE):
        sock.connect((ELSEWHERE, 80))


def test_asyncio_is_refused_too() -> None:
    async def connect() -> None:
        await asyncio.open_connection(ELSEWHERE, 80)

    with pytest.raises(NetworkBlockedError):
        asyncio.run(connect())


def test_looking_up_a_name_is_refused() -> None:
    with pytest.raises(NetworkBlockedError, match=r"example\.com"):
        socket.getaddrinfo("example.com", 443)


def test_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), 5) as client:
        assert client.getpeername() == server.getsockname()


def test_unix_sockets_are_open(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen(1)
        client.connect(path)
        assert client.getpeername() == path


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        (None, True),
        (b"::1", True),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("fe80::1%eth0", False),
    ],
)
def test_what_counts_as_local(host: object, local: bool) -> None:
    assert is_local(host) is local
