"""Every values set, at every Kubernetes version, with and without the ServiceMonitor kind."""

from __future__ import annotations

import itertools

import pytest

from tests.integration.helm.engine import KUBE_VERSIONS, Manifest, render, value_sets

MATRIX = list(itertools.product(value_sets(), KUBE_VERSIONS, (False, True)))


@pytest.fixture(params=MATRIX, ids=[f"{name}-{kube}-{'monitored' if mon else 'plain'}" for name, kube, mon in MATRIX])
def combination(request: pytest.FixtureRequest) -> tuple[str, str, bool]:
    """Values set, Kubernetes version, whether the cluster knows ServiceMonitor."""
    picked: tuple[str, str, bool] = request.param
    return picked


@pytest.fixture
def manifests(combination: tuple[str, str, bool]) -> list[Manifest]:
    """The objects of the combination."""
    name, kube, monitoring = combination
    return render(value_sets()[name], kube=kube, monitoring=monitoring)
