"""How many tokens a text has, as far as its bytes tell. An estimate: exact counts come back in `usage`."""

from __future__ import annotations

from typing import Final

#: About how many UTF-8 bytes make a token of English or code.
BYTES_PER_TOKEN: Final = 3.6
#: Of every message beside its text, or of every text of several.
_TOKENS_PER_MESSAGE: Final = 4


def tokens_of(size_bytes: float, messages: int) -> int:
    """Estimated tokens of so many bytes in so many messages."""
    return int(size_bytes / BYTES_PER_TOKEN) + _TOKENS_PER_MESSAGE * messages


def bytes_of(tokens: int) -> int:
    """About as many bytes as so many tokens have."""
    return int(tokens * BYTES_PER_TOKEN)
