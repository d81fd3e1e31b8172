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
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage, trim_messages
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from pydantic import BaseModel

from pointsman.gateway.clients.http import Events, GatewayError
from pointsman.gateway.clients.langchain import ChatPointsman
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

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        # LangChain keeps one connection pool for all clients of an address and a timeout, and a pool serves one event
        # loop alone; every test has a loop of its own. A Timeout has no hash, so with it no pool is kept.
        return {**super().standard_chat_model_params, "timeout": openai.Timeout(60)}


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


def test_other_routing_fields_reach_the_decision(model: ChatPointsman) -> None:
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
        word = ""
        async with aclosing(model.astream(CODE)) as stream:  # type: ignore[type-var]
            async for chunk in stream:
                if word := str(chunk.content):
                    break
        # The connection of a whole answer is kept.
        assert (await model.ainvoke(CODE)).text.startswith(word)
        return word

    assert await first_word() == "fake-code"
    for _ in range(2):
        assert await asyncio.to_thread(lambda: asyncio.run(first_word())) == "fake-code"
    assert await first_word() == "fake-code"
    await model.aclose()


@dataclass
class Served:
    """An answer that is given to everybody, and what was asked."""

    body: bytes = b"{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(answer: Served) -> Iterator[Served]:
    """A server that is no gateway of ours, on loopback."""

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer.paths.append(self.path)
            answer.heads.append({name.lower(): value for name, value in self.headers.items()})
            answer.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    answer.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield answer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def whole(content: str = "well", **message: Any) -> bytes:
    """The JSON of an answer."""
    said = {"role": "assistant", "content": content, **message}
    return json.dumps({"model": "m", "choices": [{"index": 0, "message": said, "finish_reason": "stop"}]}).encode()


def streamed(*events: dict[str, Any]) -> bytes:
    """The events of a stream that has not said that it is done."""
    return "".join(f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events).encode()


def delta(**said: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "delta": said}]}


def test_a_wrong_answer_is_an_error() -> None:
    with serving(Served(b"<html>")) as page, pytest.raises(GatewayError, match="not a JSON object"):
        ChatPointsman(base_url=page.url).invoke("hi")


def test_a_stream_that_breaks_off_is_an_error_of_its_decision() -> None:
    head = {"x-pointsman-decision": "dec_1", "content-type": "text/event-stream"}
    half = streamed(delta(role="assistant", content="half an"))
    for body, why in ((half, "broke off"), (half + streamed({"error": {"message": "expert gone"}}), "expert gone")):
        with serving(Served(body, headers=head)) as cut, pytest.raises(GatewayError, match=why) as broken:
            ChatPointsman(base_url=cut.url).invoke("hi", stream=True)
        assert (broken.value.status, broken.value.decision_id) == (200, "dec_1")


async def test_a_request_is_sent_once_and_nowhere_else() -> None:
    with serving(Served(status=503, body=b'{"error": {"message": "busy"}}', headers={"retry-after": "3"})) as busy:
        model = ChatPointsman(base_url=busy.url)
        with pytest.raises(GatewayError, match="busy") as refused:
            model.invoke("hi")
        with pytest.raises(GatewayError, match="busy"):
            await model.ainvoke("hi")
        await model.aclose()
    assert len(busy.paths) == 2
    assert refused.value.retry_after_s == 3
    with serving(Served(whole())) as other, serving(Served(status=307, headers={"location": other.url})) as away:
        with pytest.raises(GatewayError) as refused:
            ChatPointsman(base_url=away.url).invoke("hi")
        assert (refused.value.status, other.paths) == (307, [])


def test_openais_environment_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "LANGSMITH_GATEWAY_API_KEY"]
    with serving(Served(whole())) as gateway, serving(Served(whole())) as other:
        for name in names:
            monkeypatch.setenv(name, "of-the-environment")
        for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_PROXY", "HTTP_PROXY", "LANGSMITH_GATEWAY"):
            monkeypatch.setenv(name, other.url)
        monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-of: the-environment")
        monkeypatch.setenv("POINTSMAN_BASE_URL", gateway.url)
        assert ChatPointsman().invoke("hi").text == "well"
        assert ChatPointsman(api_key="ours").invoke("hi").text == "well"
    assert (gateway.paths, other.paths) == (["/v1/chat/completions"] * 2, [])
    assert [head.get("authorization") for head in gateway.heads] == [None, "Bearer ours"]
    assert "environment" not in str(gateway.heads)
    assert not [name for head in gateway.heads for name in head if name.startswith(("openai", "x-"))]


