"""What an answer says of its tokens, in the words of every API that experts speak.

OpenAI's endpoints count prompt and completion tokens, and say apart how many of them came from a cache, or were
reasoning: those are among the others. Responses count input and output tokens, with such details. Messages count what
came from or went into a cache beside what was new.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pointsman.experts.spec import Usage
from pointsman.gateway.wire.json_values import count_in

#: What stands for counts that are none: a counter cannot fall, and has no half.
ABSURD: Final = Usage(-1, -1)
#: What Messages count of a prompt: what was new, what came from a cache, what went into one.
_INPUT: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
#: Where prompt tokens of a cache may be counted, beside `cached_tokens` among the details: DeepSeek, litellm.
_READ: Final = ("prompt_cache_hit_tokens", "cache_read_input_tokens")
_WRITTEN_DETAILS: Final = ("cache_write_tokens", "cache_creation_tokens")
_WRITTEN: Final = ("cache_creation_input_tokens",)


def usage_of(usage: Mapping[str, Any], before: Usage | None) -> Usage | None:
    """The tokens of one `usage` object; None where it counts none, `ABSURD` where its counts are none.

    Args:
        usage: The object.
        before: What an earlier event of the same stream said: Messages say the input where a stream begins, the output
            where it ends.
    """
    chat = "prompt_tokens" in usage
    prompt = (usage["prompt_tokens"],) if chat else _input_counts(usage, before)
    answer = usage.get("completion_tokens" if chat else "output_tokens", 0)
    if prompt[0] is None or answer is None:
        return None
    counts = [0 if count is None else _counted(count) for count in (*prompt, answer)]
    known = [count for count in counts if count is not None]
    if len(known) < len(counts):
        return ABSURD
    read, written = sum(known[:-1]), known[-1]
    if chat and len(usage) <= 3 and usage.get("total_tokens") == read + written:
        # Nothing else is said: the usual report.
        return Usage(read, written)
    return _detailed(usage, read, written, chat, prompt, before)


def _detailed(
    usage: Mapping[str, Any], prompt: int, answer: int, chat: bool, counts: tuple[Any, ...], before: Usage | None
) -> Usage:
    """The same with what is said of caches and of reasoning; counts that are none are taken for nothing."""
    given = _object(usage, "prompt_tokens_details" if chat else "input_tokens_details")
    made = _object(usage, "completion_tokens_details" if chat else "output_tokens_details")
    if not chat and usage.get("input_tokens") is None and before is not None:
        read, stored = before.cached_tokens, before.cache_write_tokens
    elif not chat and len(counts) == len(_INPUT) and (counts[1] or counts[2]):
        read, stored = _count(usage, _INPUT[1]), _count(usage, _INPUT[2])
    else:
        read = _count(given, "cached_tokens") or _count(usage, *_READ)
        stored = _count(given, *_WRITTEN_DETAILS) or _count(usage, *_WRITTEN)
    reasoning = _count(made, "reasoning_tokens")
    beside = _count(usage, "total_tokens") - prompt - answer
    if chat and beside > 0 and reasoning in (0, beside):
        # Reasoning that is counted beside the answer (xAI), or in the total alone (Gemini): paid for like the rest.
        answer, reasoning = answer + beside, beside
    read = min(read, prompt)
    return Usage(prompt, answer, read, min(stored, prompt - read), min(reasoning, answer))


def _input_counts(usage: Mapping[str, Any], before: Usage | None) -> tuple[Any, ...]:
    if usage.get("input_tokens") is None:
        return (None if before is None else before.prompt_tokens,)
    return tuple(usage.get(name) for name in _INPUT)


def _object(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = usage.get(name)
    return found if isinstance(found, dict) else {}


def _count(counts: Mapping[str, Any], *names: str) -> int:
    """The first of these that is a count; 0 where none is."""
    for name in names:
        if count := _counted(counts.get(name)):
            return count
    return 0


def _counted(value: object) -> int | None:
    """A count, however large: what is too much is for the charge to say."""
    return value if type(value) is int and value >= 0 else count_in(value)
