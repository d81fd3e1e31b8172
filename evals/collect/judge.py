"""What a judge is asked, and the rating that it gives."""

from __future__ import annotations

import re
from typing import Final

from pointsman.evals.collect.plain_answer import plain_answer

QUESTION: Final = (
    "Rate how well the answer responds to the question, from 0 (useless or wrong) to 10 (perfect). "
    "Reply with the number alone.\n\nQuestion:\n{prompt}\n\nReference answer:\n{reference}\n\nAnswer:\n{answer}"
)

_OF_TEN: Final = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)\s*(?:/|out of|of)\s*10(?:\.0+)?(?![\d.]*\d)", re.IGNORECASE)
_NUMBER: Final = re.compile(r"(?<![\w.,-])-?\d+(?:\.\d+)?(?!\w)")


def read_rating(reply: str) -> float | None:
    """The rating / 10: "7", "7/10", "Rating: 7 out of 10"; None where it gives none between 0 and 10, or several."""
    text = plain_answer(reply)
    said = {float(one) for one in _OF_TEN.findall(text)} or {float(one) for one in _NUMBER.findall(text)}
    if len(said) != 1:
        return None
    rating = said.pop()
    return rating / 10 if 0 <= rating <= 10 else None
