"""Dashboards, alerts and rules ask only for what the gateway exposes, and Prometheus's own tool accepts them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pointsman.gateway.errors import Code
from tests.unit.deploy.exposition import asked, exposed

DEPLOY = Path(__file__).parents[3] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yaml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "pointsman.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> dict[str, str]:
    found = {f"rule {rule.get('record') or rule['alert']}": rule["expr"] for rule in rules()}
    for panel in PANELS:
        for target in panel["targets"]:
            found[f"panel {panel['id']} {panel['title']} {target['refId']}"] = target["expr"]
    return found


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not on PATH (Debian: package prometheus)")
    return found


def run(*command: str | Path, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_exposition_is_read_off_the_gateway() -> None:
    assert exposed()["pointsman_requests_total"] == {"endpoint", "expert", "status"}
    assert exposed()["pointsman_ttft_seconds_bucket"] == {"expert", "le"}
    assert exposed()["pointsman_in_flight"] == {"expert"}


@pytest.mark.parametrize(("where", "expression"), expressions().items(), ids=expressions().keys())
def test_expressions_ask_for_metrics_and_labels_that_exist(where: str, expression: str) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for name in re.findall(r"pointsman:[\w:]+", expression):
        assert name in recorded
    for name, labels in asked(re.sub(r"pointsman:[\w:]+", "", expression)):
        assert name in exposed(), f"{where}: no metric {name}"
        assert labels <= exposed()[name], f"{where}: {name} has no label {labels - exposed()[name]}"


def test_every_metric_is_on_the_dashboard() -> None:
    drawn = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    missing = {name for name in exposed() if not name.endswith(("_sum", "_count")) and name not in drawn}
    assert missing == set()


def test_alerts_name_error_codes_that_exist() -> None:
    codes = {code for rule in rules() for code in re.findall(r'code="([^"]*)"', rule["expr"])}
    assert codes
    assert codes <= {code.value for code in Code}


def test_every_alert_has_a_severity_and_a_sentence() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts)
    for rule in alerts:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"].endswith(".")


def test_every_alert_is_tested() -> None:
    text = (DEPLOY / "prometheus" / "rules.test.yaml").read_text(encoding="utf-8")
    tested = {case["alertname"] for test in yaml.safe_load(text)["tests"] for case in test.get("alert_rule_test", [])}
    assert tested == {rule["alert"] for rule in rules() if "alert" in rule}


def test_promtool_accepts_rules_and_their_tests_pass(promtool: str) -> None:
    run(promtool, "check", "rules", RULES)
    run(promtool, "test", "rules", "rules.test.yaml", cwd=RULES.parent)
    run(promtool, "check", "config", "--syntax-only", RULES.parent / "prometheus.yaml")


def test_promtool_accepts_the_dashboards_expressions(promtool: str, tmp_path: Path) -> None:
    drawn = [target["expr"] for panel in PANELS for target in panel["targets"]]
    plain = [expr.replace("$__rate_interval", "1m").replace("$expert", ".*") for expr in drawn]
    recorded = [{"record": f"panel:{index}", "expr": expr} for index, expr in enumerate(plain)]
    file = tmp_path / "dashboard.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}), encoding="utf-8")
    run(promtool, "check", "rules", file)


def test_panels_are_described_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in PANELS:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"


def test_variables_of_the_dashboard_are_defined() -> None:
    defined = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    text = json.dumps(PANELS)
    used = set(re.findall(r"\$\{?([a-z_]+)\}?", text)) - {"__rate_interval"}
    assert used == defined


def test_grafana_is_provisioned_with_the_compose_prometheus() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in services
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "pointsman.yaml").read_text())["providers"]
    mounts = dict(mount.split(":")[:2] for mount in services["grafana"]["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
