"""The embedded default as a new user meets it: served by the command, asked the README's prompts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import openai
import pytest

from tests.e2e.served import ROOT, served

#: The README's prompts and who should answer them: `ask 'prompt'   # expert`.
PROMPTS = re.findall(r"^ask '([^']+)' +# (nano-\w+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)

#: What must not be loaded to serve.
HEAVY = ("torch", "sklearn", "scipy", "litellm", "transformers", "sentence_transformers", "pyarrow", "matplotlib")


class Gateway(NamedTuple):
    """A served default pool, and its memory before anybody asked it anything."""

    url: str
    pid: int
    resident_mb_before: float


def resident_mb(pid: int) -> float:
    """Resident memory in MB (10^6 bytes)."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024 / 1e6  # type: ignore[index]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with served(tmp_path_factory.mktemp("serve")) as (url, pid):
        yield Gateway(url, pid, resident_mb(pid))


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0, timeout=120) as client:
        yield client


def test_the_readme_has_a_prompt_for_every_expert() -> None:
    assert sorted(expert for _, expert in PROMPTS) == [
        "nano-clinical",
        "nano-code",
        "nano-general",
        "nano-math",
        "nano-prose",
    ]


@pytest.mark.parametrize(("prompt", "expert"), PROMPTS)
def test_the_readme_s_prompts_reach_the_right_experts(client: openai.OpenAI, prompt: str, expert: str) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": prompt}], max_tokens=24, temperature=0
    )
    answer = raw.parse()
    assert (answer.model, raw.headers["x-pointsman-expert"]) == (expert, expert)
    assert answer.usage is not None
    assert 1 <= answer.usage.completion_tokens <= 24
    text = answer.choices[0].message.content
    stream = client.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": prompt}],
        max_tokens=24,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert {chunk.model for chunk in chunks} == {expert}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    assert chunks[-1].usage == answer.usage


def test_the_readme_s_curl_works(gateway: Gateway) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    prompt, expert = PROMPTS[0]
    body = {"model": "auto", "max_tokens": 8, "messages": [{"role": "user", "content": prompt}]}
    command = [curl, "-sD-", f"{gateway.url}/v1/chat/completions", "-H", "content-type: application/json"]
    output = subprocess.run([*command, "-d", json.dumps(body)], capture_output=True, text=True, check=True).stdout
    assert f"x-pointsman-expert: {expert}" in output
    assert f'"model":"{expert}"' in output.replace(" ", "")


def test_an_embedded_redis_came_along(gateway: Gateway) -> None:
    with urllib.request.urlopen(f"{gateway.url}/ready") as reply:
        ready = json.load(reply)
    assert (ready["status"], ready["redis"]) == ("ready", "ok")


def test_the_gateway_stays_small_and_loads_nothing_heavy(gateway: Gateway) -> None:
    assert gateway.resident_mb_before < 150
    mapped = Path(f"/proc/{gateway.pid}/maps").read_text("utf-8")
    assert not [name for name in ("/torch/", "/sklearn/", "/scipy/", "/pyarrow/") if name in mapped]


def test_composing_the_gateway_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pointsman.gateway.app import create_app; "
        "from pointsman.gateway.settings import load_settings; "
        "create_app(load_settings(None, {}), {}); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert output.strip() == "[]"


def test_the_readme_s_budget_can_be_met(client: openai.OpenAI) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    routing = json.loads(re.search(r'extra_body=\{"routing": (\{.*\})\}', readme)[1])  # type: ignore[index]
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": PROMPTS[0][0]}], extra_body={"routing": routing}
    )
    assert raw.headers["x-pointsman-expert"] == PROMPTS[0][1]
