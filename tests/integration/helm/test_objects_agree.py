"""Rules across objects, which no schema of a single kind can hold."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.integration.helm.engine import Manifest, of_kind, pod_specs, render, value_sets

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def quantity(text: object) -> float:
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text))
    assert match, f"not a quantity: {text!r}"
    return float(match[1]) * UNITS[match[2]]


def subset(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [*spec["containers"], *spec.get("initContainers", [])]


def references(value: object, key: str) -> list[dict[str, Any]]:
    """Every mapping that stands under a key, at any depth."""
    found: list[dict[str, Any]] = []
    if isinstance(value, dict):
        for name, child in value.items():
            if name == key and isinstance(child, dict):
                found.append(child)
            found += references(child, key)
    elif isinstance(value, list):
        for child in value:
            found += references(child, key)
    return found


def test_names_are_dns_labels_and_unique(manifests: list[Manifest]) -> None:
    seen = set()
    for manifest in manifests:
        name = manifest["metadata"]["name"]
        assert LABEL.fullmatch(name), name
        assert (manifest["kind"], name) not in seen
        seen.add((manifest["kind"], name))


def test_every_object_names_the_namespace_and_the_recommended_labels(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        assert manifest["metadata"]["namespace"] == "prod"
        labels = manifest["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "demo"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert {"app.kubernetes.io/name", "app.kubernetes.io/component", "helm.sh/chart"} <= labels.keys()
        assert all(LABEL_VALUE.fullmatch(value) for value in labels.values()), labels


def test_deployments_select_their_own_pods_and_no_others(manifests: list[Manifest]) -> None:
    for deployment in of_kind(manifests, "Deployment"):
        selector = deployment["spec"]["selector"]["matchLabels"]
        matching = [name for name, labels, _ in pod_specs(manifests) if subset(selector, labels)]
        assert matching == [f"Deployment/{deployment['metadata']['name']}"]


def test_services_reach_a_named_port_of_one_deployment(manifests: list[Manifest]) -> None:
    services = of_kind(manifests, "Service")
    assert services
    for service in services:
        targets = [
            (name, spec) for name, labels, spec in pod_specs(manifests) if subset(service["spec"]["selector"], labels)
        ]
        assert [name for name, _ in targets] == [f"Deployment/{service['metadata']['name']}"]
        ports = {port["name"] for container in containers(targets[0][1]) for port in container.get("ports", [])}
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports
            assert port["protocol"] == "TCP"


def test_probes_speak_to_ports_that_exist(manifests: list[Manifest]) -> None:
    for name, _, spec in pod_specs(manifests):
        for container in containers(spec):
            names = {port["name"] for port in container.get("ports", [])}
            for port in container.get("ports", []):
                assert len(port["name"]) <= 15
                assert 0 < port["containerPort"] < 65536
                assert port["protocol"] == "TCP"
            for how in ("httpGet", "tcpSocket"):
                for probe in references(container, how):
                    assert probe["port"] in names, name


def test_long_running_containers_have_all_three_probes(manifests: list[Manifest]) -> None:
    for deployment in of_kind(manifests, "Deployment"):
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()


def test_policies_and_budgets_select_pods_of_the_release(manifests: list[Manifest]) -> None:
    pods = pod_specs(manifests)
    for policy in of_kind(manifests, "NetworkPolicy"):
        selector = policy["spec"]["podSelector"]["matchLabels"]
        assert any(subset(selector, labels) for _, labels, _ in pods)
        ports = {
            port["name"]
            for _, labels, spec in pods
            if subset(selector, labels)
            for container in containers(spec)
            for port in container.get("ports", [])
        }
        for rule in policy["spec"]["ingress"]:
            assert {port["port"] for port in rule["ports"]} <= ports
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        selector = budget["spec"]["selector"]["matchLabels"]
        assert sum(subset(selector, labels) for _, labels, _ in pods) == 1
    for spread in [constraint for _, _, spec in pods for constraint in spec.get("topologySpreadConstraints", [])]:
        assert sum(subset(spread["labelSelector"]["matchLabels"], labels) for _, labels, _ in pods) == 1


def test_every_pod_that_a_policy_isolates_is_reached_by_the_gateway(manifests: list[Manifest]) -> None:
    gateway_labels = next(labels for name, labels, _ in pod_specs(manifests) if name == "Deployment/demo-pointsman")
    for policy in of_kind(manifests, "NetworkPolicy"):
        component = policy["metadata"]["labels"]["app.kubernetes.io/component"]
        if component == "gateway":
            continue
        peers = [peer for rule in policy["spec"]["ingress"] for peer in rule["from"]]
        assert [subset(peer["podSelector"]["matchLabels"], gateway_labels) for peer in peers] == [True]


def test_the_autoscaler_scales_a_deployment_that_sets_no_replicas(manifests: list[Manifest]) -> None:
    deployments = {deployment["metadata"]["name"]: deployment for deployment in of_kind(manifests, "Deployment")}
    scaled = set()
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert (target["apiVersion"], target["kind"]) == ("apps/v1", "Deployment")
        assert "replicas" not in deployments[target["name"]]["spec"]
        assert scaler["spec"]["minReplicas"] <= scaler["spec"]["maxReplicas"]
        scaled.add(target["name"])
        # A share of the request needs a request.
        for metric in scaler["spec"]["metrics"]:
            for container in deployments[target["name"]]["spec"]["template"]["spec"]["containers"]:
                assert metric["resource"]["name"] in container["resources"]["requests"]
    for name, deployment in deployments.items():
        assert name in scaled or deployment["spec"]["replicas"] >= 1


def test_references_lead_somewhere(combination: tuple[str, str, bool], manifests: list[Manifest]) -> None:
    made = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
    # What an operator says they bring themselves.
    brought = {
        "experts": {("Secret", "hugging-face"), ("PersistentVolumeClaim", "weights")},
        "full": {("Secret", "pointsman-keys"), ("Secret", "redis-credentials"), ("Secret", "models-tls")},
        "minimal": {("ServiceAccount", "default")},
    }.get(combination[0], set())
    wanted = set()
    for _, _, spec in pod_specs(manifests):
        wanted |= {("Secret", reference["name"]) for reference in references(spec, "secretKeyRef")}
        wanted |= {("Secret", reference["name"]) for reference in references(spec, "secretRef")}
        wanted |= {("ConfigMap", reference["name"]) for reference in references(spec, "configMap")}
        wanted |= {("PersistentVolumeClaim", claim["claimName"]) for claim in references(spec, "persistentVolumeClaim")}
        if "serviceAccountName" in spec:
            wanted.add(("ServiceAccount", spec["serviceAccountName"]))
    for ingress in of_kind(manifests, "Ingress"):
        wanted |= {("Service", service["name"]) for service in references(ingress, "service")}
        wanted |= {("Secret", tls["secretName"]) for tls in ingress["spec"].get("tls", [])}
    assert wanted
    assert wanted - made - brought == set()


def test_keys_of_referenced_secrets_exist(manifests: list[Manifest]) -> None:
    secrets = {secret["metadata"]["name"]: secret["data"] for secret in of_kind(manifests, "Secret")}
    for _, _, spec in pod_specs(manifests):
        for reference in references(spec, "secretKeyRef"):
            if reference["name"] in secrets:
                assert reference["key"] in secrets[reference["name"]]


def test_mounts_name_volumes_and_volumes_are_mounted(manifests: list[Manifest]) -> None:
    for name, _, spec in pod_specs(manifests):
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        mounts = [mount for container in containers(spec) for mount in container.get("volumeMounts", [])]
        assert {mount["name"] for mount in mounts} == volumes, name
        assert len({mount["mountPath"] for mount in mounts}) == len(mounts), name


def test_requests_stay_within_limits(manifests: list[Manifest]) -> None:
    for name, _, spec in pod_specs(manifests):
        for container in containers(spec):
            resources = container["resources"]
            for resource, limit in resources["limits"].items():
                assert quantity(resources["requests"][resource]) <= quantity(limit), (name, resource)
            # Memory is the resource whose excess kills neighbours.
            assert "memory" in resources["limits"], name


def test_accelerators_are_quoted_and_equal_on_both_sides() -> None:
    specs = [spec for name, _, spec in pod_specs(render(value_sets()["experts"])) if "-expert-" in name]
    counts = []
    for spec in specs:
        resources = spec["containers"][0]["resources"]
        assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"]
        counts.append(resources["limits"]["nvidia.com/gpu"])
    # Strings, since a quantity is one.
    assert counts == ["1", "2"]


def test_every_container_is_restricted(manifests: list[Manifest]) -> None:
    """The restricted Pod Security Standard, and a root file system that nobody writes to."""
    for name, _, spec in pod_specs(manifests):
        assert spec["automountServiceAccountToken"] is False
        pod = spec["securityContext"]
        assert pod["runAsNonRoot"] is True, name
        assert pod["runAsUser"] > 0
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        assert not any("hostPath" in volume for volume in spec.get("volumes", []))
        for container in containers(spec):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}


def test_env_names_are_unique_and_values_are_strings(manifests: list[Manifest]) -> None:
    for name, _, spec in pod_specs(manifests):
        for container in containers(spec):
            env = container.get("env", [])
            assert len({variable["name"] for variable in env}) == len(env), name
            assert all(isinstance(variable["value"], str) for variable in env if "value" in variable)


@pytest.mark.parametrize("release", ["a", "pointsman", "r" * 53])
def test_long_and_short_release_names_make_valid_names(release: str) -> None:
    manifests = render(value_sets()["experts"], release=release)
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
    assert len(set(names)) == len(names)
    for _, name in names:
        assert LABEL.fullmatch(name), name
    for service in of_kind(manifests, "Service"):
        assert ("Deployment", service["metadata"]["name"]) in names
