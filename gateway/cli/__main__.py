"""`python -m pointsman.gateway.cli`, the same as `pointsman`."""

from __future__ import annotations

from pointsman.gateway.cli import main

main(prog_name="pointsman")
