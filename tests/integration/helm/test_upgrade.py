"""An upgrade keeps the generated key, since callers hold it. Asked of a cluster, played by a small API server."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
import yaml
from helm_python import Config

from tests.integration.helm.engine import chart

KEPT = "pm-the-key-that-callers-hold"
SECRET_PATH = "/api/v1/namespaces/prod/secrets/demo-pointsman"


class ApiServer(BaseHTTPRequestHandler):
    """As much of the Kubernetes API as `lookup` asks for: discovery of the core group, and one Secret."""

    secret_exists = True
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.asked.append(path)
        answers: dict[str, dict[str, Any]] = {
            "/version": {"major": "1", "minor": "31", "gitVersion": "v1.31.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
            "/api/v1": {
                "kind": "APIResourceList",
                "groupVersion": "v1",
                "resources": [
                    {
                        "name": "secrets",
                        "singularName": "secret",
                        "namespaced": True,
                        "kind": "Secret",
                        "verbs": ["get"],
                    }
                ],
            },
        }
        if self.secret_exists:
            answers[SECRET_PATH] = {
                "kind": "Secret",
                "apiVersion": "v1",
                "metadata": {"name": "demo-pointsman", "namespace": "prod"},
                "data": {"POINTSMAN_API_KEY": base64.b64encode(KEPT.encode()).decode()},
            }
        status, body = 200, answers.get(path)
        if body is None:
            status = 404
            body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Keep quiet."""


@pytest.fixture
def cluster() -> Iterator[str]:
    ApiServer.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), ApiServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def generated_key(url: str, values: dict[str, Any] | None = None) -> str:
    with Config(kube_apiserver=url, namespace="prod", storage_driver="memory") as config:
        files = config.render(chart(), values, name="demo", namespace="prod", is_upgrade=True)
    secret = yaml.safe_load(files["pointsman/templates/gateway-secret.yaml"])
    return base64.b64decode(secret["data"]["POINTSMAN_API_KEY"]).decode()


def test_the_generated_key_is_kept(cluster: str) -> None:
    assert generated_key(cluster) == KEPT
    assert SECRET_PATH in ApiServer.asked


def test_a_given_key_wins(cluster: str) -> None:
    assert generated_key(cluster, {"secret": {"values": {"POINTSMAN_API_KEY": "new"}}}) == "new"


def test_a_first_install_makes_one(cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ApiServer, "secret_exists", False)
    key = generated_key(cluster)
    assert key.startswith("pm-")
    assert key != KEPT
