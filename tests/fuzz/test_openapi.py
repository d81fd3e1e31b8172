"""schemathesis over the OpenAPI document of a running gateway: no server error, and answers as the document says.

What the document leaves to the vendors of the APIs is described here as far as we read it, so that the cases get past
the first check.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.running import fake
from tests.e2e.served import served

pytest.importorskip("schemathesis", reason="the extra dev is absent")

TEXT = {"type": "string"}
ROUTING = {
    "type": "object",
    "properties": {
        "max_cost_usd": {"type": "number", "minimum": 0},
        "max_energy_j": {"type": "number", "exclusiveMinimum": 0},
        "max_latency_ms": {"type": "number", "exclusiveMinimum": 0},
        "min_quality": {"type": "number", "minimum": 0, "maximum": 1},
        "weights": {"type": "object", "properties": {"cost": {"type": "number", "minimum": 0}}},
        "experts": {"type": "array", "items": {"enum": ["only", "other"]}, "minItems": 1},
        "session": {"type": "string", "minLength": 1, "maxLength": 256},
        "priority": {"enum": ["low", "normal", "high"]},
        "cache": {"enum": ["use", "no-cache", "no-store"]},
        "local_only": {"type": "boolean"},
    },
    "additionalProperties": False,
}
PART = {
    "type": "object",
    "properties": {"type": {"enum": ["text", "image_url"]}, "text": TEXT, "image_url": {"type": "object"}},
    "required": ["type"],
}
MESSAGE = {
    "type": "object",
    "properties": {
        "role": {"enum": ["system", "user", "assistant", "tool"]},
        "content": {"anyOf": [TEXT, {"type": "array", "items": PART}]},
    },
    "required": ["role", "content"],
}
SAMPLING = {
    "model": {"enum": ["auto", "only"]},
    "stream": {"type": "boolean"},
    "max_tokens": {"type": "integer", "minimum": 1, "maximum": 64},
    "temperature": {"type": "number"},
    "n": {"type": "integer"},
    "stop": {"anyOf": [TEXT, {"type": "array", "items": TEXT}]},
    "tools": {"type": "array", "items": {"type": "object"}},
    "routing": ROUTING,
}
CHAT = {
    "type": "object",
    "properties": {**SAMPLING, "messages": {"type": "array", "items": MESSAGE, "minItems": 1}},
    "required": ["model", "messages"],
}
COMPLETION = {
    "type": "object",
    "properties": {**SAMPLING, "prompt": {"anyOf": [TEXT, {"type": "array", "items": TEXT}]}},
    "required": ["model", "prompt"],
}


def operation(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "post": {
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {"default": {"description": "an answer, or an error in OpenAI's shape"}},
        }
    }


@pytest.mark.slow
def test_nothing_that_the_document_allows_or_forbids_makes_a_server_error(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    pool = [fake("only", generalist=True, options={"tokens_per_s": 100_000}), fake("other")]
    settings.write_text(yaml.safe_dump({"pool": {"experts": pool}, "redis": {"embedded": False}}), "utf-8")
    with served(tmp_path, "--config", str(settings)) as (url, _):
        with urllib.request.urlopen(f"{url}/openapi.json", timeout=10) as reply:
            document = json.load(reply)
        ours = set(document["paths"])
        assert {"/v1/route", "/v1/feedback", "/v1/decisions/{decision_id}", "/v1/models"} <= ours
        document["paths"] |= {
            "/v1/chat/completions": operation(CHAT),
            "/v1/completions": operation(COMPLETION),
            "/v1/route": operation({"anyOf": [CHAT, COMPLETION]}),
        }
        described = tmp_path / "openapi.json"
        described.write_text(json.dumps(document), "utf-8")
        command = [sys.executable, "-m", "schemathesis.cli", "run", str(described), "--url", url, "--no-color"]
        command += ["--phases", "coverage,fuzzing", "--checks", "not_a_server_error,content_type_conformance"]
        command += ["--max-examples", "40", "--max-time", "30", "--generation-deterministic", "--request-timeout", "5"]
        command += ["--suppress-health-check", "all"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    tried = re.search(r"(\d+) generated, \1 passed", ran.stdout)
    assert tried is not None, ran.stdout[-2000:]
    assert int(tried[1]) > 500
