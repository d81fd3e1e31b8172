"""What the fields of a request are to the gateway: which bound an answer, which multiply the work, which bear text.

The one place that says so, for every endpoint. `answer_bounds.py` reads the first two, `reading.py` and `request.py`
the third. A field that is not named here is taken to bear text: all of it counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import Capability

# What bounds an answer, and what multiplies it.

#: The fields by which the endpoint itself limits an answer.
OWN_LIMITS: Final[Mapping[Endpoint, frozenset[str]]] = MappingProxyType(
    {
        Endpoint.CHAT: frozenset({"max_completion_tokens", "max_tokens"}),
        Endpoint.COMPLETIONS: frozenset({"max_tokens"}),
        Endpoint.MESSAGES: frozenset({"max_tokens"}),
        Endpoint.COUNT_TOKENS: frozenset({"max_tokens"}),
        Endpoint.RESPONSES: frozenset({"max_output_tokens"}),
    }
)
#: Every field by which some server does: which of several counts is the server's to say.
LIMITS: Final = frozenset(
    {"max_completion_tokens", "max_tokens", "max_output_tokens", "max_new_tokens", "max_tokens_to_sample"}
    | {"max_gen_len", "n_predict", "num_predict"}
)
#: Fields that ask for several answers at once; the largest counts.
ANSWERS: Final = frozenset({"n", "best_of", "num_return_sequences", "n_cmpl", "num_beams", "beam_width"})
#: Fields that make every token of an answer larger, or of the prompt: 0 for not at all.
TOP_TOKENS: Final = frozenset({"logprobs", "top_logprobs", "prompt_logprobs", "n_probs"})
#: Objects in which some servers look for these fields, too.
WRAPPERS: Final = frozenset(
    {"extra_body", "generation_config", "generationConfig", "options", "parameters", "sampling_params"}
)
#: All names of this section.
COUNTED: Final = LIMITS | ANSWERS | TOP_TOKENS | WRAPPERS

# What bears no text, at the top of a body.

#: Fields that no server writes into a prompt: numbers, switches, and names for whoever bills or watches. What is in
#: them beyond `MOST_SILENT_BYTES` counts as text all the same.
SILENT: Final = frozenset(
    LIMITS
    | ANSWERS
    | TOP_TOKENS
    | {"model", "stream", "stream_options", "temperature", "top_p", "top_k", "min_p", "typical_p", "seed", "stop"}
    | {"stop_sequences", "stop_token_ids", "frequency_penalty", "presence_penalty", "repetition_penalty"}
    | {"length_penalty", "logit_bias", "user", "metadata", "store", "service_tier", "safety_identifier"}
    | {"prompt_cache_key", "prompt_cache_retention", "modalities", "parallel_tool_calls", "reasoning_effort"}
    | {"verbosity", "ignore_eos", "min_tokens", "echo", "skip_special_tokens", "spaces_between_special_tokens"}
    | {"include_stop_str_in_output", "add_generation_prompt", "continue_final_message", "add_special_tokens"}
    | {"truncate_prompt_tokens", "priority", "request_id", "cache_salt", "use_beam_search", "early_stopping"}
    | {"include", "truncation", "max_tool_calls", "background", "reasoning", "thinking", "cache_control", "betas"}
    | {"inference_geo", "previous_response_id", "conversation", "encoding_format", "dimensions", "top_n"}
    | {"return_documents", "max_tokens_per_doc", "max_chunks_per_doc", "normalize", "input_type", "truncate"}
    | {"audio", "tool_choice"}
)
MOST_SILENT_BYTES: Final = 512

#: Fields of the prompt itself; each endpoint reads its own by itself.
PROMPTS: Final[Mapping[Endpoint, frozenset[str]]] = MappingProxyType(
    {
        Endpoint.CHAT: frozenset({"messages"}),
        Endpoint.COMPLETIONS: frozenset({"prompt"}),
        Endpoint.MESSAGES: frozenset({"messages", "system"}),
        Endpoint.COUNT_TOKENS: frozenset({"messages", "system"}),
        Endpoint.RESPONSES: frozenset({"input", "instructions"}),
        Endpoint.EMBEDDINGS: frozenset({"input", "messages"}),
        Endpoint.RERANK: frozenset({"query", "documents"}),
        Endpoint.SCORE: frozenset({"text_1", "queries", "data_1", "text_2", "documents", "items", "data_2"}),
    }
)
#: Fields that every chat template writes into the prompt as they are.
TOOLS: Final = ("tools", "functions")
#: Prompts that are numbers in place of words.
WORDLESS: Final = frozenset({"prompt_embeds", "prompt_token_ids", "input_ids", "input_embeds", "inputs_embeds"})

# What bears text within a message.

#: Kind of a part -> where its text stands.
TEXT_PARTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "text": "text",
        "input_text": "text",
        "output_text": "text",
        "summary_text": "text",
        "reasoning_text": "text",
        "refusal": "refusal",
        "thinking": "thinking",
        "reasoning": "reasoning",
    }
)
#: Parts that show a picture.
PICTURES: Final = frozenset({"image_url", "input_image", "image"})
#: Parts without text -> what an expert must be capable of to read them.
NEEDS: Final[Mapping[str, Capability]] = MappingProxyType(
    {
        **dict.fromkeys((*PICTURES, "image_pil", "image_embeds"), Capability.VISION),
        **dict.fromkeys(("input_audio", "audio", "audio_url", "audio_embeds"), Capability.AUDIO),
        **dict.fromkeys(("video", "video_url", "input_video"), Capability.VIDEO),
        **dict.fromkeys(("file", "input_file", "document"), Capability.FILES),
    }
)
#: Parts without text -> input tokens for a byte of their data, at the most.
MEDIA: Final[Mapping[str, float]] = MappingProxyType(
    {
        **dict.fromkeys((*PICTURES, "image_pil"), 0.0),
        **dict.fromkeys(("input_audio", "audio", "audio_url", "video", "video_url", "input_video"), 1 / 64),
        **dict.fromkeys(("file", "input_file", "document", "container_upload"), 1.0),
        **dict.fromkeys(("image_embeds", "audio_embeds", "prompt_embeds"), 1 / 64),
    }
)
#: Where the data of a medium, or its address, stands. Data have no blanks.
DATA: Final = frozenset({*MEDIA, "url", "data", "file_data", "file_url", "file_id", "b64_json"})
#: What a part of any medium takes beyond its data: about a large picture.
TOKENS_PER_MEDIUM: Final = 1_024
#: Media that are words to whoever opens them.
WORDS_INSIDE: Final = frozenset(
    {"file", "input_file", "document", "container_upload", "image_embeds", "audio_embeds", "prompt_embeds"}
)
#: Parts whose `content` or `output` is made of parts again.
NESTING_PARTS: Final = frozenset(
    {"tool_result", "search_result", "web_search_tool_result", "web_fetch_tool_result", "mcp_tool_result"}
    | {"code_execution_tool_result", "bash_code_execution_tool_result", "text_editor_code_execution_tool_result"}
    | {"tool_search_tool_result", "message", "function_call_output", "custom_tool_call_output"}
)
#: Parts and items whose strings are all that an expert reads of them.
KNOWN_PARTS: Final = frozenset(
    {"redacted_thinking", "tool_use", "server_tool_use", "mcp_tool_use", "tool_reference", "function_call"}
    | {"custom_tool_call", "item_reference", "web_search_result", "web_search_call", "file_search_call"}
    | {"computer_call", "computer_call_output", "computer_screenshot", "code_interpreter_call", "local_shell_call"}
    | {"local_shell_call_output", "shell_call", "shell_call_output", "apply_patch_call", "apply_patch_call_output"}
    | {"mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "image_generation_call"}
    | {"compaction", "bash_code_execution_result", "code_execution_result", "web_fetch_result"}
)

#: Names of an object's fields that no template writes.
STRUCTURE: Final = frozenset(
    {"type", "text", "content", "role", "id", "source", "data", "media_type", "url", "file", "image_url", "output"}
    | {"input_audio", "audio_url", "video_url", "detail", "cache_control", "ttl", "tool_call_id", "tool_use_id"}
    | {"call_id", "status", "index", "is_error", "citations", "signature", "refusal", "thinking", "summary"}
    | {"tool_calls", "function", "arguments", "input"}
)
#: Fields whose values are marks, and no phrase, where they look like a name of the API's own.
MARKS: Final = frozenset(
    {"type", "role", "id", "media_type", "detail", "ttl", "tool_call_id", "tool_use_id", "call_id", "status"}
)
MOST_MARK_CHARS: Final = 64

USER: Final = "user"
ROLES: Final = frozenset({USER, "assistant", "system", "developer", "tool", "function"})
#: Whose messages, and which fields, say how to answer rather than what.
INSTRUCTING: Final = ("system", "developer")
INSTRUCTIONS: Final = ("system", "instructions")


def by_user(role: str) -> bool:
    """Whether a role is the user's, in whatever letters: templates compare as they like."""
    return role == USER or (role not in ROLES and role.strip().lower() == USER)


def is_text_part(part: Mapping[str, Any]) -> bool:
    """Whether a part is text and all there; any other may stand for something that lies elsewhere."""
    kind = part.get("type")
    return isinstance(kind, str) and kind in TEXT_PARTS


def text_field(part: Mapping[str, Any]) -> str | None:
    """Where the text of a part stands; None where it has none that is known."""
    kind = part.get("type")
    field = TEXT_PARTS.get(kind, "text") if isinstance(kind, str) else "text"
    return field if isinstance(part.get(field), str) else None
