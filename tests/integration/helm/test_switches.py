"""What each value does."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml

from tests.integration.helm.engine import of_kind, render, render_files, the, value_sets


def gateway_container(values: dict[str, Any] | None = None) -> dict[str, Any]:
    container: dict[str, Any] = the(render(values), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return container


def redis_url(values: dict[str, Any]) -> object:
    env = {variable["name"]: variable for variable in gateway_container(values).get("env", [])}
    return env.get("REDIS_URL", {}).get("value") or env.get("REDIS_URL", {}).get("valueFrom")


def annotations(values: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = the(render(values), "Deployment")["spec"]["template"]["metadata"]["annotations"]
    return found


def test_the_default_release() -> None:
    kinds = sorted((manifest["kind"], manifest["metadata"]["name"]) for manifest in render())
    assert kinds == [
        ("ConfigMap", "demo-pointsman"),
        ("Deployment", "demo-pointsman"),
        ("Deployment", "demo-pointsman-redis"),
        ("NetworkPolicy", "demo-pointsman"),
        ("NetworkPolicy", "demo-pointsman-redis"),
        ("Pod", "demo-pointsman-test"),
        ("PodDisruptionBudget", "demo-pointsman"),
        ("Secret", "demo-pointsman"),
        ("Service", "demo-pointsman"),
        ("Service", "demo-pointsman-redis"),
        ("ServiceAccount", "demo-pointsman"),
    ]


def test_the_minimal_release() -> None:
    kinds = sorted(manifest["kind"] for manifest in render(value_sets()["minimal"]))
    assert kinds == ["ConfigMap", "Deployment", "Pod", "Secret", "Service"]


def test_redis_in_the_release_elsewhere_or_nowhere() -> None:
    assert redis_url({}) == "redis://demo-pointsman-redis:6379/0"
    away = {"enabled": False}
    assert redis_url({"redis": away}) is None
    assert redis_url({"redis": {**away, "externalUrl": "rediss://cache:6380/1"}}) == "rediss://cache:6380/1"
    secret = {"redis": {**away, "externalUrlSecret": {"name": "mine"}}}
    assert redis_url(secret) == {"secretKeyRef": {"name": "mine", "key": "redis-url"}}


def test_a_change_of_the_settings_rolls_the_pods() -> None:
    before = annotations({})["checksum/config"]
    assert annotations({"gateway": {"replicas": 5}})["checksum/config"] == before
    assert annotations({"config": {"budgets": {"max_latency_ms": 1}}})["checksum/config"] != before


def test_a_change_of_a_key_rolls_the_pods() -> None:
    first = annotations({"secret": {"values": {"POINTSMAN_API_KEY": "one"}}})
    second = annotations({"secret": {"values": {"POINTSMAN_API_KEY": "two"}}})
    assert first["checksum/secret"] != second["checksum/secret"]


def test_no_secret_stands_outside_the_secret() -> None:
    marker = "a-key-that-must-not-leak"
    files = render_files({"secret": {"values": {"POINTSMAN_API_KEY": marker}}})
    assert [path for path, text in files.items() if marker in text] == []
    secret = yaml.safe_load(files["pointsman/templates/gateway-secret.yaml"])
    assert base64.b64decode(secret["data"]["POINTSMAN_API_KEY"]).decode() == marker


def test_a_key_is_generated_where_none_is_given() -> None:
    keys = {base64.b64decode(the(render(), "Secret")["data"]["POINTSMAN_API_KEY"]).decode() for _ in range(2)}
    assert len(keys) == 2
    assert all(len(key) == 43 and key.startswith("pm-") for key in keys)


def test_an_existing_secret_is_used_and_none_made() -> None:
    manifests = render({"secret": {"existingSecret": "mine"}})
    assert of_kind(manifests, "Secret") == []
    container = the(manifests, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["envFrom"] == [{"secretRef": {"name": "mine"}}]


def test_the_image_by_tag_or_digest() -> None:
    assert gateway_container()["image"] == "pointsman:0.1.0"
    assert gateway_container({"image": {"tag": "main"}})["image"] == "pointsman:main"
    digest = "sha256:" + "a" * 64
    assert gateway_container({"image": {"tag": "main", "digest": digest}})["image"] == f"pointsman@{digest}"


def test_an_update_never_takes_a_replica_away_before_the_next_is_ready() -> None:
    spec = the(render(), "Deployment")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    container = spec["template"]["spec"]["containers"][0]
    assert container["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 40


def test_the_gateway_is_told_where_to_listen() -> None:
    args = gateway_container({"gateway": {"port": 9090, "workers": 3}})["args"]
    assert args == [
        "serve",
        "--config=/etc/pointsman/config.yaml",
        "--host=0.0.0.0",
        "--port=9090",
        "--workers=3",
    ]


def test_the_test_pod_may_call_a_gateway_that_picks_its_callers() -> None:
    values = {"networkPolicy": {"from": [{"namespaceSelector": {"matchLabels": {"team": "apps"}}}]}}
    manifests = render(values)
    (rule,) = the(manifests, "NetworkPolicy")["spec"]["ingress"]
    allowed = [peer["podSelector"]["matchLabels"] for peer in rule["from"] if "podSelector" in peer]
    assert [labels.items() <= the(manifests, "Pod", "test")["metadata"]["labels"].items() for labels in allowed] == [
        True
    ]


def test_restricted_egress_still_reaches_dns_redis_and_the_experts() -> None:
    values = {**value_sets()["experts"], "networkPolicy": {"restrictEgress": True}}
    egress = the(render(values), "NetworkPolicy")["spec"]["egress"]
    assert [[port["port"] for port in rule["ports"]] for rule in egress] == [[53, 53], [6379], [8000], [8000]]
    reached = [
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for rule in egress[1:] for peer in rule["to"]
    ]
    assert reached == ["redis", "expert-qwen3-8b", "expert-qwen3-coder-30b"]


def test_large_numbers_of_the_settings_stay_whole() -> None:
    values = {"config": {"server": {"max_body_bytes": 33554432}}}
    config = the(render(values), "ConfigMap")["data"]["config.yaml"]
    assert "max_body_bytes: 33554432\n" in config


@pytest.mark.parametrize(("ingress", "scheme"), [({}, "http"), ({"tlsSecret": "cert"}, "https")], ids=["plain", "tls"])
def test_the_notes_say_where_it_answers(ingress: dict[str, str], scheme: str) -> None:
    values = {"ingress": {"enabled": True, "host": "models.example.com", **ingress}}
    notes = render_files(values)["pointsman/templates/NOTES.txt"]
    assert f"{scheme}://models.example.com/" in notes


def test_the_notes_say_when_no_service_monitor_could_be_made() -> None:
    values = {"metrics": {"serviceMonitor": {"enabled": True}}}
    assert "No ServiceMonitor" in render_files(values)["pointsman/templates/NOTES.txt"]
    assert "No ServiceMonitor" not in render_files(values, monitoring=True)["pointsman/templates/NOTES.txt"]


def test_the_service_monitor_brings_the_key_to_the_metrics() -> None:
    def endpoint(monitor: dict[str, Any]) -> dict[str, Any]:
        values = {"metrics": {"serviceMonitor": {"enabled": True, **monitor}}}
        found: dict[str, Any] = the(render(values, monitoring=True), "ServiceMonitor")["spec"]["endpoints"][0]
        return found

    assert "authorization" not in endpoint({})
    assert endpoint({"keySecret": {"name": "keys"}})["authorization"] == {
        "credentials": {"name": "keys", "key": "METRICS_KEY"}
    }
