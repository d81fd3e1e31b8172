"""Reading an OpenAI request body: what to generate, or a refusal that names the field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pointsman.experts.backends.openai_wire import content_text, wants_usage_chunk
from pointsman.experts.embedded.sampling import Sampling
from pointsman.experts.nano.tokenizer import render_chat
from pointsman.experts.protocols import Endpoint

if TYPE_CHECKING:
    from pointsman.experts.embedded.text import TextCodec
    from pointsman.experts.embedded.weights import ModelConfig

DEFAULT_MAX_TOKENS = 256
_MAX_STOPS = 16
#: Fields that change the answer and that this runtime does not know; their neutral values pass.
_UNSUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "best_of": (None, 1),
    "echo": (None, False),
    "frequency_penalty": (None, 0),
    "functions": (None, []),
    "logit_bias": (None, {}),
    "logprobs": (None, False),
    "n": (None, 1),
    "presence_penalty": (None, 0),
    "response_format": (None, {"type": "text"}),
    "suffix": (None, ""),
    "tools": (None, []),
    "top_logprobs": (None, 0),
}


class GenerationRefused(Exception):
    """The request cannot be served.

    Args:
        message: What is wrong.
        param: The field at fault.
        code: Machine-readable reason.
        status: HTTP status.
    """

    def __init__(self, message: str, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class Generation:
    """What to generate.

    Attributes:
        prompt: Token ids.
        max_tokens: At most so many new tokens; already cut to what the context leaves.
        sampling: How to choose.
        stops: Stop strings.
        ignore_eos: Go on after an end-of-text token (for measurements).
        stream: Answer in server-sent events.
        include_usage: Send token counts at the end of a stream.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    sampling: Sampling
    stops: tuple[str, ...]
    ignore_eos: bool
    stream: bool
    include_usage: bool


def read_generation(
    endpoint: Endpoint, payload: Mapping[str, Any], codec: TextCodec, config: ModelConfig
) -> Generation:
    """Read a parsed body.

    Raises:
        RequestRefused: A field is wrong or not supported, or the prompt leaves no room in the context.
    """
    for name, neutral in _UNSUPPORTED.items():
        if payload.get(name) not in neutral:
            raise GenerationRefused(f"{name} is not supported by the embedded experts", name, "unsupported_parameter")
    prompt = _prompt_ids(endpoint, payload, codec)
    if not prompt:
        raise GenerationRefused("the prompt is empty", _prompt_field(endpoint))
    room = config.context_tokens - len(prompt)
    if room < 1:
        raise GenerationRefused(
            f"This model's maximum context length is {config.context_tokens} tokens, but the prompt has {len(prompt)} "
            "and an answer needs at least one.",
            _prompt_field(endpoint),
            "context_length_exceeded",
        )
    if any(not 0 <= token < config.vocabulary for token in prompt):
        raise GenerationRefused("prompt holds a token id outside of the vocabulary", "prompt")
    return Generation(
        prompt=tuple(prompt),
        max_tokens=min(_max_tokens(payload), room),
        sampling=Sampling(
            temperature=_number(payload, "temperature", config.temperature, 0.0, 2.0),
            top_p=_number(payload, "top_p", config.top_p, 0.0, 1.0, open_below=True),
            top_k=_top_k(payload),
            seed=_integer(payload, "seed"),
        ),
        stops=_stops(payload),
        ignore_eos=_flag(payload, "ignore_eos"),
        stream=_flag(payload, "stream"),
        include_usage=wants_usage_chunk(payload),
    )


def _prompt_field(endpoint: Endpoint) -> str:
    return "messages" if endpoint is Endpoint.CHAT else "prompt"


def _prompt_ids(endpoint: Endpoint, payload: Mapping[str, Any], codec: TextCodec) -> list[int]:
    if endpoint is Endpoint.CHAT:
        return codec.encode(render_chat(_messages(payload), add_generation_prompt=True))
    prompt = payload.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return codec.encode(prompt)
    if isinstance(prompt, list) and prompt and all(type(token) is int for token in prompt):
        return prompt
    raise GenerationRefused("prompt must be one string or one list of token ids", "prompt", "unsupported_value")


def _messages(payload: Mapping[str, Any]) -> list[tuple[str, str]]:
    messages = payload.get("messages")
    if not isinstance(messages, list) or not messages:
        raise GenerationRefused("messages must be a list with at least one message", "messages")
    turns = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise GenerationRefused(f"{where} must be an object with a role", where)
        content = message.get("content")
        if isinstance(content, list):
            for part in content:
                if not isinstance(part, Mapping) or part.get("type") != "text":
                    told = f"{where}.content: only text parts are supported"
                    raise GenerationRefused(told, f"{where}.content", "unsupported_value")
        elif content is not None and not isinstance(content, str):
            raise GenerationRefused(f"{where}.content must be a string or a list of text parts", f"{where}.content")
        role = "system" if message["role"] == "developer" else message["role"]
        turns.append((role, content_text(content)))
    return turns


def _max_tokens(payload: Mapping[str, Any]) -> int:
    for name in ("max_completion_tokens", "max_tokens"):
        value = _integer(payload, name)
        if value is not None:
            if value < 1:
                raise GenerationRefused(f"{name} must be at least 1", name)
            return value
    return DEFAULT_MAX_TOKENS


def _integer(payload: Mapping[str, Any], name: str) -> int | None:
    value = payload.get(name)
    if value is not None and type(value) is not int:
        raise GenerationRefused(f"{name} must be an integer", name)
    return value


def _top_k(payload: Mapping[str, Any]) -> int:
    value = _integer(payload, "top_k") or 0
    if value < -1:
        raise GenerationRefused("top_k must be -1, 0 (both: all tokens) or more", "top_k")
    return max(value, 0)


def _number(
    payload: Mapping[str, Any], name: str, default: float, low: float, high: float, *, open_below: bool = False
) -> float:
    value = payload.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise GenerationRefused(f"{name} must be a number", name)
    if not low <= value <= high or (open_below and value == low):
        excluded = " (excluded)" if open_below else ""
        raise GenerationRefused(f"{name} must lie between {low:g}{excluded} and {high:g}", name)
    return float(value)


def _flag(payload: Mapping[str, Any], name: str) -> bool:
    value = payload.get(name)
    if value is not None and not isinstance(value, bool):
        raise GenerationRefused(f"{name} must be true or false", name)
    return bool(value)


def _stops(payload: Mapping[str, Any]) -> tuple[str, ...]:
    stop = payload.get("stop")
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > _MAX_STOPS or not all(isinstance(s, str) for s in stops):
        raise GenerationRefused(f"stop must be a string or a list of at most {_MAX_STOPS} strings", "stop")
    if not all(stops):
        raise GenerationRefused("a stop string must not be empty", "stop")
    return tuple(stops)
