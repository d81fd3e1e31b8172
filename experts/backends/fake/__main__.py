"""`python -m pointsman.experts.backends.fake`: a scripted OpenAI-compatible server on loopback."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys

import uvloop

from pointsman.experts.backends.fake.script import Fault, Report, Script
from pointsman.experts.backends.fake.server import FakeServer


def _parser() -> argparse.ArgumentParser:
    default = Script()
    parser = argparse.ArgumentParser(
        prog="python -m pointsman.experts.backends.fake",
        description="A scripted OpenAI-compatible server: chosen delays, chosen failures, counts at GET /stats.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="TCP port, 0 for any free one")
    parser.add_argument("--uds", help="path of a unix-domain socket to listen on instead")
    parser.add_argument("--model", default="fake", help="model name in the answers")
    parser.add_argument("--api-key", help="answer 401 to calls without it")
    script = parser.add_argument_group("script")
    script.add_argument("--reply", default=default.reply, help="answer; {prompt} and {model} are filled in")
    script.add_argument("--completion-tokens", type=int, help="length of the answer in words")
    script.add_argument("--max-tokens", type=int, help="where it ends an answer of its own accord")
    script.add_argument("--hidden-tokens", type=int, default=default.hidden_tokens, help="thought before the text")
    script.add_argument("--usage", type=Report, choices=list(Report), default=default.usage, help="what it reports")
    script.add_argument("--ttft-ms", type=float, default=default.ttft_ms, help="time to first token")
    script.add_argument("--prefill-ms-per-token", type=float, default=default.prefill_ms_per_token)
    script.add_argument("--tokens-per-s", type=float, help="speed after the first token; all at once when left out")
    script.add_argument("--jitter", type=float, default=default.jitter, help="share by which delays vary, 0 to 1")
    script.add_argument("--fault", type=Fault, choices=list(Fault), default=default.fault, help="what goes wrong")
    script.add_argument("--fault-calls", type=int, nargs="*", default=(), help="on which calls, counted from 0")
    script.add_argument("--fault-rate", type=float, default=default.fault_rate, help="with which probability")
    script.add_argument("--fault-after-tokens", type=int, default=default.fault_after_tokens)
    script.add_argument("--error-status", type=int, default=default.error_status)
    script.add_argument("--retry-after-s", type=int, help="sent with the fault 'error'")
    script.add_argument("--seed", type=int, default=default.seed, help="of jitter and fault rate")
    return parser


async def _serve(server: FakeServer, host: str, port: int, uds: str | None) -> None:
    await server.start(host, port, uds)
    # The process that started this one reads the address from this line.
    sys.stdout.write(f"listening on {uds or f'http://{host}:{server.port}'}\n")
    sys.stdout.flush()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await server.aclose()


def main(arguments: list[str] | None = None) -> None:
    """Serve until interrupted."""
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    host, port, uds = options.pop("host"), options.pop("port"), options.pop("uds")
    model, api_key = options.pop("model"), options.pop("api_key")
    try:
        script = Script.model_validate(options)
    except ValueError as error:
        parser.error(str(error))
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(FakeServer(script, model, api_key), host, port, uds))


if __name__ == "__main__":
    main()
