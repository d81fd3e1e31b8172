"""The chart, rendered by the real Helm engine (Helm 4 as a shared library) for a given Kubernetes version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from helm_python import Chart, _native

CHART_DIR = Path(__file__).parents[3] / "helm" / "pointsman"
KUBE_VERSIONS = ("1.29", "1.31", "1.34")
MONITORING_API = "monitoring.coreos.com/v1"

Manifest: TypeAlias = dict[str, Any]


def value_sets() -> dict[str, dict[str, Any]]:
    """The defaults and every file in ci/, by name."""
    files = sorted((CHART_DIR / "ci").glob("*-values.yaml"))
    return {"default": {}} | {file.name.removesuffix("-values.yaml"): _load(file) for file in files}


def _load(file: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return values


@cache
def chart() -> Chart:
    return Chart.load(CHART_DIR)


def render_files(
    values: Mapping[str, Any] | None = None, *, kube: str = "1.31", monitoring: bool = False, release: str = "demo"
) -> dict[str, str]:
    """Template path -> rendered text.

    The engine takes the Kubernetes version only through its native call; it refuses options it does not know, so a
    change of that interface fails loudly.
    """
    options = {"name": release, "namespace": "prod", "kube_version": f"v{kube}.0"}
    if monitoring:
        options["api_versions"] = [MONITORING_API]  # type: ignore[assignment]
    rendered: dict[str, str] = json.loads(
        _native.call_string("helm_render", chart()._raw(), json.dumps(values or {}), json.dumps(options))
    )
    return rendered


def render(
    values: Mapping[str, Any] | None = None, *, kube: str = "1.31", monitoring: bool = False, release: str = "demo"
) -> list[Manifest]:
    """Every object of the release, hooks included."""
    files = render_files(values, kube=kube, monitoring=monitoring, release=release)
    return [
        manifest
        for path, text in sorted(files.items())
        if path.endswith(".yaml")
        for manifest in yaml.safe_load_all(text)
        if manifest is not None
    ]


def of_kind(manifests: list[Manifest], kind: str, component: str | None = None) -> list[Manifest]:
    """The objects of a kind, of one component if named."""
    return [
        manifest
        for manifest in manifests
        if manifest["kind"] == kind
        and component in (None, manifest["metadata"]["labels"]["app.kubernetes.io/component"])
    ]


def the(manifests: list[Manifest], kind: str, component: str = "gateway") -> Manifest:
    """The one object of a kind and component."""
    (found,) = of_kind(manifests, kind, component)
    return found


def pod_specs(manifests: list[Manifest]) -> list[tuple[str, dict[str, str], dict[str, Any]]]:
    """Name, labels and spec of every pod that would run."""
    pods = []
    for manifest in manifests:
        name = f"{manifest['kind']}/{manifest['metadata']['name']}"
        if manifest["kind"] == "Deployment":
            template = manifest["spec"]["template"]
            pods.append((name, template["metadata"]["labels"], template["spec"]))
        elif manifest["kind"] == "Pod":
            pods.append((name, manifest["metadata"]["labels"], manifest["spec"]))
    return pods
