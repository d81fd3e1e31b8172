"""The embedded default as a new user meets it: served by the command, asked the README's prompts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest

ROOT = Path(__file__).parents[2]

#: The README's prompts and who should answer them: `ask 'prompt'   # expert`.
PROMPTS = re.findall(r"^ask '([^']+)' +# (nano-\w+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)

#: What must not be loaded to serve.
HEAVY = ("torch", "sklearn", "scipy", "litellm", "transformers", "sentence_transformers", "pyarrow", "matplotlib")


@dataclass(frozen=True, slots=True)
class Served:
    """A served default pool."""

    url: str
    pid: int
    resident_mb_before: float


def resident_mb(pid: int) -> float:
    """Resident memory in MB (10^6 bytes)."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024 / 1e6  # type: ignore[index]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("serve") / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "serve", "--port", "0"], stdout=output, stderr=output, cwd=ROOT
        )
        try:
            deadline = time.monotonic() + 60
            while (found := re.search(r" at (http://\S+)", log.read_text("utf-8"))) is None:
                assert process.poll() is None, log.read_text("utf-8")
                assert time.monotonic() < deadline, log.read_text("utf-8")
                time.sleep(0.05)
            yield Served(found[1], process.pid, resident_mb(process.pid))
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0, timeout=120) as client:
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


def test_the_readme_s_curl_works(served: Served) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    prompt, expert = PROMPTS[0]
    body = {"model": "auto", "max_tokens": 8, "messages": [{"role": "user", "content": prompt}]}
    command = [curl, "-sD-", f"{served.url}/v1/chat/completions", "-H", "content-type: application/json"]
    output = subprocess.run([*command, "-d", json.dumps(body)], capture_output=True, text=True, check=True).stdout
    assert f"x-pointsman-expert: {expert}" in output
    assert f'"model":"{expert}"' in output.replace(" ", "")


def test_an_embedded_redis_came_along(served: Served) -> None:
    with urllib.request.urlopen(f"{served.url}/ready") as reply:
        ready = json.load(reply)
    assert (ready["status"], ready["redis"]) == ("ready", "ok")


def test_the_gateway_stays_small_and_loads_nothing_heavy(served: Served) -> None:
    assert served.resident_mb_before < 150
    mapped = Path(f"/proc/{served.pid}/maps").read_text("utf-8")
    assert not [name for name in ("/torch/", "/sklearn/", "/scipy/", "/pyarrow/") if name in mapped]


def test_composing_the_gateway_imports_nothing_heavy() -> None:
    code = (
        "import sys; from gateway.app import create_app; from gateway.settings import load_settings; "
        "create_app(load_settings(None, {}), {}); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert output.strip() == "[]"
