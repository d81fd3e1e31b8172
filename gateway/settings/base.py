"""What every settings model shares: frozen, closed, and secrets only by reference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$", max_length=200)]
#: A model's name, as tables, artefacts and people have it: any text of one line ("Claude 3.5 Sonnet").
TableName = Annotated[
    str, Field(pattern=r"^[^\x00-\x1f\x7f\s](?:[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f\s])?$", max_length=200)
]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class SettingsError(Exception):
    """The settings cannot be used.

    Args:
        problems: One sentence per problem, each beginning with the path of the key at fault.
        source: The file they were read from, for the headline.
    """

    def __init__(self, problems: list[str], source: str | None = None) -> None:
        where = f"{source}: " if source else ""
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{where}{count}\n" + "\n".join(f"  {problem}" for problem in problems))
        self.problems = problems
        self.source = source


class Node(BaseModel):
    """A branch of the settings tree: frozen, and closed against unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())


def read_secret(
    what: str, env_name: str | None, file: Path | None, env: Mapping[str, str], *, setting: str | None = None
) -> str | None:
    """A secret the settings refer to.

    Args:
        what: The path of the setting, for the error.
        env_name: Environment variable that holds it.
        file: File that holds it; surrounding white space is dropped.
        env: The environment.
        setting: Beginning of the settings' names (`key` for `key_env` and `key_file`), where an error names these in
            place of their values: whoever mistook them may have written the secret itself there.

    Returns:
        The secret, None when the settings refer to none.

    Raises:
        SettingsError: The reference leads nowhere.
    """
    if env_name is not None:
        value = env.get(env_name, "").strip()
        if not value:
            named = env_name if setting is None else f"that {setting}_env names"
            raise SettingsError([f"{what}: the environment variable {named} is not set"])
        return value
    if file is not None:
        named = str(file) if setting is None else f"the file that {setting}_file names"
        try:
            value = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = "it is no text" if isinstance(error, UnicodeDecodeError) else error.strerror
            raise SettingsError([f"{what}: cannot read {named}: {why}"]) from error
        if not value:
            raise SettingsError([f"{what}: {named} is empty"])
        return value
    return None
