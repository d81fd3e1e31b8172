"""deploy/compose.yaml: the Compose specification accepts it, and what it mounts and calls exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from pointsman.gateway.settings import load_settings

DEPLOY = Path(__file__).parents[3] / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")


def interpolated() -> dict[str, Any]:
    """With the defaults of `${NAME:-default}` and with merge keys resolved, as Compose does before it validates."""
    plain = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", TEXT)
    document: dict[str, Any] = yaml.safe_load(plain)
    return document


SERVICES: dict[str, dict[str, Any]] = interpolated()["services"]


def test_the_specification_accepts_it() -> None:
    compose = PyCompose.from_yaml(yaml.safe_dump(interpolated()))
    compose.validate()
    assert sorted(compose.service_names()) == ["gateway", "grafana", "prometheus", "redis"]


def test_the_specification_refuses_an_unknown_key() -> None:
    document = interpolated()
    document["services"]["gateway"]["healthcheque"] = {}
    with pytest.raises(Exception, match="healthcheque"):  # the parser's own error is a plain Exception
        PyCompose.from_yaml(yaml.safe_dump(document)).validate()


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_restricted_and_published_on_loopback_only(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned(name: str) -> None:
    image = SERVICES[name]["image"]
    assert "build" in SERVICES[name] or re.search(r":v?\d+\.\d+", image), image


@pytest.mark.parametrize("name", SERVICES)
def test_mounts_exist_and_volumes_are_declared(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        source = mount.split(":")[0]
        if source.startswith("."):
            assert (DEPLOY / source).exists(), source
            assert mount.endswith(":ro")
        else:
            assert source in interpolated()["volumes"]


def test_dependencies_are_services_and_healthy_ones_can_tell() -> None:
    for service in SERVICES.values():
        dependencies = service.get("depends_on", [])
        assert set(dependencies) <= SERVICES.keys()
        if isinstance(dependencies, dict):
            waited = [name for name, when in dependencies.items() if when["condition"] == "service_healthy"]
            assert all("healthcheck" in SERVICES[name] for name in waited)


def test_the_build_finds_the_dockerfile() -> None:
    build = SERVICES["gateway"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()


def test_the_gateways_settings_are_the_embedded_pool_open_to_loopback() -> None:
    settings = load_settings(DEPLOY / "compose" / "pointsman.yaml", {})
    default = load_settings(None, {})
    assert [(e.name, e.backend, e.generalist) for e in settings.pool.experts] == [
        (e.name, e.backend, e.generalist) for e in default.pool.experts
    ]
    assert settings.auth.allow_anonymous


def test_prometheus_scrapes_the_gateway_where_it_listens() -> None:
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    (job,) = scrape["scrape_configs"]
    ((host, port),) = [target.split(":") for target in job["static_configs"][0]["targets"]]
    assert host in SERVICES
    assert SERVICES[host]["ports"][0].endswith(f":{port}")
    (mount,) = [mount.split(":") for mount in SERVICES["prometheus"]["volumes"] if mount.startswith(".")]
    for rules in scrape["rule_files"]:
        assert (DEPLOY / mount[0] / Path(rules).relative_to(mount[1])).is_file()


def test_the_redis_url_names_a_service() -> None:
    assert SERVICES["gateway"]["environment"]["REDIS_URL"] == "redis://redis:6379/0"
    assert "redis" in SERVICES
