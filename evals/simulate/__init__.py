"""A pool under an hour of production traffic: the gateway's own decision, pool and prices on a simulated clock."""

from pathlib import Path

#: The pool where none is given.
DEFAULT_POOL = Path(__file__).parent / "pool.yaml"
