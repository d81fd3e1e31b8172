"""The options of each backend, as they stand under an expert's `options`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, Final

from pydantic import Field, ValidationError

from gateway.settings.base import Node, NonNegative
from gateway.settings.problems import describe_items
from gateway.settings.yaml_source import Path


class OpenAIHttpOptions(Node):
    """Options of `openai_http`."""

    verify_tls: bool = True
    """Whether to check the server's certificate."""
    tls_ca_file: FilePath | None = None
    """Certificate authorities to trust in place of the system's, relative to the settings file."""


class LitellmOptions(Node):
    """Options of `litellm`."""

    params: dict[str, Any] = Field(default_factory=dict)
    """Arguments for every completion call, such as `api_version` or `aws_region_name`. A value `os.environ/NAME` is
    taken from the environment; secrets must be written so."""


class EmbeddedOptions(Node):
    """Options of `embedded`."""

    model_dir: FilePath | None = None
    """Folder of a checkpoint of your own (Qwen3 or Qwen3-MoE), relative to the settings file; the shipped models need
    none."""


class ReplayOptions(Node):
    """Options of `replay`."""

    file: FilePath
    """Recorded answers, relative to the settings file."""
    time_scale: NonNegative = 0.0
    """How slowly to replay recorded latency: 1 as recorded, 0 at once."""


#: Backend -> its options. `fake` is not here: its script checks itself.
OPTIONS: Final[Mapping[str, type[Node]]] = {
    "openai_http": OpenAIHttpOptions,
    "litellm": LitellmOptions,
    "embedded": EmbeddedOptions,
    "replay": ReplayOptions,
}


def option_problems(backend: str, options: dict[str, Any]) -> list[tuple[Path, str]]:
    """What is wrong with a backend's options, with paths relative to them."""
    if backend == "fake":
        # Only configurations with a fake need its module.
        from experts.backends.fake.script import Script

        try:
            Script.from_options(options)
        except (TypeError, ValueError) as error:
            return [((), str(error))]
        return []
    model = OPTIONS[backend]
    try:
        model.model_validate(options)
    except ValidationError as error:
        return describe_items(error, model)
    return []
