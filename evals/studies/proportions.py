"""Proportions with their intervals, as the pages write them."""

from __future__ import annotations

import math


def rate(hits: int, of: int, digits: int = 2) -> str:
    """A proportion in per cent with its 95 % interval and n; a dash without observations."""
    if not of:
        return "–"
    low, high = wilson(hits, of)
    return f"{hits / of:.{digits}%} [{low:.{digits}%}, {high:.{digits}%}] (n = {of:,})"


def wilson(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval (1927) of a proportion."""
    share = hits / of
    middle = share + z * z / (2 * of)
    reach = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, (middle - reach) / (1 + z * z / of)), min(1.0, (middle + reach) / (1 + z * z / of))
