"""Ids that sort by time: 48 bits of milliseconds, then 80 random bits, as in UUID version 7."""

from __future__ import annotations

import os
import time


def new_decision_id() -> str:
    """A fresh decision id, such as `dec_0193a1b2c3d45f6a7b8c9d0e1f2a3b4c`."""
    return f"dec_{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"
