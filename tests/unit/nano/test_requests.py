"""Reading a request body: defaults, limits, and refusals that name the field."""

from __future__ import annotations

from typing import Any

import pytest

from pointsman.experts.embedded.requests import DEFAULT_MAX_TOKENS, Generation, GenerationRefused, read_generation
from pointsman.experts.embedded.text import TextCodec
from pointsman.experts.embedded.weights import read_config
from pointsman.experts.nano import MODELS_DIR
from pointsman.experts.protocols import Endpoint

CODEC, CONFIG = TextCodec(MODELS_DIR / "nano-code"), read_config(MODELS_DIR / "nano-code")


def chat(**fields: Any) -> Generation:
    payload = {"messages": [{"role": "user", "content": "hi"}], **fields}
    return read_generation(Endpoint.CHAT, payload, CODEC, CONFIG)


def completion(prompt: Any, **fields: Any) -> Generation:
    return read_generation(Endpoint.COMPLETIONS, {"prompt": prompt, **fields}, CODEC, CONFIG)


def test_defaults_are_those_of_the_checkpoint() -> None:
    generation = chat()
    assert generation.max_tokens == DEFAULT_MAX_TOKENS
    assert (generation.sampling.temperature, generation.sampling.top_p) == (0.7, 0.9)
    assert not generation.stream
    assert generation.stops == ()


def test_the_chat_is_rendered_as_the_template_says() -> None:
    rendered = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert list(chat().prompt) == CODEC.encode(rendered)
    assert list(chat(messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}]}]).prompt) == CODEC.encode(
        rendered
    )


def test_a_prompt_may_be_token_ids() -> None:
    assert completion([5, 6, 7]).prompt == completion([[5, 6, 7]]).prompt == (5, 6, 7)


def test_the_newer_name_of_the_limit_wins() -> None:
    assert chat(max_tokens=9, max_completion_tokens=5).max_tokens == 5


def test_the_limit_ends_with_the_context() -> None:
    generation = completion([5] * 1000, max_tokens=500)
    assert generation.max_tokens == 24


def test_a_prompt_that_fills_the_context_is_refused() -> None:
    with pytest.raises(GenerationRefused, match="maximum context length is 1024 tokens") as caught:
        completion([5] * 1024)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "context_length_exceeded", "prompt")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"echo": True}, "echo"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_k": -5}, "top_k"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 2.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"seed": "x"}, "seed"),
        ({"stop": ["a", ""]}, "stop"),
        ({"stop": 3}, "stop"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content"),
    ],
)
def test_a_refusal_names_the_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(GenerationRefused) as caught:
        chat(**fields)
    assert caught.value.param == param
    assert caught.value.status == 400


@pytest.mark.parametrize("prompt", [None, "", [], ["a", "b"], {"a": 1}, [5, 4096], [5, -1]])
def test_a_prompt_must_be_one_text_or_ids_of_the_vocabulary(prompt: Any) -> None:
    with pytest.raises(GenerationRefused):
        completion(prompt)


def test_neutral_values_of_unsupported_fields_pass() -> None:
    chat(n=1, logprobs=False, presence_penalty=0, frequency_penalty=0.0, tools=[], response_format={"type": "text"})
