"""New settings for a gateway that serves: in all workers or in none, back again, and no request lost by it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.e2e.served import served
from tests.e2e.under_load import Polite, load_on, slow_expert
from tests.unit.experts.raw_server import Server
from tests.unit.gateway.tiny_artifact import save_tiny_artifact

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="signals"), pytest.mark.slow]
workers = pytest.mark.parametrize("workers", [1, 2])


def http_expert(name: str, server: Server | int, prior: float = 0.5) -> dict[str, Any]:
    port = server if isinstance(server, int) else server.port
    return {
        "name": name,
        "backend": "openai_http",
        "model": "inner",
        "base_url": f"http://127.0.0.1:{port}",
        "quality_prior": {"*": prior},
        "generalist": True,
    }


@dataclass
class Gateway:
    """`pointsman serve` over a file that the test writes anew."""

    url: str
    pid: int
    folder: Path

    async def text(self, path: str) -> str:
        """A page, asked for on a connection of its own."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.url}{path}") as reply:
            return await reply.text()

    async def version(self) -> int:
        """Of the settings in the slowest worker."""
        found = re.search(r"^pointsman_config_version (\S+)", await self.text("/metrics"), re.M)
        assert found
        return int(float(found[1]))

    async def outcomes(self) -> dict[str, float]:
        """How many wishes came to what."""
        pattern = r'^pointsman_config_reloads_total\{outcome="(\w+)"\} (\S+)'
        return {outcome: float(count) for outcome, count in re.findall(pattern, await self.text("/metrics"), re.M)}

    async def reload(self, tree: dict[str, Any] | str, *, becomes: str = "switched") -> None:
        """Write the file, have it read, and wait for the outcome."""
        write(self.folder, tree)
        await self.send(signal.SIGHUP, becomes)

    async def send(self, signum: signal.Signals, becomes: str) -> None:
        before = (await self.outcomes()).get(becomes, 0)
        os.kill(self.pid, signum)
        deadline = time.monotonic() + 20
        while (await self.outcomes()).get(becomes, 0) == before:
            assert time.monotonic() < deadline, (self.folder / "log").read_text("utf-8")
            await asyncio.sleep(0.02)

    def runs(self) -> bool:
        """Whether the process that was started has not ended."""
        return Path(f"/proc/{self.pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()[0] != "Z"

    def workers(self) -> set[int]:
        """Processes that serve."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("utf-8").split()
        return {
            int(child)
            for child in children
            if b"pointsman.gateway.process.worker" in Path(f"/proc/{child}/cmdline").read_bytes()
        }


def write(folder: Path, tree: dict[str, Any] | str) -> None:
    (folder / "config.yaml").write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree), "utf-8")


def settings(*experts: dict[str, Any], **more: Any) -> dict[str, Any]:
    pool = {"experts": list(experts), "probe_interval_s": 0}
    return {"pool": pool, "router": {"artifact": "tiny"}, "redis": {"embedded": False}, **more}


@contextmanager
def serving(folder: Path, tree: dict[str, Any], workers: int) -> Iterator[Gateway]:
    save_tiny_artifact(folder / "tiny")
    write(folder, tree)
    with served(folder, "--config", str(folder / "config.yaml"), "--workers", str(workers)) as (url, pid):
        yield Gateway(url, pid, folder)


@workers
async def test_settings_change_in_all_workers_under_load_without_an_error(tmp_path: Path, workers: int) -> None:
    async with slow_expert(0.05) as one, slow_expert(0.02) as two:
        first, second = http_expert("first", one), http_expert("second", two, 0.9)
        with serving(tmp_path, settings(first), workers) as gateway:
            async with load_on(gateway.url) as load:
                await asyncio.sleep(0.5)
                assert set(load.answered) == {"first"}
                # Added, removed, renamed, and its price changed.
                for version, tree in enumerate(
                    [
                        settings(first, second),
                        settings(second),
                        settings({**second, "name": "renamed"}),
                        settings(
                            {**second, "name": "renamed", "price": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}},
                            first,
                        ),
                        settings(first),
                    ],
                    start=2,
                ):
                    await gateway.reload(tree)
                    assert await gateway.version() == version
                    # Requests that had begun before may still be counted for a moment.
                    await asyncio.sleep(0.3)
                    load.answered.clear()
                    await asyncio.sleep(0.3)
                    assert set(load.answered) <= {expert["name"] for expert in tree["pool"]["experts"]}
                    assert load.answered.total() > 0
                assert load.problems == []
            assert await gateway.outcomes() == {"switched": 5}


@workers
async def test_what_cannot_serve_changes_nothing_and_says_why(tmp_path: Path, workers: int) -> None:
    async with slow_expert(0.02) as one:
        good = settings(http_expert("first", one))
        with serving(tmp_path, good, workers) as gateway:
            async with load_on(gateway.url) as load:
                for tree, becomes, why in [
                    ("pool: {experts: [", "invalid", "config.yaml"),
                    ({**good, "pool": {"experst": []}}, "invalid", "did you mean experts?"),
                    ({**good, "server": {"host": "localhost"}}, "fixed", "server.host: cannot change"),
                    ({**good, "router": {"artifact": "absent"}}, "failed", "no router artefact at"),
                    (settings(http_expert("dead", 1), pool={}), "invalid", "the pool is empty"),
                ]:
                    await gateway.reload(tree, becomes=becomes)
                    assert why in await gateway.text("/ready")
                    assert await gateway.version() == 1
                assert load.problems == []
                assert set(load.answered) == {"first"}
            await gateway.reload(good)
            assert await gateway.version() == 2


@workers
async def test_settings_with_which_no_expert_is_well_are_not_switched_to(tmp_path: Path, workers: int) -> None:
    fake = {"name": "fake", "backend": "fake", "generalist": True}
    probed = {"probe_interval_s": 30}
    with serving(tmp_path, settings(pool={"experts": [fake], **probed}), workers) as gateway:
        # Nobody listens on port 1.
        await gateway.reload(settings(pool={"experts": [http_expert("dead", 1)], **probed}), becomes="not_ready")
        assert "no expert is well: dead:" in await gateway.text("/ready")
        assert await gateway.version() == 1
        await gateway.reload(settings(pool={"experts": [http_expert("dead", 1), fake], **probed}))
        assert await gateway.version() == 2


@workers
async def test_the_settings_before_come_back(tmp_path: Path, workers: int) -> None:
    async with slow_expert(0.02) as one:
        first, second = http_expert("first", one), http_expert("second", one)
        with serving(tmp_path, settings(first), workers) as gateway:
            async with load_on(gateway.url) as load:
                await gateway.send(signal.SIGUSR1, "invalid")
                assert "there are no settings before these" in await gateway.text("/ready")
                await gateway.reload(settings(second))
                await gateway.send(signal.SIGUSR1, "rolled_back")
                assert await gateway.version() == 3
                await asyncio.sleep(0.2)
                load.answered.clear()
                await asyncio.sleep(0.2)
                assert set(load.answered) == {"first"}
                await gateway.send(signal.SIGUSR1, "rolled_back")
                assert await gateway.version() == 4
                await asyncio.sleep(0.2)
                load.answered.clear()
                await asyncio.sleep(0.2)
                assert set(load.answered) == {"second"}
                assert load.problems == []


async def test_workers_are_replaced_one_by_one_without_an_error(tmp_path: Path) -> None:
    async with slow_expert(0.05) as one:
        with serving(tmp_path, settings(http_expert("first", one)), 2) as gateway:
            async with load_on(gateway.url, clients=24) as load:
                await asyncio.sleep(0.5)
                for _ in range(2):
                    before = gateway.workers()
                    assert len(before) == 2
                    os.kill(gateway.pid, signal.SIGUSR2)
                    async with asyncio.timeout(40):
                        while before & gateway.workers():
                            await asyncio.sleep(0.1)
                    assert len(gateway.workers()) == 2
                asked = load.answered.total()
                await asyncio.sleep(0.5)
                assert load.answered.total() > asked
                assert load.problems == []
                # A worker that came later has the settings that serve, and their version.
                await gateway.reload(settings(http_expert("first", one), http_expert("second", one)))
                os.kill(gateway.pid, signal.SIGUSR2)
                before = gateway.workers()
                async with asyncio.timeout(40):
                    while before & gateway.workers():
                        await asyncio.sleep(0.1)
                assert await gateway.version() == 2
                assert "second" in await gateway.text("/v1/models")
                assert load.problems == []


async def test_reloads_and_replacements_on_top_of_each_other_make_no_error(tmp_path: Path) -> None:
    async with slow_expert(0.03) as one, slow_expert(0.01) as two:
        pools = [
            settings(http_expert("first", one)),
            settings(http_expert("first", one), http_expert("second", two)),
            settings(http_expert("second", two)),
        ]
        with serving(tmp_path, pools[0], 2) as gateway:
            async with load_on(gateway.url, clients=24) as load:
                for nth in range(18):
                    (tmp_path / "new.yaml").write_text(yaml.safe_dump(pools[nth % 3]), "utf-8")
                    (tmp_path / "new.yaml").rename(tmp_path / "config.yaml")
                    os.kill(gateway.pid, signal.SIGHUP if nth % 6 else signal.SIGUSR2)
                    await asyncio.sleep(0.2)
                await gateway.reload(pools[0])
                assert load.problems == []
                assert load.answered.total() > 200
                assert set(await gateway.outcomes()) == {"switched"}


@workers
async def test_a_stop_ends_whatever_else_is_going_on(tmp_path: Path, workers: int) -> None:
    async with slow_expert(0.02) as one:
        with serving(tmp_path, settings(http_expert("first", one)), workers) as gateway:
            for signum in (signal.SIGHUP, signal.SIGUSR2, signal.SIGUSR1, signal.SIGTERM):
                os.kill(gateway.pid, signum)
            began = time.monotonic()
            while gateway.runs():
                await asyncio.sleep(0.05)
                assert time.monotonic() - began < 30
    assert "Traceback" not in (tmp_path / "log").read_text("utf-8")


@workers
async def test_a_stop_under_load_answers_whatever_was_asked_on_open_connections(tmp_path: Path, workers: int) -> None:
    async with slow_expert(0.1) as one:
        with serving(tmp_path, settings(http_expert("first", one)), workers) as gateway:
            clients = [Polite(gateway.url, nth % 2 == 0, 0.03 * (nth % 8)) for nth in range(40)]
            talks = [asyncio.create_task(client.talk()) for client in clients]
            await asyncio.sleep(1)
            os.kill(gateway.pid, signal.SIGTERM)
            async with asyncio.timeout(10):
                await asyncio.gather(*talks)
    assert [client.problem for client in clients if client.problem] == []
    # Nobody paused for long enough to be closed without a word.
    assert all(client.last for client in clients)
    assert all(client.answers > 1 for client in clients)


async def test_a_worker_that_dies_meanwhile_comes_back_with_the_settings_that_serve(tmp_path: Path) -> None:
    async with slow_expert(0.02) as one:
        first, second = http_expert("first", one), http_expert("second", one)
        with serving(tmp_path, settings(first), 2) as gateway:
            for nth in range(4):
                # Before, during and after the phases of a reload.
                tree = settings(first, {**second, "name": f"second-{nth}"})
                write(tmp_path, tree)
                victim = min(gateway.workers())
                os.kill(gateway.pid, signal.SIGHUP)
                await asyncio.sleep(0.02 * nth)
                os.kill(victim, signal.SIGKILL)
                async with asyncio.timeout(20):
                    while len(gateway.workers() - {victim}) < 2:
                        await asyncio.sleep(0.05)
                # Whatever came of it came of it for both: asked on many connections, they have one list.
                lists = {await gateway.text("/v1/models") for _ in range(20)}
                assert len(lists) == 1
                await gateway.reload(tree)
                lists = {await gateway.text("/v1/models") for _ in range(20)}
                assert len(lists) == 1
                assert f"second-{nth}" in lists.pop()
