"""Two real vLLM servers for the whole run: a dense specialist and the mixture-of-experts generalist."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pointsman.experts.nano import MODELS_DIR
from tests.integration.vllm.servers import Server, vllm_env, vllm_serving, wait_until_ready

DENSE = "nano-math"
MIXTURE = "nano-general"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the servers, and the first test waits for them."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.vllm)
            item.add_marker(pytest.mark.timeout(600))


def _absent(reason: str) -> None:
    """Skip, unless whoever runs the tests insists on these."""
    if os.environ.get("POINTSMAN_REQUIRE_VLLM") == "1":
        pytest.fail(f"{reason}, and POINTSMAN_REQUIRE_VLLM=1", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def vllm_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """The two servers by name, both ready."""
    models = Path(os.environ.get("POINTSMAN_NANO_MODELS", MODELS_DIR))
    if not (vllm_env() / "bin/vllm").exists():
        _absent("no vLLM here: `make vllm-env` installs it")
    if not (models / MIXTURE / "config.json").exists():
        _absent(f"no nano checkpoints in {models.name}")
    logs = tmp_path_factory.mktemp("vllm")
    with ExitStack() as stack:
        servers = [stack.enter_context(vllm_serving(name, models / name, logs)) for name in (DENSE, MIXTURE)]
        wait_until_ready(servers)
        yield {server.name: server for server in servers}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of every server's log beside a test that failed."""
    report = yield
    if report.failed:
        values = getattr(item, "funcargs", {}).values()
        flat = [one for value in values for one in (value.values() if isinstance(value, dict) else (value,))]
        for server in {one.name: one for one in flat if isinstance(one, Server)}.values():
            report.sections.append((f"log of {server.name}", server.log_tail(30)))
    return report
