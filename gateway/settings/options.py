"""The options of each backend, as they stand under an expert's `options`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, Final

from pydantic import Field, ValidationError, field_validator

from gateway.settings.base import Node, NonNegative, SettingsError
from gateway.settings.problems import TreeProblems, describe_items
from gateway.settings.yaml_source import Path

_ENV: Final = re.compile(r"^os\.environ/([A-Za-z_][A-Za-z0-9_]*)$")
_SECRET: Final = re.compile(r"(?:key|secret|password|credential)s?$|(?:^|_)token$", re.IGNORECASE)


class OpenAIHttpOptions(Node):
    """Options of `openai_http`."""

    verify_tls: bool = True
    """Whether to check the server's certificate."""
    tls_ca_file: FilePath | None = None
    """Certificate authorities to trust in place of the system's, relative to the settings file."""


class LitellmOptions(Node):
    """Options of `litellm`."""

    params: dict[str, Any] = Field(default_factory=dict)
    """Arguments of every call, such as `api_version` or `aws_region_name`. A value `os.environ/NAME` is taken from the
    environment; secrets must be written so."""
    extra_fields: frozenset[str] = Field(default=frozenset(), json_schema_extra={"default": []})
    """Fields beyond OpenAI's own that clients may send on to this provider; others are refused by name."""

    @field_validator("params")
    @classmethod
    def _no_secrets(cls, value: dict[str, Any]) -> dict[str, Any]:
        literal = [name for name, content in value.items() if looks_secret(name) and variable_of(content) is None]
        if literal:
            raise TreeProblems(
                [((name,), "secrets never stand in the file; write os.environ/NAME") for name in literal]
            )
        return value

    def arguments(self, env: Mapping[str, str]) -> dict[str, Any]:
        """`params` with every reference to the environment replaced by what it refers to.

        Args:
            env: The environment.

        Raises:
            SettingsError: A variable is not set.
        """
        arguments: dict[str, Any] = {}
        problems: list[str] = []
        for name, content in self.params.items():
            variable = variable_of(content)
            arguments[name] = content if variable is None else env.get(variable)
            if arguments[name] is None and variable is not None:
                problems.append(f"options.params.{name}: the environment variable {variable} is not set")
        if problems:
            raise SettingsError(problems)
        return arguments


class EmbeddedOptions(Node):
    """Options of `embedded`."""

    model_dir: FilePath | None = None
    """Folder of a checkpoint of your own (Qwen3 or Qwen3-MoE), relative to the settings file; the shipped models need
    none."""


class ReplayOptions(Node):
    """Options of `replay`."""

    source: FilePath
    """Recorded answers: a JSON-lines file, or a folder with an outcome table; relative to the settings file."""
    time_scale: NonNegative = 0.0
    """How slowly to replay recorded latency: 1 as recorded, 0 at once."""


def looks_secret(name: str) -> bool:
    """Whether a parameter's name says that its value is a secret."""
    return _SECRET.search(name) is not None


def variable_of(value: object) -> str | None:
    """The environment variable in litellm's `os.environ/NAME`, None for any other value."""
    match = _ENV.match(value) if isinstance(value, str) else None
    return match.group(1) if match else None


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
