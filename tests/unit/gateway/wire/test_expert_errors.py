"""Errors in every shape: what they say, and the same in the client's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.dispatch.blame import Blame, blame_of, for_the_log, of_length
from pointsman.gateway.wire.expert_errors import client_error, error_in_answer, stated_error
from pointsman.gateway.wire.first_event import beginning, error_within


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"message": "out of memory"}, "out of memory"),
        ({"detail": "out of memory"}, "out of memory"),
        ({"error": "out of memory"}, "out of memory"),
        ({"error": {"message": "out of memory"}}, "out of memory"),
        ({"error": {"detail": "out of memory"}}, "out of memory"),
        ({"errors": ["out of memory"]}, "out of memory"),
        ({"errors": [{"message": "out of"}, {"message": "memory"}]}, "out of; memory"),
        ({"errors": {"model": ["is", "gone"]}}, "model: is; gone"),
        ({"msg": "out of memory"}, "out of memory"),
        ({"Message": "out of memory"}, "out of memory"),
        ({"error": "server_error", "error_description": "out of memory"}, "out of memory"),
        ({"detail": {"message": "out of memory"}}, "out of memory"),
        ({"type": "about:blank", "title": "out of memory", "status": 500}, "out of memory"),
        ({"object": "error", "message": "out of memory", "code": 500}, "out of memory"),
        ([{"error": {"message": "out of memory"}}], "out of memory"),
        ({"detail": [{"loc": ["body", "n"], "msg": "must be 1"}]}, "body.n: must be 1"),
        ("out of memory", "out of memory"),
        (b"out of memory\n", "out of memory"),
        (b"<html><head><title>out of memory</title></head><body><h1>x</h1></body></html>", "out of memory"),
        (b"<html><style>a{}</style><body><h1>out of</h1> <p>memory</p></body></html>", "out of memory"),
        (b'data: {"error": {"message": "out of memory"}}\n\n', "out of memory"),
        (b"\xff\xfe", "��"),
        (b"", ""),
        ({}, ""),
        ([], ""),
        (None, ""),
        ({"error": None, "detail": {"a": {"b": {"c": {"d": {"e": "deep"}}}}}}, ""),
    ],
)
@pytest.mark.parametrize("endpoint", [Endpoint.CHAT, Endpoint.RESPONSES, Endpoint.MESSAGES, Endpoint.EMBEDDINGS])
def test_the_words_of_an_error_reach_the_client_in_its_own_shape(body: Any, words: str, endpoint: Endpoint) -> None:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    stated = stated_error(sent, 500)
    assert stated.message == words
    told = json.loads(client_error(endpoint, 500, sent, stated))
    error = told if told.get("object") == "error" else told["error"]
    assert words in error["message"]
    assert error["message"]
    if endpoint is Endpoint.MESSAGES:
        assert (told["type"], error["type"]) == ("error", "api_error")
    elif stated.shape != "openai":
        assert error["type"] == "server_error" or error["type"] == stated.kind


def test_an_error_in_the_clients_shape_is_untouched() -> None:
    openai = b'{"error": {"message": "no", "type": "t", "further": [1]}}'
    assert client_error(Endpoint.CHAT, 400, openai, stated_error(openai)) == openai
    anthropic = b'{"type": "error", "error": {"type": "overloaded_error", "message": "no"}, "request_id": "r"}'
    assert client_error(Endpoint.MESSAGES, 529, anthropic, stated_error(anthropic)) == anthropic
    assert json.loads(client_error(Endpoint.MESSAGES, 400, openai, stated_error(openai)))["type"] == "error"
    kept = json.loads(client_error(Endpoint.CHAT, 529, anthropic, stated_error(anthropic)))["error"]
    assert (kept["message"], kept["type"]) == ("no", "overloaded_error")


def test_an_error_as_vllm_had_it_passes_to_clients_of_openai_alone() -> None:
    body = b'{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400.0}'
    assert client_error(Endpoint.CHAT, 400, body, stated_error(body)) == body
    told = json.loads(client_error(Endpoint.MESSAGES, 400, body, stated_error(body)))
    assert (told["type"], told["error"]["message"]) == ("error", "too long")


def test_code_type_and_field_are_kept() -> None:
    body = b'{"message": "no", "type": "BadRequestError", "param": "n", "code": 400}'
    told = json.loads(client_error(Endpoint.CHAT, 400, body, stated_error(body)))["error"]
    assert told == {"message": "no", "type": "BadRequestError", "param": "n", "code": "400"}


def test_words_are_bounded_and_say_nothing_of_the_inside() -> None:
    long = b'{"detail": "%b"}' % (b"a" * 60_000)
    assert len(client_error(Endpoint.CHAT, 500, long, stated_error(long))) < 3_000
    body = b'{"detail": "cannot reach http://10.0.0.5:8000/v1 nor http://vllm-code/v1; see https://docs.example.com/a"}'
    told = client_error(Endpoint.CHAT, 502, body, stated_error(body)).decode()
    assert "10.0.0.5" not in told
    assert "vllm-code" not in told
    assert "docs.example.com" in told
    key = b'{"error": {"message": "key sk-own is wrong at 10.1.1.1:80"}}'
    told = client_error(Endpoint.CHAT, 403, key, stated_error(key), ("sk-own", "10.1.1.1:80")).decode()
    assert "sk-own" not in told
    assert "10.1.1.1" not in told


def test_the_name_of_a_status_says_nothing() -> None:
    assert stated_error(b'{"detail": "Not Found"}', 404).message == ""
    assert stated_error(b'{"detail": "Not Found"}', 500).message == "Not Found"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"message": "slow down", "code": 429}}, 429),
        ({"error": {"message": "no", "code": "rate_limit_exceeded"}}, 429),
        ({"error": {"message": "no", "type": "invalid_request_error"}}, 400),
        ({"error": {"message": "no"}, "choices": []}, 502),
        ({"error": "no"}, 502),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}, 529),
        ({"object": "error", "message": "no", "code": 404}, 404),
        (
            {"object": "response", "status": "failed", "error": {"code": "server_error", "message": "m"}, "output": []},
            500,
        ),
        (
            {
                "choices": [
                    {"message": {"content": ""}, "finish_reason": "error", "error": {"code": 503, "message": "m"}}
                ]
            },
            503,
        ),
    ],
)
def test_an_error_in_an_answer_is_seen_and_has_a_status(body: dict[str, Any], status: int) -> None:
    found = error_in_answer(json.dumps(body).encode())
    assert found is not None
    assert found.status == status


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"message": {"content": 'say "error": {"a": 1}'}}]},
        {"choices": [{"message": {"content": "hi"}}], "error": None},
        {"choices": [{"message": {"content": "hi"}}], "error": {}},
        {"choices": [{"message": {"content": "half"}, "error": {"message": "later"}}]},
        {"output": [{"type": "message"}], "error": {"message": "half of it"}},
        {"choices": [{"message": {"tool_calls": [{"function": {"arguments": '{"error": "x"}'}}]}}], "error": "warning"},
        {"data": [{"embedding": [1]}], "error": ""},
        [1, 2],
    ],
)
def test_an_answer_that_speaks_of_errors_is_an_answer(body: Any) -> None:
    assert error_in_answer(json.dumps(body).encode()) is None
    assert error_in_answer(b'{"error": {"message": ') is None


NAMES = st.sampled_from(
    ["error", "message", "detail", "errors", "code", "type", "status", "param", "choices", "loc", "msg"]
)
DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(
    document=DOCUMENTS,
    status=st.integers(300, 599),
    endpoint=st.sampled_from([Endpoint.CHAT, Endpoint.MESSAGES, Endpoint.RESPONSES]),
)
@settings(max_examples=500, deadline=None)
def test_whatever_an_error_is_the_client_gets_one_of_its_own_shape(
    document: Any, status: int, endpoint: Endpoint
) -> None:
    body = json.dumps(document).encode()
    stated = stated_error(body, status)
    told = json.loads(client_error(endpoint, status, body, stated))
    assert isinstance(told["error"]["message"], str)
    assert isinstance(blame_of(status, stated, "m"), Blame)
    assert for_the_log(status, stated, "m")
    of_length(stated)
    error_in_answer(body)
    beginning(b"data: " + body + b"\n\n")
    error_within(b"event: error\ndata: " + body + b"\n\n")


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_no_bytes_are_too_odd(body: bytes) -> None:
    for sent in (body, b"data: " + body + b"\n\n", b"<html>" + body, b"event: error\ndata:" + body + b"\r\r"):
        stated = stated_error(sent, 500)
        assert json.loads(client_error(Endpoint.CHAT, 500, sent, stated))["error"]["message"]
        error_in_answer(sent)
        beginning(sent)
        error_within(sent)
