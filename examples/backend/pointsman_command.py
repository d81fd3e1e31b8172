"""A backend that asks a program: the prompt goes to its standard input, what it prints is the answer."""

from __future__ import annotations

import asyncio
import codecs
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncGenerator

from pydantic import Field

from pointsman.experts.backend_spec import BackendOptions, BackendSetup, BackendSpec
from pointsman.experts.backends.openai_wire import last_user_text
from pointsman.experts.backends.text_reply import TextReply, reply_with
from pointsman.experts.errors import ExpertStreamBroken, ExpertUnavailable
from pointsman.experts.protocols import ExpertCall


class CommandOptions(BackendOptions):
    """Options of `command`."""

    argv: tuple[str, ...] = Field(min_length=1)
    """The program and its arguments. No shell reads them."""


class CommandExpert:
    """An expert that is a program; each call starts it anew."""

    def __init__(self, setup: BackendSetup[CommandOptions]) -> None:
        self.spec = setup.spec
        self._argv = setup.options.argv
        self._timeouts = setup.timeouts

    async def start(self) -> None:
        """Nothing to prepare."""

    async def call(self, call: ExpertCall) -> TextReply:
        """Start the program, and return when it has printed something or ended."""
        prompt = last_user_text(call.endpoint, call.payload)
        return await reply_with(self.spec, call, self._texts(prompt), self._timeouts)

    async def _texts(self, prompt: str) -> AsyncGenerator[str, None]:
        try:
            process = await asyncio.create_subprocess_exec(*self._argv, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        except OSError as error:
            raise ExpertUnavailable(self.spec.name, f"cannot be started: {error}") from error
        try:
            assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018  # both are pipes
            process.stdin.write(prompt.encode())
            process.stdin.close()
            decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a character may lie across two pieces
            printed = False
            while piece := await process.stdout.read(65536):
                printed = True
                yield decoder.decode(piece)
            if code := await process.wait():
                failure = ExpertStreamBroken if printed else ExpertUnavailable
                raise failure(self.spec.name, f"the program ended with exit code {code}")
        finally:
            # Also where the client leaves or time is over: nobody would read what it still prints.
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def probe(self) -> str | None:
        """Whether the program is there."""
        return None if shutil.which(self._argv[0]) else f"there is no program {self._argv[0]}"

    async def aclose(self) -> None:
        """Nothing to let go of."""


BACKEND = BackendSpec(
    reaches="a program on this machine",
    options=CommandOptions,
    build=CommandExpert,
    probe="whether the program is there",
    when_left="kills the program",
)
