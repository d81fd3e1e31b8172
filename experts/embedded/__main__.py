"""`python -m pointsman.experts.embedded --socket PATH`: serve the embedded experts over a unix socket."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

from pointsman.experts.nano import MODELS_DIR


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM, SIGINT, or the end of the parent that `--parent` names."""
    parser = argparse.ArgumentParser(
        prog="python -m pointsman.experts.embedded",
        description="Generate with the embedded experts: OpenAI's endpoints over a unix socket, no torch.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--socket", type=Path, required=True, help="where to listen; created with mode 0600")
    parser.add_argument("--models", type=Path, default=MODELS_DIR, help="folder with a checkpoint folder per model")
    parser.add_argument("--threads", type=int, default=1, help="threads of the matrix products")
    parser.add_argument("--parent", type=int, help="process id to end with; for those who start this process")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="embedded experts: %(message)s")
    # Read by the BLAS library when numpy is imported, which therefore happens below. More threads than one gain
    # little at this size and take cores from the gateway.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(options.threads))
    from pointsman.experts.child_process import watch_parent

    if options.parent is not None:
        watch_parent(options.parent)
    os.umask(0o177)
    options.socket.unlink(missing_ok=True)
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_serve(options.models.resolve(), options.socket))
    sys.exit(0)


async def _serve(models: Path, socket_path: Path) -> None:
    from pointsman.experts.embedded.server import EngineServer

    serving = asyncio.ensure_future(EngineServer(models).run(socket_path))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    await serving


if __name__ == "__main__":
    main()
