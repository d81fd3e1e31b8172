"""The operators' listener: apart from the public port, behind an operator's key, and for all workers."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.e2e.running import Running, fake, running
from tests.e2e.served import served

ENV = {"KEY_A": "sk-aaaaaaaaaaaaaaaa", "KEY_O": "sk-oooooooooooooooo", "KEY_M": "sk-mmmmmmmmmmmmmmmm"}
CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hello there"}], "max_tokens": 10}
KEYS = [
    {"name": "a", "key_env": "KEY_A", "tenant": "t", "limits": {"requests_per_minute": 100, "usd_per_month": 5}},
    {"name": "o", "key_env": "KEY_O", "role": "operator"},
    {"name": "m", "key_env": "KEY_M", "role": "metrics"},
]
PATHS = [
    ("GET", "/admin/keys"),
    ("GET", "/admin/limits"),
    ("POST", "/admin/reload"),
    ("POST", "/admin/rollback"),
    ("POST", "/admin/drain"),
]


def tree(**settings: Any) -> dict[str, Any]:
    return {
        "pool": {"experts": [fake("only", generalist=True)]},
        "auth": {"keys": KEYS},
        "admin": {"port": 0},
        **settings,
    }


@pytest.fixture
async def gateway() -> AsyncIterator[Running]:
    async with running(tree(), ENV) as gateway:
        yield gateway


async def ask(url: str, method: str, path: str, key: str | None, **options: Any) -> tuple[int, Any]:
    headers = {} if key is None else {"authorization": f"Bearer {ENV[key]}"}
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, f"{url}{path}", headers=headers, **options) as reply,
    ):
        return reply.status, await reply.json(content_type=None)


def admin_of(gateway: Running) -> str:
    url = gateway.serving.admin.url
    assert url is not None
    assert url.startswith("http://127.0.0.1:"), "loopback unless the operator says otherwise"
    return url


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_the_public_port_knows_nothing_of_it(gateway: Running, method: str, path: str) -> None:
    for key in ("KEY_A", "KEY_O"):
        assert (await ask(gateway.url, method, path, key))[0] == 404


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_only_an_operator_gets_in(gateway: Running, method: str, path: str) -> None:
    """S6: settings are changed by an operator, from the settings file, and by nobody else."""
    url = admin_of(gateway)
    for key, status in ((None, 401), ("KEY_A", 403), ("KEY_M", 403)):
        assert (await ask(url, method, path, key))[0] == status
    assert (await ask(url, method, f"{path}?key={ENV['KEY_O']}", "KEY_O"))[0] == 401
    other = "POST" if method == "GET" else "GET"
    assert (await ask(url, other, path, "KEY_O"))[0] == 405
    assert (await ask(url, method, f"{path}/", "KEY_O"))[0] == 404
    assert gateway.app.runtime.configuration.version == 1


async def test_keys_are_listed_without_their_secrets(gateway: Running) -> None:
    status, body = await ask(admin_of(gateway), "GET", "/admin/keys", "KEY_O")
    assert status == 200
    assert [(one["name"], one["tenant"], one["role"]) for one in body["data"]] == [
        ("a", "t", "client"),
        ("o", "o", "operator"),
        ("m", "m", "metrics"),
    ]
    assert not any(secret in str(body) for secret in ENV.values())


async def test_limits_are_listed_as_they_stand(gateway: Running) -> None:
    assert (await ask(gateway.url, "POST", "/v1/chat/completions", "KEY_A", json=CHAT))[0] == 200
    status, body = await ask(admin_of(gateway), "GET", "/admin/limits", "KEY_O")
    assert (status, body["shared"]) == (200, False)
    requests, dollars = body["data"]
    assert (requests["scope"], requests["resource"], requests["period"]) == ("key:a", "requests", "minute")
    assert (requests["limit"], requests["spent_here"], requests["left"]) == (100, 1, 99)
    assert 0 < dollars["spent_here"] < 0.001
    assert dollars["left"] == pytest.approx(5 - dollars["spent_here"])
    assert dollars["held_here"] == pytest.approx(0)


async def test_nothing_listens_unless_a_port_is_set() -> None:
    async with running(tree(admin={}), ENV) as gateway:
        assert gateway.serving.admin.url is None


def test_it_needs_an_operators_key() -> None:
    from pointsman.gateway.settings import Settings

    with pytest.raises(ValueError, match="needs a key with the role 'operator'"):
        Settings.model_validate(tree(auth={"keys": KEYS[:1]}))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def test_what_an_operator_does_is_done_to_all_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    port = _free_port()
    file = tmp_path / "pointsman.yaml"
    settings = tree(admin={"port": port})
    file.write_text(yaml.safe_dump(settings))
    admin = f"http://127.0.0.1:{port}"
    context = served(tmp_path, "--config", str(file), "--workers", "2")
    url, pid = await asyncio.to_thread(context.__enter__)
    try:
        assert (await ask(admin, "GET", "/admin/keys", "KEY_O"))[0] == 200
        # A key that is switched off is refused by both workers from the reload on.
        off = [{**KEYS[0], "disabled": True}, *KEYS[1:]]
        file.write_text(yaml.safe_dump({**settings, "auth": {"keys": off}}))
        status, report = await ask(admin, "POST", "/admin/reload", "KEY_O")
        assert (status, report["outcome"], report["version"]) == (200, "switched", 2)
        asked = [await ask(url, "POST", "/v1/chat/completions", "KEY_A", json=CHAT) for _ in range(8)]
        assert {status for status, _ in asked} == {401}
        status, report = await ask(admin, "POST", "/admin/rollback", "KEY_O")
        assert (status, report["outcome"]) == (200, "rolled_back")
        asked = [await ask(url, "POST", "/v1/chat/completions", "KEY_A", json=CHAT) for _ in range(8)]
        assert {status for status, _ in asked} == {200}
        file.write_text("pool: {expert: []}")
        status, report = await ask(admin, "POST", "/admin/reload", "KEY_O")
        assert (status, report["outcome"]) == (409, "invalid")
        assert (await ask(admin, "POST", "/admin/drain", "KEY_O"))[0] == 202
        async with asyncio.timeout(20):
            while _alive(pid):
                await asyncio.sleep(0.05)
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


def _alive(pid: int) -> bool:
    """Whether a child runs; one that has ended and was not asked for yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z" and os.path.exists(f"/proc/{pid}")  # noqa: PTH110  # a race is no error here
