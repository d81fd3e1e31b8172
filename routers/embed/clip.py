"""Long prompts are cut deterministically before they are embedded: head and tail say what is asked."""

from __future__ import annotations

#: Share of the cap that the head of the text gets; instructions stand first more often than last.
HEAD_SHARE = 0.75


def clip_text(text: str, max_chars: int) -> str:
    """Keep at most `max_chars` characters: the first three quarters of them from the head, the rest from the tail."""
    if len(text) <= max_chars:
        return text
    head = int(max_chars * HEAD_SHARE)
    return f"{text[:head]} {text[len(text) - (max_chars - head - 1) :]}"
