"""The walk of docs/add-a-backend.md: a package of somebody else's is installed, and its backend serves."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.e2e.served import served

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "backend"
#: Prints its process id, waits until it is told to go on, and ends as it is told to.
PROGRAM = """
import os, pathlib, sys, time
go_on = pathlib.Path(sys.argv[1])
os.write(1, f"{os.getpid()}\\n".encode())
while not go_on.exists(): time.sleep(0.02)
os.write(1, b"and then\\n")
sys.exit(int(go_on.read_text()))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example in it, as pip installs it."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    alone = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    done = subprocess.run([*pip, *alone, str(EXAMPLE)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def on_path(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that are started find what is installed there."""
    monkeypatch.setenv("PYTHONPATH", str(installed))


def pointsman(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pointsman.gateway.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def settings(folder: Path, *experts: dict[str, Any]) -> str:
    file = folder / "settings.yaml"
    experts = tuple({"backend": "command", **expert} for expert in experts)
    file.write_text(yaml.safe_dump({"pool": {"probe_interval_s": 0, "experts": [*experts]}}), encoding="utf-8")
    return str(file)


def ask(url: str, model: str, *, stream: bool = False) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "good morning\nto you\n"}]}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
    return connection.getresponse()


def texts(response: http.client.HTTPResponse) -> Iterator[str]:
    """The pieces of a stream as they come, up to its [DONE]."""
    for line in response:
        data = line.removeprefix(b"data: ").strip()
        if data == b"[DONE]":
            return
        if data:
            for choice in json.loads(data).get("choices", ()):
                yield choice["delta"].get("content") or ""
    raise EOFError("the stream has no end")


def runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.usefixtures("on_path")
def test_its_settings_are_checked_and_it_serves(tmp_path: Path) -> None:
    pool = str(EXAMPLE / "pool.yaml")
    checked = pointsman("check-config", pool)
    assert checked.returncode == 0, checked.stderr
    assert "  shout: command\n" in checked.stdout
    with served(tmp_path, "--config", pool) as (url, _):
        answer = json.loads(ask(url, "shout").read())
        assert answer["choices"][0]["message"]["content"] == "good morning!\nto you!\n"
        assert answer["usage"] is None
        assert "".join(texts(ask(url, "auto", stream=True))) == "good morning!\nto you!\n"


def test_without_the_package_its_name_is_refused() -> None:
    refused = pointsman("check-config", str(EXAMPLE / "pool.yaml"))
    assert refused.returncode == 1
    assert "pool.experts[0].backend: no backend 'command' is installed; installed are embedded, " in refused.stderr


@pytest.mark.usefixtures("on_path")
def test_what_it_cannot_work_with_is_refused_by_name(tmp_path: Path) -> None:
    file = settings(
        tmp_path,
        {"name": "a", "options": {"argvs": ["cat"]}},
        {"name": "b", "options": {"argv": []}},
        {"name": "c", "options": {"argv": ["cat"]}, "base_url": "http://127.0.0.1"},
        {"name": "d", "options": {"argv": ["cat"]}, "capabilities": ["chat", "rerank"]},
    )
    refused = pointsman("check-config", file)
    assert refused.returncode == 1
    for problem in (
        "pool.experts[0].options.argv: is missing",
        "pool.experts[0].options.argvs: unknown key (did you mean argv?)",
        "pool.experts[1].options.argv: Tuple should have at least 1 item",
        "pool.experts[2].base_url: means nothing to backend command",
        "pool.experts[3].capabilities: backend command has no endpoint 'rerank'",
    ):
        assert problem in refused.stderr


@pytest.mark.usefixtures("on_path")
def test_the_schema_and_the_table_know_it() -> None:
    experts = json.loads(pointsman("config-schema").stdout)["$defs"]["ExpertSettings"]
    assert "command" in experts["properties"]["backend"]["enum"]
    command = [sys.executable, "-m", "pointsman.experts.backends"]
    table = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "| `command` | a program on this machine | – |" in table


@pytest.mark.usefixtures("on_path")
def test_it_streams_breaks_off_and_ends_its_program_when_the_client_leaves(tmp_path: Path) -> None:
    goes_on = {name: tmp_path / name for name in ("well", "broken", "left")}
    experts = [
        {"name": name, "options": {"argv": [sys.executable, "-c", PROGRAM, str(file)]}}
        for name, file in goes_on.items()
    ]
    absent = {"name": "absent", "options": {"argv": ["there-is-no-such-program"]}}
    with served(tmp_path, "--config", settings(tmp_path, *experts, absent)) as (url, _):
        came = texts(ask(url, "well", stream=True))
        assert next(text for text in came if text).strip().isdigit(), "the first comes before the program ends"
        goes_on["well"].write_text("0")
        assert "".join(came) == "and then\n"

        came = texts(ask(url, "broken", stream=True))
        assert next(text for text in came if text)
        goes_on["broken"].write_text("3")
        with pytest.raises((EOFError, http.client.IncompleteRead)):
            list(came)

        response = ask(url, "left", stream=True)
        pid = int(next(text for text in texts(response) if text))
        assert runs(pid)
        response.close()
        give_up = time.monotonic() + 10
        while runs(pid):
            assert time.monotonic() < give_up
            time.sleep(0.05)

        assert ask(url, "absent").status == 502
