"""How much one request asks for, where that is more than one answer to one prompt that was read as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Work:
    """What multiplies a request's work, and what is not known of it.

    Attributes:
        answers: How many answers are written at once, over all prompts.
        longest_prompt_tokens: Of several prompts that are answered one by one; None for one prompt.
        shortest_prompt_tokens: Likewise.
        unseen_tokens: Further input tokens at the most: of what has no text (files, pictures, sound), and of a query
            that is read with every document.
        unread_limit: The field that limits the answer in a way that only the expert can read; None where there is
            none. The expert's own limit does not hold beside it.
    """

    answers: int = 1
    longest_prompt_tokens: int | None = None
    shortest_prompt_tokens: int | None = None
    unseen_tokens: int = 0
    unread_limit: str | None = None


#: Of most requests.
ONE_ANSWER: Final = Work()
