"""What the chart refuses, and that it says why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helm_python import HelmError

from tests.integration.helm.engine import CHART_DIR, KUBE_VERSIONS, chart, render


def expert(**more: Any) -> dict[str, Any]:
    return {"name": "e", "model": "org/e", **more}


SCHEMA_REFUSES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"replica": 3}, "replica"),
    "unknown key below": ({"gateway": {"replica": 3}}, "replica"),
    "unknown key of an expert": ({"experts": [expert(gpus=1)]}, "gpus"),
    "text for a number": ({"gateway": {"replicas": "three"}}, "/gateway/replicas"),
    "a number for a text": ({"image": {"tag": 1.2}}, "/image/tag"),
    "privileged port": ({"gateway": {"port": 80}}, "/gateway/port"),
    "port out of range": ({"service": {"port": 65536}}, "/service/port"),
    "no replicas": ({"gateway": {"replicas": 0}}, "/gateway/replicas"),
    "unknown service type": ({"service": {"type": "ExternalName"}}, "/service/type"),
    "pull policy": ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    "short digest": ({"image": {"digest": "sha256:abc"}}, "/image/digest"),
    "no quantity": ({"gateway": {"resources": {"limits": {"memory": "12 zigs"}}}}, "memory"),
    "claims in resources": ({"gateway": {"resources": {"claims": []}}}, "claims"),
    "expert without model": ({"experts": [{"name": "e"}]}, "model"),
    "expert without name": ({"experts": [{"model": "org/e"}]}, "name"),
    "expert name in capitals": ({"experts": [expert(name="Big")]}, "/experts/0/name"),
    "half an accelerator": ({"experts": [expert(gpu={"count": 0})]}, "/experts/0/gpu/count"),
    "accelerator without domain": ({"experts": [expert(gpu={"resource": "gpu", "count": 1})]}, "resource"),
    "password in a URL": (
        {"redis": {"enabled": False, "externalUrl": "redis://:secret@cache:6379"}},
        "/redis/externalUrl",
    ),
    "name of a variable": ({"secret": {"values": {"MY-KEY": "x"}}}, "MY-KEY"),
    "empty secret": ({"secret": {"values": {"POINTSMAN_API_KEY": ""}}}, "POINTSMAN_API_KEY"),
    "no settings": ({"config": None}, "config"),
    "a label that is no text": ({"commonLabels": {"tier": 1}}, "/commonLabels/tier"),
    "all replicas away": ({"podDisruptionBudget": {"maxUnavailable": "110%"}}, "maxUnavailable"),
    "relative path": ({"ingress": {"path": "v1"}}, "/ingress/path"),
}

RULES: dict[str, tuple[dict[str, Any], str]] = {
    "empty pool": ({"config": {"pool": {"experts": []}}}, "config.pool: name at least one expert"),
    "no time to drain": ({"gateway": {"terminationGracePeriodSeconds": 25}}, "must be more than 25"),
    "drain of the settings": ({"config": {"server": {"graceful_shutdown_s": 60}}}, "must be more than 65"),
    "minimum above maximum": (
        {"autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 3}},
        "autoscaling.minReplicas is above",
    ),
    "nothing to scale by": (
        {"autoscaling": {"enabled": True, "targetCPUUtilizationPercentage": None}},
        "autoscaling needs",
    ),
    "two Redis": ({"redis": {"externalUrl": "redis://cache:6379"}}, "set enabled to false"),
    "two URLs": (
        {"redis": {"enabled": False, "externalUrl": "redis://cache:6379", "externalUrlSecret": {"name": "s"}}},
        "not both",
    ),
    "two secrets": ({"secret": {"existingSecret": "s", "values": {"A": "b"}}}, "not both"),
    "caller's key nowhere": (
        {"config": {"auth": {"keys": [{"name": "app", "key_env": "APP_KEY"}]}}},
        "key 'app' reads APP_KEY",
    ),
    "expert's key nowhere": (
        {"config": {"pool": {"experts": [{"name": "far", "backend": "openai_http", "api_key_env": "FAR_KEY"}]}}},
        "'far' reads FAR_KEY",
    ),
    "expert that nobody asks": ({"experts": [expert()]}, "'e' would run, but config.pool.experts does not name it"),
    "expert twice": (
        {"config": {"pool": {"experts": [{"name": "e"}]}}, "experts": [expert(), expert()]},
        "'e' stands there twice",
    ),
    "ingress without host": ({"ingress": {"enabled": True}}, "ingress.host"),
}


@pytest.mark.parametrize(("values", "named"), SCHEMA_REFUSES.values(), ids=SCHEMA_REFUSES.keys())
def test_the_schema_refuses(values: dict[str, Any], named: str) -> None:
    with pytest.raises(HelmError) as caught:
        render(values)
    assert named in str(caught.value)


@pytest.mark.parametrize(("values", "sentence"), RULES.values(), ids=RULES.keys())
def test_a_rule_across_values_refuses(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HelmError) as caught:
        render(values)
    assert sentence in str(caught.value)


def test_a_key_given_through_the_environment_is_accepted() -> None:
    variable = {"name": "APP_KEY", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "app"}}}
    keys = [{"name": "app", "key_env": "APP_KEY"}]
    assert render({"config": {"auth": {"keys": keys}}, "gateway": {"extraEnv": [variable]}})


def test_the_oldest_version_tested_is_the_oldest_accepted() -> None:
    assert chart().metadata["kubeVersion"] == f">={KUBE_VERSIONS[0]}.0-0"


def _objects(schema: object, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            found.append((path, schema))
        for key, child in schema.items():
            found += _objects(child, f"{path}/{key}")
    elif isinstance(schema, list):
        for index, child in enumerate(schema):
            found += _objects(child, f"{path}/{index}")
    return found


def test_every_object_of_our_own_is_closed() -> None:
    """Open are only Kubernetes's own structures, the gateway's settings (their own schema), and Helm's `global`."""
    schema = json.loads((CHART_DIR / "values.schema.json").read_text(encoding="utf-8"))
    loose = {path.rsplit("/", 1)[-1] for path, part in _objects(schema) if "additionalProperties" not in part}
    assert loose == {"config", "global", "affinity", "valueFrom", "items"}
    assert schema["additionalProperties"] is False


