"""A real `pointsman serve` in front of two real vLLM servers: what comes through it is what they say."""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.integration.vllm.conftest import DENSE, MIXTURE
from tests.integration.vllm.reading import streamed, timeless
from tests.integration.vllm.servers import Answer, Server, free_port, running, wait_until_ready

#: The second expert goes by a name of its own, as in any pool whose names are not those of the checkpoints.
GENERALIST = "generalist"
MODELS = {DENSE: DENSE, GENERALIST: MIXTURE}

CONFIG = """
pool:
  probe_interval_s: 1
  experts:
    - name: {dense}
      backend: openai_http
      base_url: {dense_url}
      card: Arithmetic.
      known_as: nano-math
      local: true
      context_window_tokens: 1024
    - name: {generalist}
      backend: openai_http
      base_url: {mixture_url}
      model: {mixture}
      card: Everything else.
      known_as: nano-general
      generalist: true
      local: true
      context_window_tokens: 1024
redis:
  embedded: false
"""

CHAT = {"messages": [{"role": "user", "content": "What is 12 + 7? Explain."}]}
COMPLETION = {"prompt": "The sum of 12 and 7 is"}
ASKED = {"/v1/chat/completions": CHAT, "/v1/completions": COMPLETION}

each_expert = pytest.mark.parametrize("expert", MODELS)
each_endpoint = pytest.mark.parametrize("path", ASKED)


@pytest.fixture(scope="module")
def gateway(vllm_servers: dict[str, Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The gateway as an operator starts it."""
    folder = tmp_path_factory.mktemp("gateway")
    config = folder / "pointsman.yaml"
    config.write_text(
        CONFIG.format(
            dense=DENSE,
            dense_url=vllm_servers[DENSE].url,
            generalist=GENERALIST,
            mixture=MIXTURE,
            mixture_url=vllm_servers[MIXTURE].url,
        )
    )
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "pointsman.gateway.cli",
        "serve",
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with running("gateway", command, port, folder) as server:
        wait_until_ready([server], "/ready", timeout_s=60)
        yield server


@pytest.fixture
def behind(expert: str, vllm_servers: dict[str, Server]) -> Server:
    """The vLLM server behind an expert."""
    return vllm_servers[MODELS[expert]]


def both(gateway: Server, behind: Server, expert: str, path: str, **fields: Any) -> tuple[Answer, Answer]:
    """The same question through the gateway and without it."""
    asked = {"temperature": 0, "max_tokens": 24, "ignore_eos": True, **ASKED[path], **fields}
    through = gateway.ask("POST", path, {**asked, "model": expert})
    direct = behind.ask("POST", path, {**asked, "model": MODELS[expert]})
    return through, direct


@each_endpoint
@each_expert
def test_the_answer_and_its_usage_are_the_experts_own(gateway: Server, behind: Server, expert: str, path: str) -> None:
    through, direct = both(gateway, behind, expert, path)
    assert through.status == direct.status == 200
    assert timeless(through.body) == {**timeless(direct.body), "model": expert}
    assert through.json["usage"]["completion_tokens"] == 24
    assert through.headers["x-pointsman-expert"] == expert
    assert through.headers["x-pointsman-decision"]


@each_endpoint
@each_expert
@pytest.mark.parametrize("with_usage", [True, False])
def test_the_stream_is_the_experts_own(
    gateway: Server, behind: Server, expert: str, path: str, with_usage: bool
) -> None:
    options = {"stream_options": {"include_usage": True}} if with_usage else {}
    through, direct = both(gateway, behind, expert, path, stream=True, **options)
    assert through.status == direct.status == 200
    assert through.headers["content-type"].startswith("text/event-stream")
    said, expected = streamed(through.body), streamed(direct.body)
    assert said.text == expected.text
    assert (said.role, said.object, said.finish_reason) == (expected.role, expected.object, expected.finish_reason)
    assert said.usage == expected.usage
    assert (said.usage is not None) is with_usage
    assert said.model == expert


@each_expert
def test_what_the_expert_refuses_is_refused_in_its_words(gateway: Server, behind: Server, expert: str) -> None:
    through, direct = both(gateway, behind, expert, "/v1/completions", logprobs=1000)
    assert through.status == direct.status == 400
    assert through.json["error"]["message"] == direct.json["error"]["message"]


def test_auto_is_answered_by_an_expert_that_says_who_it_is(gateway: Server) -> None:
    answer = gateway.ask("POST", "/v1/chat/completions", {**CHAT, "model": "auto", "max_tokens": 8})
    assert answer.status == 200
    assert answer.headers["x-pointsman-expert"] in MODELS
    assert answer.json["model"] == answer.headers["x-pointsman-expert"]
    assert answer.json["usage"]["completion_tokens"] > 0


def test_the_models_are_the_experts_and_auto(gateway: Server) -> None:
    names = {model["id"] for model in gateway.ask("GET", "/v1/models").json["data"]}
    assert names == {*MODELS, "auto"}


@each_expert
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_the_work_behind_the_gateway(
    gateway: Server, behind: Server, expert: str, stream: bool
) -> None:
    made_before = behind.metric("vllm:generation_tokens_total")
    asked = {**CHAT, "model": expert, "max_tokens": 900, "ignore_eos": True, "stream": stream}
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)) as connection:
        connection.request("POST", "/v1/chat/completions", json.dumps(asked), {"content-type": "application/json"})
        eventually(lambda: behind.metric("vllm:num_requests_running") == 1, 20)
        if stream:
            # The response holds the socket too: it is closed when both are.
            with closing(connection.getresponse()) as response:
                assert response.read(64)
    eventually(lambda: behind.metric("vllm:num_requests_running") == 0, 5)
    made = behind.metric("vllm:generation_tokens_total") - made_before
    assert made < 900, "the answer was complete before the client left"


def eventually(condition: Callable[[], bool], timeout_s: float) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: It did not come to hold.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.01)
