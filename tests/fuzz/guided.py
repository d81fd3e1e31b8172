"""One target under atheris: `python -m tests.fuzz.guided TARGET [libFuzzer's arguments]`. Never returns."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(
    include=[
        "gateway.wire",
        "gateway.http_protocol",
        "gateway.fast_lane",
        "gateway.dataplane",
        "experts.http1",
        "routers.null_experts",
        "routers.selection.flags",
    ]
):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
