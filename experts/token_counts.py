"""How many tokens one expert finds in a prompt, over what the gateway takes them for, learned from reported usage.

The gateway estimates tokens from bytes, the same for every expert; tokenizers, templates and kinds of text differ by
half and more. What an expert reports of its calls corrects the estimate: the ratio of the sums, half as much after
every `HALF_LIFE_CALLS` calls, is the typical factor, and a quantile of the ratios the worst.
"""

from __future__ import annotations

import math
from typing import Final

from pointsman.experts.spec import AS_ESTIMATED, TokenFactors

HALF_LIFE_CALLS: Final = 200.0
#: The worst factor is the one that this share of the prompts keeps, followed in steps of the logarithm.
_KEPT_SHARE: Final = 0.95
_STEP: Final = 0.02
#: What lies outside is no tokenizer's: hidden prompts, cached parts that are not told, or nonsense.
_LEAST, _MOST = 0.25, 4.0
#: Of shorter prompts the template is the larger part, and says nothing of long ones.
_LEAST_TOKENS: Final = 64


class TokenCountModel:
    """The factors of one expert."""

    __slots__ = ("_estimated", "_reported", "_worst")

    def __init__(self) -> None:
        self._estimated = self._reported = 0.0
        self._worst: float | None = None

    def see(self, estimated: int, reported: int) -> None:
        """A prompt was counted.

        Args:
            estimated: What the gateway took it for.
            reported: What the expert says.
        """
        if estimated < _LEAST_TOKENS or not _LEAST <= reported / estimated <= _MOST:
            return
        left = 0.5 ** (1.0 / HALF_LIFE_CALLS)
        self._estimated = self._estimated * left + estimated
        self._reported = self._reported * left + reported
        off = math.log(reported / estimated)
        if self._worst is None:
            self._worst = off
        else:
            self._worst += _STEP * (_KEPT_SHARE if off > self._worst else _KEPT_SHARE - 1.0)

    @property
    def factors(self) -> TokenFactors:
        """The factors now; 1 before anything was counted."""
        if self._worst is None:
            return AS_ESTIMATED
        typical = self._reported / self._estimated
        return TokenFactors(typical, max(typical, math.exp(self._worst)))
