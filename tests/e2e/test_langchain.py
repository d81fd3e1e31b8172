"""What an application sees with LangChain: `ChatPointsman`, and LangChain's own OpenAI client on our address.

LangChain's standard suites run against a gateway in a process of its own. What only a real model could do (see a PDF,
hear, think) is declared as not supported, and their tests skip.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import aclosing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from pydantic import BaseModel

from gateway.clients.http import Events, GatewayError
from gateway.clients.langchain import ChatPointsman
from tests.e2e.running import fake, pool_of_fakes
from tests.e2e.served import ROOT, served

CODE = "Write a Python function that reverses a linked list."
#: A GIF of one dot.
DOT = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
ABLE = ["chat", "completions", "streaming", "tools", "vision", "json_schema"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a gateway with able fakes answers."""
    folder = tmp_path_factory.mktemp("gateway")
    experts = [{**expert, "capabilities": ABLE} for expert in pool_of_fakes()]
    experts.append(fake("fake-blind", prior={"*": 0.1}, capabilities=["chat", "streaming"]))
    # YAML holds JSON.
    (folder / "config.yaml").write_text(json.dumps({"pool": {"experts": experts}}), encoding="utf-8")
    with served(folder, "--config", str(folder / "config.yaml")) as (url, _):
        yield f"{url}/v1"


@pytest.fixture
def model(url: str) -> Iterator[ChatPointsman]:
    model = ChatPointsman(base_url=url)
    yield model
    model.close()


class TestChatPointsmanByItself(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatPointsman

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return True

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "fake-math"

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return (
            {"POINTSMAN_API_KEY": "sk-of-the-environment", "POINTSMAN_BASE_URL": "http://gateway.example/v1"},
            {},
            {"api_key": "sk-of-the-environment", "base_url": "http://gateway.example/v1"},
        )


class _Standard(ChatModelIntegrationTests):
    """What both clients can do with the scripted expert behind the gateway.

    The suite's test of images fetches its image from elsewhere; `test_images_pass_in_any_block` has one of its own.
    """

    @pytest.fixture(autouse=True)
    def _at(self, url: str) -> None:
        type(self).url = url

    url = ""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "auto", "base_url": self.url, "api_key": "none"}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        # The suite's own limit of 100 tokens would do; the rest of its parameters are the unit tests' business.
        return {"temperature": 0, "max_tokens": 200, "timeout": 60, "max_retries": 2}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "fake-math"


class TestChatPointsmanOnAGateway(_Standard):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatPointsman


class TestChatOpenAIOnAGateway(_Standard):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**super().chat_model_params, "stream_usage": True}


# The suites' base class is no suite.
del _Standard


def test_the_answer_tells_of_the_decision(model: ChatPointsman) -> None:
    answer = model.invoke(CODE)
    metadata = answer.response_metadata
    assert metadata["expert"] == metadata["model_name"] == "fake-code"
    assert metadata["category"] == "code"
    assert metadata["decision_id"].startswith("dec_")
    assert metadata["overhead_ms"] > 0
    assert metadata["finish_reason"] == "stop"
    assert answer.content == f"fake-code says: {CODE}"


def test_a_stream_tells_of_the_decision_with_its_first_chunk_and_once(model: ChatPointsman) -> None:
    chunks = list(model.stream(CODE))
    assert chunks[0].response_metadata["decision_id"].startswith("dec_")
    whole = chunks[0]
    for chunk in chunks[1:]:
        assert isinstance(whole, AIMessageChunk)
        whole = whole + chunk  # type: ignore[assignment]
    assert whole.content == f"fake-code says: {CODE}"
    assert whole.response_metadata["decision_id"] == chunks[0].response_metadata["decision_id"]
    assert whole.response_metadata["finish_reason"] == "stop"
    assert whole.usage_metadata == model.invoke(CODE).usage_metadata


def test_budgets_are_a_constructors_or_a_calls(url: str, model: ChatPointsman) -> None:
    thrifty = ChatPointsman(base_url=url, max_energy_j=0.05)
    with pytest.raises(GatewayError, match="fake-code") as refused:
        thrifty.invoke(CODE)
    assert (refused.value.status, refused.value.code) == (422, "budget_infeasible")
    assert (refused.value.param, refused.value.reason) == ("routing.max_energy_j", "max_energy_j")
    assert refused.value.decision_id is not None
    assert thrifty.invoke(CODE, max_energy_j=50).response_metadata["expert"] == "fake-code"
    with pytest.raises(GatewayError) as refused:
        model.bind(max_cost_usd=1e-9).invoke(CODE)
    assert refused.value.param == "routing.max_cost_usd"
    with pytest.raises(GatewayError) as refused:
        list(model.stream(CODE, min_quality=0.99))
    assert refused.value.param == "routing.min_quality"


def test_other_wishes_reach_the_decision(model: ChatPointsman) -> None:
    assert model.invoke(CODE, experts=["fake-prose"]).response_metadata["expert"] == "fake-prose"
    with pytest.raises(GatewayError, match=r"routing\.weights\.speed"):
        model.invoke(CODE, weights={"speed": 1.0})
    with pytest.raises(GatewayError, match=r"routing\.session"):
        model.invoke(CODE, session="")
    assert model.invoke(CODE, session="s", weights={"cost": 0.1}).response_metadata["expert"] == "fake-code"