def _keys(value: object, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    if not isinstance(value, dict) or not value or path == ("config",):
        return {path}
    return {key for name, child in value.items() for key in _keys(child, (*path, name))}


def test_every_value_of_the_schema_has_a_default_and_is_used() -> None:
    """A value nobody reads is a promise nobody keeps."""
    schema = json.loads((CHART_DIR / "values.schema.json").read_text(encoding="utf-8"))
    values = chart().values

    def properties(part: dict[str, Any], path: tuple[str, ...]) -> set[tuple[str, ...]]:
        part = schema["$defs"][part["$ref"].rsplit("/", 1)[-1]] if "$ref" in part else part
        below = part.get("properties")
        if not below or (path and path[0] == "experts"):
            return {path}
        return {key for name, child in below.items() for key in properties(child, (*path, name))}

    stated = properties(schema, ()) - {("global",)}
    # resources: {requests, limits} are Kubernetes's own, given as a whole.
    defaults = {key for key in _keys(values) if key}
    for path in stated:
        trimmed = path[: path.index("resources") + 1] if "resources" in path else path
        assert any(key[: len(trimmed)] == trimmed for key in defaults), f"{'.'.join(path)} has no default"

    templates = "\n".join(template["data"] for template in chart().templates)
    for path in defaults:
        trimmed = path[: path.index("resources") + 1] if "resources" in path else path
        names = [".Values." + ".".join(trimmed)]
        if "image" in trimmed:
            names.append(".Values." + ".".join(trimmed[: trimmed.index("image") + 1]))
        if trimmed[:2] == ("redis", "externalUrlSecret"):
            names.append(".Values.redis.externalUrlSecret")
        assert any(name in templates for name in names), f"{'.'.join(path)} is read by no template"