@pytest.mark.parametrize("name", ["gpt-5", "gpt-5-pro", "gpt-5-codex", "o1", "gpt-4"])
def test_an_expert_may_be_called_like_a_model_of_openais(name: str) -> None:
    with serving(Served(whole('{"pieces": 1, "what": "egg"}'))) as gateway:
        model = ChatPointsman(base_url=gateway.url, model=name, temperature=0.3)
        assert model.with_structured_output(Order).invoke("An egg.") == Order(pieces=1, what="egg")
        ChatPointsman(base_url=gateway.url, model=name).invoke("hi")
    assert gateway.paths == ["/v1/chat/completions"] * 2
    shaped, plain = gateway.asked
    assert (shaped["model"], shaped["temperature"]) == (name, 0.3)
    assert shaped["response_format"]["json_schema"]["schema"]["properties"].keys() == {"pieces", "what"}
    assert plain == {"model": name, "messages": [{"role": "user", "content": "hi"}], "stream": False}
    assert not model.profile


def test_what_a_call_states_goes_before_the_constructors() -> None:
    with serving(Served(whole())) as gateway:
        model = ChatPointsman(
            base_url=gateway.url, session="s", max_cost_usd=0.1, seed=1, stop=["\n"], model_kwargs={"top_k": 1}
        )
        model.invoke("hi")
        model.invoke("hi", max_cost_usd=None, weights={"energy": 0.5}, seed=None, stop=["."], top_k=2, model="m")
        model.invoke("hi", extra_body={"routing": {"local_only": True}, "min_p": 0.1})
    first, second, third = ({**asked, "messages": None} for asked in gateway.asked)
    body = {"messages": None, "stream": False, "seed": 1, "stop": ["\n"], "top_k": 1, "model": "auto"}
    assert first == {**body, "routing": {"session": "s", "max_cost_usd": 0.1}}
    del body["seed"]
    routing = {"session": "s", "weights": {"energy": 0.5}}
    assert second == {**body, "stop": ["."], "top_k": 2, "model": "m", "routing": routing}
    assert (third["min_p"], third["routing"]) == (0.1, {"session": "s", "max_cost_usd": 0.1, "local_only": True})


def test_what_other_vendors_models_said_goes_on_as_text_and_calls() -> None:
    call = {"name": "look", "args": {"at": 1}, "id": "c", "type": "tool_call"}
    blocks: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "reasoning", "summary": []},
        {"type": "text", "text": "I look.", "annotations": []},
        {"type": "tool_use", "id": "c", "name": "look", "input": {"at": 1}},
    ]
    history = [HumanMessage("hi"), AIMessage(blocks, tool_calls=[call]), ToolMessage("seen", tool_call_id="c")]  # type: ignore[arg-type]
    with serving(Served(whole())) as gateway:
        ChatPointsman(base_url=gateway.url).invoke(history)
        ChatPointsman(base_url=gateway.url).invoke(
            [*history[:1], AIMessage(blocks[3:], tool_calls=[call]), *history[2:]]
        )  # type: ignore[arg-type]
    function = {"name": "look", "arguments": '{"at": 1}'}
    asked = {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [{"id": "c", "type": "function", "function": function}],
    }
    assert gateway.asked[0]["messages"] == [
        {"role": "user", "content": "hi"},
        asked,
        {"role": "tool", "content": "seen", "tool_call_id": "c"},
    ]
    # Content that nobody stated is null or left out.
    assert gateway.asked[1]["messages"][1].get("content") is None
    assert history[1].content == blocks