async def test_feedback_is_taken_once(model: ChatPointsman) -> None:
    decision_id = model.invoke(CODE).response_metadata["decision_id"]
    model.feedback(decision_id, 1.0, "as asked")
    with pytest.raises(GatewayError) as refused:
        await model.afeedback(decision_id, 0.0)
    assert refused.value.code == "already_judged"
    with pytest.raises(GatewayError) as refused:
        model.feedback("dec_" + "0" * 32, 1.0)
    assert refused.value.code == "decision_not_found"
    await model.aclose()


@pytest.mark.parametrize("kind", [ChatPointsman, ChatOpenAI])
@pytest.mark.parametrize(
    "block",
    [
        {"type": "image_url", "image_url": {"url": f"data:image/gif;base64,{DOT}"}},
        {"type": "image", "source_type": "base64", "mime_type": "image/gif", "data": DOT},
        {"type": "image", "base64": DOT, "mime_type": "image/gif"},
        {"type": "image", "url": "https://example.invalid/dot.gif"},
    ],
)
def test_images_pass_in_any_block(url: str, kind: type[BaseChatModel], block: dict[str, Any]) -> None:
    asked = [HumanMessage([{"type": "text", "text": "What is this?"}, block])]
    seeing = kind(base_url=url, model="auto", api_key="none")
    assert seeing.invoke(asked).text.endswith("says: What is this?")
    # Who cannot see gets no image.
    only = {"experts": ["fake-blind"]}
    blind = seeing.bind(**(only if kind is ChatPointsman else {"extra_body": {"routing": only}}))
    assert blind.invoke("What is this?").response_metadata["model_name"] == "fake-blind"
    with pytest.raises((GatewayError, openai.UnprocessableEntityError)) as refused:
        blind.invoke(asked)
    assert getattr(refused.value, "code", None) == "no_capable_expert"


class Order(BaseModel):
    """An order."""

    pieces: int
    what: str


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output_is_filled_from_the_prompt(model: ChatPointsman, method: str) -> None:
    shaped = model.with_structured_output(Order, method=method, include_raw=True)
    both = shaped.invoke("I want 12 eggs.")
    assert isinstance(both, dict)
    assert both["parsed"] == Order(pieces=12, what="I want 12 eggs.")
    assert both["parsing_error"] is None
    assert isinstance(both["raw"], AIMessage)


def test_an_answer_that_was_cut_is_a_parsing_error_and_no_exception_with_include_raw(model: ChatPointsman) -> None:
    both = model.with_structured_output(Order, include_raw=True, max_tokens=2).invoke("I want 12 eggs.")
    assert isinstance(both, dict)
    assert both["parsed"] is None
    assert both["parsing_error"] is not None
    assert both["raw"].response_metadata["finish_reason"] == "length"


def test_cut_arguments_are_an_invalid_call(model: ChatPointsman) -> None:
    @tool
    def order(pieces: int, what: str) -> str:
        """Order it."""
        return f"{pieces} {what}"

    answer = model.bind_tools([order], tool_choice="order", max_tokens=2).invoke("I want 12 eggs.")
    assert answer.tool_calls == []
    assert answer.invalid_tool_calls[0]["name"] == "order"
    whole = model.bind_tools([order], tool_choice=True).invoke("I want 12 eggs.")
    assert whole.tool_calls[0]["args"] == {"pieces": 12, "what": "I want 12 eggs."}
    assert model.bind_tools([order], tool_choice="none").invoke("I order 12 eggs.").tool_calls == []


async def test_one_model_serves_several_event_loops_and_ends_streams_early(model: ChatPointsman) -> None:
    async def first_word() -> str:
        async with aclosing(model.astream(CODE)) as stream:  # type: ignore[type-var]
            async for chunk in stream:
                if chunk.content:
                    return str(chunk.content)
        raise AssertionError("nothing was said")

    assert await first_word() == "fake-code"
    assert await asyncio.to_thread(lambda: asyncio.run(first_word())) == "fake-code"
    assert await first_word() == "fake-code"
    await model.aclose()


def test_a_wrong_address_and_a_wrong_answer_are_errors() -> None:
    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            streamed = self.path.endswith("stream/chat/completions")
            body = b'data: {"choices": []}\n\n' if streamed else b"<html>"
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(GatewayError, match="not a JSON object"):
            ChatPointsman(base_url=address).invoke("hi")
        with pytest.raises(GatewayError, match="broke off"):
            ChatPointsman(base_url=f"{address}/stream").invoke([HumanMessage("hi")], stream=True)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_events_end_at_line_feeds_alone(size: int) -> None:
    text = "line\u2028separator \x85 and\x0bmore"
    sent = f"data: {json.dumps({'text': text}, ensure_ascii=False)}\r\n\r\n: comment\n\ndata: [DONE]\n\n".encode()
    events = Events()
    found = [event for at in range(0, len(sent), size) for event in events.feed(sent[at : at + size])]
    assert found == [{"text": text}]
    assert events.done


def test_the_gateway_needs_neither_langchain_nor_httpx() -> None:
    code = "import sys, gateway.app, gateway.server, gateway.cli.serve; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert not loaded & {"langchain_core", "langchain_openai", "httpx"}
    assert Path(ROOT / "gateway/clients/langchain.py").is_file()
