"""What every test shares: no network beyond this machine, and the outcome tables where they stand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import network_guard

ROOT = Path(__file__).parent.parent


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
