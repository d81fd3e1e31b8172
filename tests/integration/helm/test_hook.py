"""The chart's own test, run against a gateway that is started with the chart's arguments, settings and key."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from tests.integration.helm.engine import Manifest, render, the


@pytest.fixture(scope="module")
def release() -> list[Manifest]:
    return render({"redis": {"enabled": False}})


@pytest.fixture(scope="module")
def environment(release: list[Manifest]) -> dict[str, str]:
    secret = the(release, "Secret")["data"]
    keys = {name: base64.b64decode(value).decode() for name, value in secret.items()}
    return {name: value for name, value in os.environ.items() if name != "REDIS_URL"} | keys


@pytest.fixture(scope="module")
def url(
    release: list[Manifest], environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("release")
    settings = folder / "config.yaml"
    settings.write_text(the(release, "ConfigMap")["data"]["config.yaml"], encoding="utf-8")
    args = the(release, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
    # The same arguments, on a port that is free here.
    ours = {"--config=/etc/pointsman/config.yaml": f"--config={settings}", "--port=8080": "--port=0"}
    assert ours.keys() <= set(args)
    command = [sys.executable, "-m", "pointsman.gateway.cli", *(ours.get(arg, arg) for arg in args)]
    log = folder / "log"
    with (
        log.open("w", encoding="utf-8") as output,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=output, text=True) as gateway,
    ):
        try:
            assert gateway.stdout is not None
            first = gateway.stdout.readline()
            assert " at http://" in first, first + log.read_text(encoding="utf-8")
            port = first.split(" at ")[1].split()[0].rsplit(":", 1)[1]
            yield f"http://127.0.0.1:{port}"
        finally:
            gateway.terminate()
        assert gateway.wait(timeout=40) == 0


def ask(release: list[Manifest], url: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    container = the(release, "Pod", "test")["spec"]["containers"][0]
    assert container["command"] == ["python", "-c"]
    (script,) = container["args"]
    inside = "http://demo-pointsman:80"
    assert inside in script
    return subprocess.run(
        [sys.executable, "-c", script.replace(inside, url)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_chart_passes_its_own_test(release: list[Manifest], url: str, environment: dict[str, str]) -> None:
    asked = ask(release, url, environment)
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.strip() == "chosen: nano-math"


def test_the_chart_fails_its_own_test_with_a_wrong_key(
    release: list[Manifest], url: str, environment: dict[str, str]
) -> None:
    asked = ask(release, url, {**environment, "POINTSMAN_API_KEY": "wrong"})
    assert asked.returncode == 1
    assert "401" in asked.stderr


def test_the_gateways_probes_answer_without_a_key(release: list[Manifest], url: str) -> None:

    container = the(release, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    paths = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"/health", "/ready"}
    for path in paths:
        with urllib.request.urlopen(url + path, timeout=10) as answer:
            assert answer.status == 200
