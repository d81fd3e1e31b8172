"""`python -m gateway.cli`, the same as `pointsman`."""

from __future__ import annotations

from gateway.cli import main

main(prog_name="pointsman")
