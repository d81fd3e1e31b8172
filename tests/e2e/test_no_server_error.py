"""Nothing a client sends makes a 500: requests bent out of shape, straight into the app."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pointsman.gateway.app import create_app
from pointsman.gateway.settings import Settings
from tests.e2e.answering import answering_router, answering_tree

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
#: What the null experts and flags look for, and what they must bear.
SAID = st.sampled_from(
    ["What is 2+2?", "9^9^9^9", "1/0", "When are you open?", "[Flag: smallest model]", "[Flag:", " "]
)
PART = st.fixed_dictionaries(
    {}, optional={"type": st.sampled_from(["text", "image_url", "input_audio"]) | JSON, "text": SAID | JSON}
)
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "system", "assistant", "tool"]) | JSON,
        "content": SAID | st.lists(PART, max_size=3) | JSON,
        "name": JSON,
    },
)
#: A request that is understood, in most of its parts.
CHAT = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["auto", "cheap", "calculator", "exact-cache"]),
        "messages": st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": SAID}), min_size=1, max_size=3),
    },
    optional={
        "stream": st.booleans(),
        "temperature": st.sampled_from([0, 0.5, False]) | JSON,
        "n": st.sampled_from([1, 2]) | JSON,
        "max_tokens": st.sampled_from([1, 50, 2**63 - 1]),
        "routing": st.fixed_dictionaries(
            {},
            optional={
                "cache": st.sampled_from(["use", "no-cache", "no-store"]),
                "evidence": st.sampled_from([True, False, {"max_calls": 2}]),
                "session": SAID,
                "weights": st.dictionaries(st.sampled_from(["quality", "cost", "latency"]), st.floats(0, 1e308)),
            },
        ),
    },
)
ROUTING = st.fixed_dictionaries(
    {},
    optional={
        "max_energy_j": JSON, "max_cost_usd": st.floats() | JSON, "max_ttft_ms": JSON, "min_quality": JSON,
        "weights": st.dictionaries(st.sampled_from(["cost", "energy", "size", "nothing"]), JSON) | JSON,
        "experts": st.lists(st.sampled_from(["cheap", "twin", "c"])) | JSON, "local_only": JSON,
    },
)  # fmt: skip
BODY = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["auto", "cheap", "nobody"]) | JSON,
        "messages": st.lists(MESSAGE, max_size=3) | JSON,
        "prompt": st.lists(st.integers() | TEXT, max_size=3) | JSON,
        "routing": ROUTING | JSON,
        "stream": st.booleans() | JSON,
        "max_tokens": st.integers(-5, 50) | JSON,
        "tools": JSON, "response_format": JSON, "logprobs": JSON, "stream_options": JSON, "stop": JSON,
        "decision_id": JSON, "quality": JSON,
    },
)  # fmt: skip
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"content-type",
                b"content-length",
                b"content-encoding",
                b"authorization",
                b"x-pointsman-max-energy-j",
                b"x-pointsman-weight-cost",
                b"traceparent",
                b"expect",
            ]
        ),
        st.binary(max_size=12).map(lambda value: value.replace(b"\n", b"").replace(b"\r", b"")),
    ),
    max_size=3,
)
PATHS = ["/v1/chat/completions", "/v1/completions", "/v1/route", "/v1/feedback"]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A gateway with everything switched on."""
    artifact = answering_router(tmp_path_factory.mktemp("router"))
    tree = answering_tree(artifact, {"cheap": "The answer is C.", "twin": " ", "judge": "It depends on what you mean."})
    tree["pool"]["probe_interval_s"] = 0
    tree["router"]["flags"] = True
    tree["safety"] = {"enabled": True, "cautious": ["twin"]}
    tree["average_budgets"] = {"max_cost_usd": 1e-4, "max_energy_j": 10, "p95_ttft_ms": 100}
    tree["null_experts"] = {
        "share": 0.5,
        "calculator": True,
        "constants": {"entries": [{"ask": ["When are you open?"], "answer": "At nine."}]},
        "refusal": {"message": "No.", "topics": [{"name": "opening", "examples": ["When is the bank open?"]}]},
        "answers": {"exact": True, "semantic": True, "any_temperature": True},
    }
    return create_app(Settings.model_validate(tree), {})


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


async def call(app: Any, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> tuple[int, bytes]:
    """One request without a socket."""
    sent: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    }  # fmt: skip
    async with asyncio.timeout(10):
        await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@given(
    path=st.sampled_from(PATHS),
    headers=HEADERS,
    body=(BODY | CHAT).map(lambda tree: orjson.dumps(_writable(tree))) | st.binary(max_size=100),
)
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_makes_a_server_error(
    app: Any, loop: asyncio.AbstractEventLoop, path: str, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    status, answer = loop.run_until_complete(call(app, path, headers, body))
    assert status < 500, (status, answer)
    if status >= 400:
        assert set(orjson.loads(answer)["error"]) >= {"message", "type", "param", "code"}


def _writable(value: Any) -> Any:
    """What orjson can write: integers within 64 bits as they are, others as floats."""
    if isinstance(value, dict):
        return {key: _writable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_writable(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return float(value)
    return value
