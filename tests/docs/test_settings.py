"""Every settings file that stands in a page, or comes along, is checked, served and asked once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pointsman.gateway.process.redis_server import EmbeddedRedis
from tests.docs.blocks import ROOT, Block, all_blocks, whole_files
from tests.docs.stand_ins import StandIns
from tests.docs.walk import Ports
from tests.e2e.served import served

SETTINGS = [block for block in all_blocks() if block.kind == "yaml" and block.mark != "not settings"] + whole_files()
#: The file that a fragment belongs to: the pages' two experts.
WHOLE = """\
pool:
  experts:
    - {name: small, backend: openai_http, base_url: "http://127.0.0.1:8001/v1", generalist: true}
    - {name: large, backend: openai_http, base_url: "http://127.0.0.1:8002/v1", quality_prior: {"*": 0.8}}
"""


@pytest.fixture(scope="module")
def stand_ins() -> Iterator[StandIns]:
    with StandIns() as servers:
        yield servers


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a real Redis is, for the settings that name one."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"), scripts=True)
    assert server.start()
    yield server.url
    server.stop()


def whole(block: Block) -> str:
    """The block as a whole file."""
    if block.mark != "fragment":
        return block.text
    tree, below = yaml.safe_load(WHOLE), yaml.safe_load(block.text)
    if block.said == "an entry of pool.experts":
        tree["pool"]["experts"] += below
    else:
        assert block.said == "beside pool", block.place
        tree |= below
    return yaml.safe_dump(tree)


def caller(tree: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """Put every secret that the settings refer to where they say; the key of somebody who may ask."""
    text = json.dumps(tree, default=str)
    named = re.findall(r'_env": "(\w+)"|os\.environ/(\w+)', text)
    secrets = {name: f"sk-{name.lower()}-{'0' * 20}" for name in ("".join(pair) for pair in named)}
    for name, secret in secrets.items():
        monkeypatch.setenv(name, secret)
    if "master_key" in tree.get("general_settings", {}):
        return secrets["LITELLM_MASTER_KEY"]
    keys = tree.get("auth", {}).get("keys", [])
    return next((secrets[key["key_env"]] for key in keys if "key_env" in key and key.get("role") != "metrics"), "none")


def pointsman(*arguments: str) -> None:
    command = [sys.executable, "-m", "pointsman.gateway.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def reachable(tree: dict[str, Any]) -> str:
    """Whom to ask: whomever the router chooses, but no provider of litellm's, which is not on this machine."""
    pool = tree.get("pool", tree)  # litellm's own files have their models at the top
    experts = pool.get("experts", [])
    local = [one["model_name"] for one in pool.get("model_list", []) if "api_base" in one["litellm_params"]]
    if all(expert["backend"] != "litellm" for expert in experts) and not local:
        return "auto"
    return next(iter([*local, *(expert["name"] for expert in experts if expert["backend"] == "openai_http")]))


def ask(url: str, key: str, model: str) -> dict[str, Any]:
    body = {"model": model, "max_tokens": 20, "messages": [{"role": "user", "content": "Sort a list in Python."}]}
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as reply:
        answer: dict[str, Any] = json.loads(reply.read())
    return answer


@pytest.mark.slow
@pytest.mark.parametrize("block", SETTINGS, ids=lambda block: block.place)
def test_the_settings_are_checked_served_and_asked_once(
    block: Block, tmp_path: Path, stand_ins: StandIns, redis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Ports(stand_ins.port).here(whole(block))
    file = tmp_path / "settings.yaml"
    file.write_text(text, encoding="utf-8")
    tree = yaml.safe_load(text)
    if "redis" in tree:
        monkeypatch.setenv("REDIS_URL", redis)
    key = caller(tree, monkeypatch)
    artefact = tree.get("router", {}).get("artifact", "default")
    if artefact != "default":
        # Of the reader's own making, on the table that comes along.
        pointsman("train", "--table", str(ROOT / "examples/data/nano"), "--out", str(tmp_path / artefact))
    pointsman("check-config", "--keys", str(file))
    with served(tmp_path, "--config", str(file)) as (url, _):
        if "redis" in tree:
            with urllib.request.urlopen(f"{url}/ready", timeout=10) as ready:
                # Told to operators alone where keys are set.
                assert json.loads(ready.read()).get("redis", "ok") == "ok"
        assert ask(url, key, reachable(tree))["choices"][0]["message"]["content"]


def test_no_page_but_these_fragments_is_less_than_a_whole_file() -> None:
    fragments = [block.place for block in SETTINGS if block.mark == "fragment"]
    assert len(fragments) <= 3, fragments
    assert len(SETTINGS) >= 10
