"""The windows of limits: those of the clock in UTC, so that replicas agree on them without talking."""

from __future__ import annotations

from calendar import timegm
from enum import StrEnum
from time import gmtime
from typing import Final


class Period(StrEnum):
    """Over how long."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


_LENGTH_S: Final = {Period.MINUTE: 60, Period.HOUR: 3_600, Period.DAY: 86_400}


def window_of(period: Period, now_s: float) -> tuple[float, float]:
    """Beginning and end of the window that a moment lies in, in seconds since 1970."""
    if period is not Period.MONTH:
        length_s = _LENGTH_S[period]
        began_s = now_s // length_s * length_s
        return began_s, began_s + length_s
    now = gmtime(now_s)
    after = (now.tm_year + now.tm_mon // 12, now.tm_mon % 12 + 1)
    return float(timegm((now.tm_year, now.tm_mon, 1, 0, 0, 0))), float(timegm((*after, 1, 0, 0, 0)))
