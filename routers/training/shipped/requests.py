"""Short requests as people type them, made from the sentence patterns and word lists of `requests.json`: our own text.

Corpora hold documents and exam questions, not "fix this function" or "whats 17% of 240". These patterns teach the
classifier of the default artefact how a request for code, arithmetic, clinical knowledge or prose sounds.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

_SLOT = re.compile(r"\{(\w+)\}")
_FILE = Path(__file__).with_name("requests.json")


def make_requests(count: int, seed: int) -> dict[str, list[str]]:
    """Up to `count` distinct requests of each category, the same for the same seed."""
    content = json.loads(_FILE.read_text("utf-8"))
    return {
        category: _fill(patterns, content["words"], count, random.Random(f"{seed}:{category}"))
        for category, patterns in content["patterns"].items()
    }


def _fill(patterns: list[str], words: dict[str, list[str]], count: int, rng: random.Random) -> list[str]:
    def word(match: re.Match[str]) -> str:
        # A brace that is no slot (an f-string in a snippet's pattern) stays as it stands.
        return rng.choice(words.get(match.group(1), [match.group(0)]))

    made: dict[str, None] = {}
    for attempt in range(4 * count):
        if len(made) >= count:
            break
        text = _SLOT.sub(word, patterns[attempt % len(patterns)])
        # People type with and without capitals.
        made.setdefault(text.lower() if rng.random() < 0.3 else text)
    return list(made)
