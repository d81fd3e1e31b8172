"""What becomes of the top-level fields of a request in another API's format: an allow-list for each API.

A field is translated (`messages/request.py`, `responses/request.py`), goes by the same name in a chat, or is dropped
because the answer does not hang on it. Any other field may change what the request means: only an expert that speaks
the client's API can take it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.stateful_fields import THREAD

#: Those of the APIs themselves, what servers of open models know beside them, and our own.
SAME: Final = frozenset(
    {"temperature", "top_p", "top_k", "min_p", "typical_p", "seed", "stop", "stop_token_ids", "min_tokens"}
    | {"frequency_penalty", "presence_penalty", "repetition_penalty", "length_penalty", "logit_bias", "ignore_eos"}
    | {"parallel_tool_calls", "user", "chat_template_kwargs", "cache_salt", "model", "routing"}
)
#: Marks for caches, prices, bills and statistics.
_HARMLESS: Final = frozenset(
    {"metadata", "client_metadata", "service_tier", "store", "include", "safety_identifier", "prompt_cache_key"}
    | {"prompt_cache_retention", "prompt_cache_options", "cache_control", "betas", "stream_options"}
)
#: A thread is the gateway's own to hold, and one that goes on elsewhere is named by its binding.
_OF_MESSAGES: Final = (
    _HARMLESS | {"anthropic_beta", "anthropic_version", "speed", "diagnostics", "user_profile_id"} | {THREAD}
)
DROPPED: Final[Mapping[Endpoint, frozenset[str]]] = {
    # A context that nobody shortens is longer, and says the same.
    Endpoint.MESSAGES: _OF_MESSAGES | {"context_management"},
    Endpoint.COUNT_TOKENS: _OF_MESSAGES | {"context_management"},
    # A chat expert runs no tools, so that there are none to limit.
    Endpoint.RESPONSES: _HARMLESS | {"truncation", "max_tool_calls"},
}
_IN_MESSAGES: Final = frozenset(
    {"messages", "system", "max_tokens", "stop_sequences", "tools", "tool_choice", "stream", "thinking"}
    | {"output_config", "output_format", "inference_geo"}
)
TRANSLATED: Final[Mapping[Endpoint, frozenset[str]]] = {
    Endpoint.MESSAGES: _IN_MESSAGES,
    Endpoint.COUNT_TOKENS: _IN_MESSAGES,
    Endpoint.RESPONSES: frozenset(
        {"input", "instructions", "max_output_tokens", "tools", "tool_choice", "text", "reasoning", "stream"}
        | {"top_logprobs"}
    ),
}


def same_fields(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a chat has under the same name."""
    return {name: value for name, value in payload.items() if name in SAME}


def unsaid_fields(endpoint: Endpoint, payload: Mapping[str, Any]) -> list[str]:
    """The names of fields that say something which no chat can say, as far as anybody here knows."""
    known = (SAME, DROPPED[endpoint], TRANSLATED[endpoint])
    return [name for name, value in payload.items() if value and not any(name in one for one in known)]
