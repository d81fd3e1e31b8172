"""The chart lints, and every object it makes is one that Kubernetes knows, field by field."""

from __future__ import annotations

import helm_python
import kubernetes_validate
import pytest
from kubernetes_validate import SchemaNotFoundError

from tests.integration.helm.engine import CHART_DIR, Manifest, of_kind, value_sets


def test_every_object_fits_the_schema_of_its_kind(
    combination: tuple[str, str, bool], manifests: list[Manifest]
) -> None:
    _, kube, _ = combination
    for manifest in manifests:
        try:
            kubernetes_validate.validate(manifest, kube, strict=True)
        except SchemaNotFoundError:
            # The one kind that is not Kubernetes's own.
            assert manifest["kind"] == "ServiceMonitor"


@pytest.mark.parametrize("name", value_sets())
def test_lint_finds_nothing(name: str) -> None:
    result = helm_python.lint(CHART_DIR, values=value_sets()[name], strict=True, namespace="prod")
    assert result["errors"] == []
    assert [message for message in result["messages"] if message["severity"] > 1] == []


def test_the_validator_refuses_what_it_should() -> None:
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": {"bogus": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, "1.31", strict=True)


def test_a_service_monitor_only_where_the_cluster_knows_it(
    combination: tuple[str, str, bool], manifests: list[Manifest]
) -> None:
    name, _, monitoring = combination
    monitors = of_kind(manifests, "ServiceMonitor")
    assert len(monitors) == (1 if monitoring and name == "full" else 0)
    for monitor in monitors:
        assert monitor["spec"]["endpoints"] == [{"port": "http", "path": "/metrics", "interval": "30s"}]
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
