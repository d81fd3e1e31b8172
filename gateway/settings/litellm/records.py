"""What became of the entries of a file in litellm's shape, and the names under which its secrets are kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pointsman.experts.env_references import variable_of
from pointsman.gateway.settings.yaml_source import Path

_SHELL_REFERENCE: Final = re.compile(r"^\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))$")
_NO_NAME: Final = re.compile(r"[^A-Z0-9]+")

#: Values that people write where a server asks for no key.
_NO_KEY_WORDS: Final = (
    "none null empty dummy fake no-key not-needed no_key no-key-required sk-no-key-required na n/a any anything"
)
_NO_KEY: Final = frozenset(_NO_KEY_WORDS.split()) | {""}


@dataclass(frozen=True, slots=True)
class MigrationRecord:
    """What became of one entry.

    Attributes:
        path: Of the entry in the file.
        sentence: What became of it. Never holds a secret.
        lost: Whether it has no counterpart, so that what it asked for does not happen.
    """

    path: Path
    sentence: str
    lost: bool = False


def reference_of(value: object) -> str | None:
    """The environment variable that a value refers to: `os.environ/NAME`, `${NAME}` or `$NAME`; None for any other."""
    found = variable_of(value.strip()) if isinstance(value, str) else None
    if found is None and isinstance(value, str) and (match := _SHELL_REFERENCE.match(value.strip())):
        found = match.group(1) or match.group(2)
    return found


def is_no_key(value: object) -> bool:
    """Whether what stands for a key says that there is none."""
    return value is None or (isinstance(value, str) and value.strip().lower() in _NO_KEY)


@dataclass(slots=True)
class Migration:
    """One file on its way: what was found out so far.

    Attributes:
        env: The environment.
        keeps_secrets: Whether secrets may stand in the file. They are kept under names of variables then.
        records: What became of the entries.
        problems: What cannot be read, as (path, sentence).
        variables: Names of variables -> what the file says that they hold.
        origins: Position in `pool.experts` -> where in the file a field of that expert comes from.
        redis: Where in the file its Redis stands; empty where it does not.
    """

    env: Mapping[str, str]
    keeps_secrets: bool = False
    records: list[MigrationRecord] = field(default_factory=list)
    problems: list[tuple[Path, str]] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    origins: dict[int, Callable[[Path], Path]] = field(default_factory=dict)
    redis: Path = ()

    def origin(self, path: Path) -> Path:
        """Where in the file a setting comes from."""
        match path:
            case ("pool", "experts", int(index), *below) if index in self.origins:
                return self.origins[index](tuple(below))
            case ("redis", *_) if self.redis:
                return self.redis
        return path

    def became(self, path: Path, sentence: str) -> None:
        """An entry has a counterpart."""
        self.records.append(MigrationRecord(path, sentence))

    def lost(self, path: Path, sentence: str) -> None:
        """An entry has none."""
        self.records.append(MigrationRecord(path, sentence, lost=True))

    def variable(self, path: Path, value: Any, *words: str) -> str | None:
        """The environment variable that holds a secret; None where the file may not hold it, which is a problem then.

        Args:
            path: Where it stands.
            value: A reference, or the secret itself.
            words: What the variable is to be called, if the file holds the secret.
        """
        name = reference_of(value)
        if name is not None:
            return name
        if not self.keeps_secrets or not isinstance(value, str | int | float):
            self.problems.append((path, "secrets never stand in the file; write os.environ/NAME"))
            return None
        name = self._kept(_NO_NAME.sub("_", "_".join(words).upper()).strip("_") or "KEY", str(value))
        self.lost(path, f"is a secret in the file: put it into the environment as {name}, and write os.environ/{name}")
        return name

    def _kept(self, name: str, value: str) -> str:
        """A name of a variable that holds the value, or nothing yet."""
        name = name if not name[0].isdigit() else f"_{name}"
        numbered = (name if count == 1 else f"{name}_{count}" for count in range(1, 10_000))
        free = next(one for one in numbered if self.variables.get(one, self.env.get(one, value)) == value)
        self.variables[free] = value
        return free
