"""What a backend declares about itself. Each declares it in its own file, and an entry point names the declaration.

How the parts fit together: docs/add-a-backend.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from pointsman.experts.http1.client import Timeouts
from pointsman.experts.protocols import Expert
from pointsman.experts.spec import Capability, ExpertSpec


class BackendOptions(BaseModel):
    """Base of a backend's options: frozen, closed against unknown keys, described by the strings below its fields.

    A field of type `Path` (or `Path | None`) is made absolute against the folder of the settings file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())


class OptionProblems(ValueError):
    """Several things are wrong with options; a validator or a `build` raises it.

    Args:
        problems: Pairs of a path below the options and a sentence.
    """

    def __init__(self, problems: Sequence[tuple[tuple[str | int, ...], str]]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, path))}: {text}" if path else text for path, text in problems))
        self.problems = tuple(problems)


OptionsT = TypeVar("OptionsT", bound=BackendOptions)


@dataclass(frozen=True, slots=True)
class BackendSetup(Generic[OptionsT]):
    """What the settings say of one expert, for the backend that reaches it.

    Attributes:
        spec: What the expert is.
        options: The backend's own options, checked.
        base_url: Where the server is.
        api_key: The key itself, read from where the settings say that it is.
        headers: Further headers for every call.
        timeouts: Of connecting, and of waiting for bytes.
        max_connections: Calls in flight at most, which is as many connections as are needed; None for no limit.
        env: The environment, for what options refer to.
    """

    spec: ExpertSpec
    options: OptionsT
    base_url: str | None
    api_key: str | None
    headers: Mapping[str, str]
    timeouts: Timeouts
    max_connections: int | None
    env: Mapping[str, str]


class Engine(Protocol):
    """A process that all experts of a backend share, held by the gateway for as long as it runs."""

    async def ensure(self) -> None:
        """Return once it runs; start it unless it does.

        Raises:
            OSError: It does not start.
        """

    async def aclose(self) -> None:
        """End it if this handle started it. Idempotent."""


@dataclass(frozen=True, slots=True)
class BackendSpec(Generic[OptionsT]):
    """All that the gateway and the pages know of a backend.

    Attributes:
        reaches: What it reaches, in a few words.
        options: The model of its options; `BackendOptions` for none.
        build: Makes an expert. Opens and starts nothing; imports nothing heavy. `ValueError`, `OptionProblems` and
            `ExpertMisconfigured` are shown to the operator.
        address: Whether `base_url` may or must be stated. With "none", keys and headers mean nothing either.
        endpoints: What its experts may serve beside chat and completions, where their `capabilities` say so.
        engine: Makes a handle on a process that all its experts share; None for a backend that needs none.
        answers: How its answers look.
        probe: What a health probe asks.
        when_left: What happens when the client leaves.
        needs: What has to be installed for it.
    """

    reaches: str
    options: type[OptionsT]
    build: Callable[[BackendSetup[OptionsT]], Expert]
    address: Literal["none", "optional", "required"] = "none"
    endpoints: frozenset[Capability] = frozenset()
    engine: Callable[[], Engine] | None = None
    answers: str = "in OpenAI's shape"
    probe: str = "none"
    when_left: str = "stops"
    needs: str = "–"
