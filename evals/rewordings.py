"""Prompts in other words with the same meaning, and how often a router changes its mind over them.

These are mechanical rewordings, not paraphrases by a person or a model: a router that fails them fails the easiest test
there is, one that passes has not shown that it reads for meaning. RouterArena's robustness (arXiv 2510.00202) uses 420
written paraphrases; its figures and these are not comparable.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pointsman.evals.metrics.robustness import flip_rate
from pointsman.evals.policies import Trial
from pointsman.evals.replay import requests
from pointsman.experts.spec import PoolView
from pointsman.routers.protocols import RouterProtocol

_OPTION = re.compile(r"^(\(?[A-J][.)]\s+)(.+)$", re.MULTILINE)
_WORD = re.compile(r"[A-Za-z]{5,}")
_SAMPLE = 300


def lower_case(text: str) -> str:
    """All letters small."""
    return text.lower()


def respaced(text: str) -> str:
    """Blanks doubled, and empty lines around."""
    return "\n" + text.replace(" ", "  ") + "\n\n"


def polite(text: str) -> str:
    """With a word of courtesy before and after."""
    return f"Hello! Could you please help me with this? {text}\nThank you very much."


def mistyped(text: str) -> str:
    """Two neighbouring letters inside every tenth long word change places; the same text always the same way."""
    rng = np.random.default_rng(zlib.crc32(text.encode()))

    def swap(match: re.Match[str]) -> str:
        word = match.group()
        if rng.random() >= 0.1:
            return word
        at = int(rng.integers(1, len(word) - 2))
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]

    return _WORD.sub(swap, text)


def options_turned(text: str) -> str:
    """Lettered options of a question move one place down, the last to the top; other texts stay as they are."""
    options = [match.group(2) for match in _OPTION.finditer(text)]
    if len(options) < 2:
        return text
    turned = iter([options[-1], *options[:-1]])
    return _OPTION.sub(lambda match: match.group(1) + next(turned), text)


#: Name in the report -> rewording.
REWORDINGS: dict[str, Callable[[str], str]] = {
    "lower case": lower_case,
    "spacing": respaced,
    "courtesy": polite,
    "typing errors": mistyped,
    "options in another order": options_turned,
}


def flip_rates(router: RouterProtocol, trial: Trial, view: PoolView, sample: int = _SAMPLE) -> dict[str, float]:
    """Share of test prompts whose pick changes under each rewording, of those that the rewording changes at all.

    Args:
        router: Any router.
        trial: The ground.
        view: The pool.
        sample: How many test prompts to reword, evenly spread over the table; all when there are fewer.

    Returns:
        Rewording -> rate; without the rewordings that change no prompt of the sample.
    """
    column = {expert: j for j, expert in enumerate(trial.test.experts)}
    picked = np.unique(np.linspace(0, len(trial.test) - 1, min(sample, len(trial.test))).astype(np.int64))
    part = trial.test.rows(picked)

    def choices(texts: list[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        decisions = (router.decide(request, view) for request in requests(replace(part, prompts=tuple(texts))))
        return np.array([-1 if one.expert is None else column[one.expert] for one in decisions], dtype=np.int64)

    before = choices(list(part.prompts))
    rates: dict[str, float] = {}
    for name, reword in REWORDINGS.items():
        texts = [reword(text) for text in part.prompts]
        changed = np.array([a != b for a, b in zip(texts, part.prompts, strict=True)])
        if changed.any():
            rates[name] = flip_rate(before[changed], choices(texts)[changed])
    return rates
