"""The settings that the chart passes through are ones the gateway accepts, asked of the gateway's own command."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml
from helm_python import Chart

from tests.docs.blocks import all_blocks
from tests.integration.helm.engine import CHART_DIR, render, the, value_sets


def config_of(values: dict[str, Any]) -> str:
    text: str = the(render(values), "ConfigMap")["data"]["config.yaml"]
    return text


def check(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pointsman.gateway.cli", "check-config", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", value_sets())
def test_check_config_accepts_the_rendered_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(config_of(value_sets()[name]), encoding="utf-8")
    checked = check(file)
    assert checked.returncode == 0, checked.stderr
    assert f"{file}: OK" in checked.stdout


def test_check_config_refuses_a_key_that_the_chart_let_through(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(config_of({"config": {"server": {"prot": 80}}}), encoding="utf-8")
    checked = check(file)
    assert checked.returncode == 1
    assert "server.prot" in checked.stderr


def test_experts_of_the_release_are_reached_by_their_services() -> None:
    manifests = render(value_sets()["experts"])
    config = yaml.safe_load(the(manifests, "ConfigMap")["data"]["config.yaml"])
    services = {
        service["metadata"]["name"]: service["spec"]["ports"][0]["port"]
        for service in manifests
        if service["kind"] == "Service"
    }
    for expert in config["pool"]["experts"][:2]:
        host, port = expert["base_url"].removeprefix("http://").removesuffix("/v1").split(":")
        assert services[host] == int(port)
        deployment = the(manifests, "Deployment", f"expert-{expert['name']}")
        args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        assert f"--served-model-name={expert['name']}" in args


def test_the_default_pool_is_the_embedded_default() -> None:
    # A link in the chart leads to the gateway's own file, so that there is one of them.
    default = yaml.safe_load((CHART_DIR.parents[1] / "gateway" / "default.yaml").read_text(encoding="utf-8"))
    assert yaml.safe_load(config_of({}))["pool"] == default["pool"]


def test_the_package_carries_the_pool_itself(tmp_path: Path) -> None:
    archive = Path(helm_python.package(CHART_DIR, destination=tmp_path))
    with tarfile.open(archive) as packed:
        member = packed.getmember("pointsman/files/embedded-pool.yaml")
        assert member.isfile()
        assert not [name for name in packed.getnames() if name.startswith("pointsman/ci/")]
    with Chart.load(archive) as chart:
        files = chart.render({}, name="demo", namespace="prod")
    config = yaml.safe_load(files["pointsman/templates/gateway-configmap.yaml"])["data"]["config.yaml"]
    assert yaml.safe_load(config) == yaml.safe_load(config_of({}))


def test_the_values_of_the_page_on_deployment_render_into_settings(tmp_path: Path) -> None:
    (block,) = [found for found in all_blocks() if found.mark == "not settings" and "chart" in found.said]
    file = tmp_path / "config.yaml"
    file.write_text(config_of(yaml.safe_load(block.text)), encoding="utf-8")
    checked = check(file)
    assert checked.returncode == 0, checked.stderr
    assert "qwen3-8b" in checked.stdout
