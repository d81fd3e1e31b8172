"""The embedded experts: plain HTTP over a unix socket to an engine process."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from pointsman.experts.backend_spec import BackendOptions, BackendSetup, BackendSpec
from pointsman.experts.backends.embedded_engine import EngineProcess, default_socket
from pointsman.experts.backends.openai_http import OpenAIHttpExpert
from pointsman.experts.errors import ExpertMisconfigured, ExpertUnavailable
from pointsman.experts.http1.client import Timeouts
from pointsman.experts.http1.failures import ConnectError
from pointsman.experts.nano import MODELS_DIR
from pointsman.experts.protocols import ExpertCall, ExpertReply
from pointsman.experts.spec import ExpertSpec

_MODEL_DIR_HEADER = "x-pointsman-model-dir"


class EmbeddedOptions(BackendOptions):
    """Options of `embedded`."""

    model_dir: Path | None = None
    """Folder of a checkpoint of your own (Qwen3 or Qwen3-MoE), relative to the settings file; the shipped models need
    none."""


class EmbeddedExpert:
    """A small Qwen3-type checkpoint that generates on this machine.

    All embedded experts of a host share one engine process, identified by its socket. The first process that finds the
    socket unserved starts the engine. The engine ends with that process, and the next call starts another.

    Args:
        spec: What it is; `spec.model` names a shipped checkpoint unless `model_dir` is given.
        model_dir: A checkpoint folder of the operator's own.
        socket: Where the engine listens; None for the gateway's runtime folder.
        timeouts: Of waiting for the engine.
        max_connections: Calls in flight at once; further ones wait in line. None for no limit.
    """

    def __init__(
        self,
        spec: ExpertSpec,
        model_dir: Path | None = None,
        socket: Path | None = None,
        timeouts: Timeouts | None = None,
        max_connections: int | None = None,
    ) -> None:
        self._spec = spec
        self._folder = (model_dir or MODELS_DIR / spec.model).resolve()
        socket = socket or default_socket()
        self._engine = EngineProcess(socket)
        self._http = OpenAIHttpExpert(
            spec,
            f"http+unix://{quote(str(socket), safe='')}/v1",
            headers={} if model_dir is None else {_MODEL_DIR_HEADER: str(self._folder)},
            timeouts=timeouts,
            max_connections=max_connections,
        )

    @property
    def spec(self) -> ExpertSpec:
        """What it is."""
        return self._spec

    @property
    def engine(self) -> EngineProcess:
        """The process that generates."""
        return self._engine

    async def start(self) -> None:
        """Start the engine where nobody serves its socket. The model loads with the first call.

        Raises:
            ExpertMisconfigured: There is no checkpoint.
        """
        if not (self._folder / "config.json").is_file():
            raise ExpertMisconfigured(self._spec.name, f"no checkpoint at {self._folder}")
        await self._ensure_engine()

    async def call(self, call: ExpertCall) -> ExpertReply:
        """Generate. A dead engine is started again; a call that it took down with it fails, and is not repeated."""
        try:
            return await self._http.call(call)
        except ExpertUnavailable as error:
            if not isinstance(error.__cause__, ConnectError):
                raise
        # Nothing was sent: the engine is not there (any more), so this call may go to the next one.
        await self._ensure_engine()
        return await self._http.call(call)

    async def probe(self) -> str | None:
        """Whether the engine answers; starts it when it is gone."""
        try:
            await self._ensure_engine()
        except ExpertUnavailable as error:
            return error.message
        return await self._http.probe()

    async def aclose(self) -> None:
        """Close the connections; end the engine if this expert started it."""
        await self._http.aclose()
        await self._engine.aclose()

    async def _ensure_engine(self) -> None:
        try:
            await self._engine.ensure()
        except OSError as error:
            message = f"the embedded engine does not start: {error}"
            raise ExpertUnavailable(self._spec.name, message, sent=False) from error


def _build(setup: BackendSetup[EmbeddedOptions]) -> EmbeddedExpert:
    return EmbeddedExpert(
        setup.spec,
        model_dir=setup.options.model_dir,
        timeouts=setup.timeouts,
        max_connections=setup.max_connections,
    )


def _engine() -> EngineProcess:
    return EngineProcess(default_socket())


BACKEND = BackendSpec(
    reaches="the nano experts on this machine",
    options=EmbeddedOptions,
    build=_build,
    engine=_engine,
    probe="as `openai_http`",
    when_left="stops generating",
)
