"""The dial τ: the share of requests that null experts may answer, held by a price on their utility.

AdaMoE (arXiv 2406.13233) holds the use of its null experts at a target with a load loss, MoE++ (arXiv 2410.07348)
with a weight τ; at serving time nothing is trained, so the same is done with a price. Null experts are counted
together, as AdaMoE's paper intends. They have an account of at most B answers:

    b_0 = B,    b_t+1 = clip(b_t + [a null expert answered] - τ, 0, B),    price = P b / (B - 1 - b)

The price is 0 while the share is below τ and grows without bound until no further answer has room, so that under a
tight dial the answers that gain most over the best expert's are the ones given. Among any n requests at most τ n + B
are answered by null experts, wherever a real expert was admissible; b_0 = B lets the share be earned first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

#: Price at about half an account, in units of quality.
PRICE = 0.1
#: Price without room for an answer: more than any utility, yet a number.
FULL_PRICE = 1e6


@dataclass(frozen=True, slots=True)
class ShareAccount:
    """How much of their share null experts have used lately.

    Attributes:
        share: τ in [0, 1]; 1 for no limit.
        size: B, the answers that may be given ahead.
        used: b.
    """

    share: float
    size: float
    used: float

    @classmethod
    def opened(cls, share: float, window: int) -> ShareAccount:
        """An account whose share holds within two points over any `window` requests, or by two answers."""
        size = max(2.0, 0.02 * window)
        return cls(share, size, size)

    @property
    def price(self) -> float:
        """What an answer by a null expert costs now, in units of quality."""
        if self.share >= 1.0 or self.used <= 0.0:
            return 0.0
        left = self.size - 1.0 - self.used
        return FULL_PRICE if left <= 0.0 else min(FULL_PRICE, PRICE * self.used / left)

    def after(self, *, null: bool) -> ShareAccount:
        """After one more request, answered by a null expert or not."""
        return replace(self, used=min(self.size, max(0.0, self.used + null - self.share)))
