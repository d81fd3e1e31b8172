"""What every test shares: no network beyond this machine, the outcome tables, and a word on what was left out."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from pointsman.gateway.process.redis_server import EmbeddedRedis
from tests import network_guard

# A machine that stands still for a moment is no fault of what is tested.
settings.register_profile("at any pace", settings.default, deadline=None)
settings.load_profile("at any pace")


ROOT = Path(__file__).parent.parent


#: What `make test` leaves to `make test-rest`, by marker, and what each of them needs.
REST = {
    "vllm": "a real vLLM on the CPU",
    "train": "torch, transformers and sentence-transformers",
    "slow": "time: half a minute or more each, or all together",
}
_LEFT = pytest.StashKey[Counter[str]]()


def _shared_dir() -> Path:
    return Path(os.environ.get("POINTSMAN_SHARED", ROOT.parent / "shared")).resolve()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `shared` where the outcome tables are absent."""
    if (_shared_dir() / "data").is_dir():
        return
    absent = pytest.mark.skip(reason="the outcome tables are absent (POINTSMAN_SHARED, default ../shared)")
    for item in items:
        if item.get_closest_marker("shared"):
            item.add_marker(absent)


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count what is left out."""
    config.stash[_LEFT] = Counter()


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Count what a choice by marker leaves out."""
    for item in items:
        item.config.stash[_LEFT].update([name for name in REST if item.get_closest_marker(name)][:1])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the count of a process of pytest-xdist to the one that reports."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left"] = dict(session.config.stash[_LEFT])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the count of a process of pytest-xdist; each has collected every test."""
    node.config.stash[_LEFT] |= Counter(getattr(node, "workeroutput", {}).get("left", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what a choice by marker left out, and who runs it."""
    left = config.stash[_LEFT]
    if left and config.option.markexpr.startswith("not "):
        needs = "; ".join(f"{count} with {REST[name]}" for name, count in sorted(left.items()))
        terminalreporter.line(f"Left to `make test-rest` (`make test-all` runs both): {needs}")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the outcome tables; skips where it is absent."""
    folder = _shared_dir() / "data"
    if not folder.is_dir():
        pytest.skip("the outcome tables are absent (POINTSMAN_SHARED, default ../shared)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    # Child processes do not inherit the guard; the model hub is what they would most likely ask.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    with network_guard.closed():
        yield


@pytest.fixture
async def redis_server(tmp_path: Path) -> AsyncIterator[EmbeddedRedis]:
    """A Redis of the test's own, which it may stop and start again."""
    server = EmbeddedRedis(tmp_path)
    assert await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.stop)