def test_settings_of_openais_client_are_refused_and_its_names_for_ours_taken() -> None:
    with pytest.raises(ValueError, match="http_client: of OpenAI's client"):
        ChatPointsman(http_client=httpx.Client())
    model = ChatPointsman(openai_api_base="http://gateway.example/v1", openai_api_key="ours", request_timeout=5)
    assert (model.base_url, model.timeout_s) == ("http://gateway.example/v1", 5)
    assert model.api_key is not None
    assert model.api_key.get_secret_value() == "ours"
    assert model._get_ls_params()["ls_provider"] == "pointsman"
    assert ChatPointsman(timeout_s=7).timeout_s == ChatPointsman(timeout=7).timeout_s == 7


def test_answers_to_other_budgets_are_not_taken_from_langchains_cache(url: str) -> None:
    cache = InMemoryCache()
    answer = ChatPointsman(base_url=url, cache=cache).invoke(CODE)
    assert ChatPointsman(base_url=url, cache=cache).invoke(CODE).response_metadata == answer.response_metadata
    with pytest.raises(GatewayError, match="fake-code"):
        ChatPointsman(base_url=url, cache=cache, max_energy_j=0.05).invoke(CODE)
    with pytest.raises(httpx.ConnectError):
        ChatPointsman(base_url="http://127.0.0.1:1/v1", cache=cache, max_retries=0).invoke(CODE)


def test_tokens_are_estimated_without_fetching_anything(model: ChatPointsman) -> None:
    assert model.get_num_tokens("word " * 100) == pytest.approx(125, rel=0.1)
    said = [HumanMessage("word " * 100), HumanMessage("word " * 10)]
    assert model.get_num_tokens_from_messages(said) > model.get_num_tokens(said[0].text)
    assert trim_messages(said, max_tokens=50, token_counter=model, strategy="last") == said[1:]
    with pytest.raises(NotImplementedError, match="custom_get_token_ids"):
        model.get_token_ids("word")
    counting = ChatPointsman(custom_get_token_ids=lambda text: [len(word) for word in text.split()])
    assert counting.get_token_ids("a word") == [1, 4]
    assert counting.get_num_tokens_from_messages(said) == 110


def test_a_streamed_shape_tells_of_the_decision_too(model: ChatPointsman) -> None:
    chunks = list(model.stream("I want 12 eggs.", response_format=Order))
    assert chunks[0].response_metadata["decision_id"].startswith("dec_")
    assert Order.model_validate_json("".join(chunk.text for chunk in chunks)).pieces == 12


def test_servers_that_leave_parts_of_a_delta_out_lose_no_call() -> None:
    calls = [{"id": f"call_{name}", "function": {"name": name, "arguments": "{}"}} for name in ("first", "second")]
    last = {"model": "m", "choices": [{"index": 0, "delta": None, "finish_reason": "tool_calls"}]}
    body = streamed(*(delta(role="assistant", tool_calls=[call]) for call in calls), last) + b"data: [DONE]\n\n"
    with serving(Served(body)) as gateway:
        answer = ChatPointsman(base_url=gateway.url).invoke("hi", stream=True)
    assert isinstance(answer, AIMessage)
    assert [call["name"] for call in answer.tool_calls] == ["first", "second"]
    assert answer.response_metadata["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_events_end_at_line_feeds_alone(size: int) -> None:
    text = "line\u2028separator \x85 and\x0bmore"
    sent = f"data: {json.dumps({'text': text}, ensure_ascii=False)}\r\n\r\n: comment\n\ndata: [DONE]\n\n".encode()
    events = Events(httpx.Response(200))
    found = [event for at in range(0, len(sent), size) for event, _ in events.feed(sent[at : at + size])]
    assert found == [{"text": text}]
    events.end()


def test_the_gateway_needs_neither_langchain_nor_httpx() -> None:
    modules = "pointsman.gateway.app, pointsman.gateway.process.server, pointsman.gateway.cli.serve"
    code = f"import sys, {modules}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert not loaded & {"langchain_core", "langchain_openai", "openai", "tiktoken", "httpx", "httpx2"}
    assert Path(ROOT / "gateway/clients/langchain.py").is_file()
