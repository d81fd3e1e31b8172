"""One target under atheris: `python -m tests.fuzz.guided TARGET [libFuzzer's arguments]`. Never returns."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(
    include=[
        "pointsman.gateway.wire",
        "pointsman.gateway.http.protocol",
        "pointsman.gateway.http.exchange",
        "pointsman.gateway.http.asgi",
        "pointsman.experts.http1",
        "pointsman.routers.null_experts",
        "pointsman.routers.selection.flags",
    ]
):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
