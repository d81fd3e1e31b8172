"""Settings of callers: keys, tenants, roles, and limits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path as FilePath
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from pointsman.gateway.settings.base import EnvName, Name, Node, Positive, TableName, read_secret
from pointsman.gateway.settings.problems import TreeProblems

RoleName = Literal["client", "operator", "metrics"]
KeyHash = Annotated[str, Field(pattern=r"^pmh1:[0-9a-f]{64}$")]


class LimitSettings(Node):
    """How much may be asked for. Minutes, hours, days and months are those of the clock in UTC."""

    requests_per_minute: Positive | None = None
    """Requests that reach an expert."""
    tokens_per_minute: Positive | None = None
    """Tokens of prompts and answers."""
    usd_per_hour: Positive | None = None
    """US dollars by the experts' prices."""
    usd_per_day: Positive | None = None
    """The same for a day."""
    usd_per_month: Positive | None = None
    """The same for a calendar month."""
    joules_per_hour: Positive | None = None
    """Joules by the experts' energy models, estimated."""
    joules_per_day: Positive | None = None
    """The same for a day."""
    joules_per_month: Positive | None = None
    """The same for a calendar month."""


class TenantSettings(Node):
    """One tenant."""

    limits: LimitSettings = LimitSettings()
    """For all keys of the tenant together."""
    provider_ids: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = ()
    """Ids of what lies with providers (files, vector stores, conversations, containers) that its requests may name
    beside those that its own answers brought; `"*"` for any, where nothing of another tenant lies there."""


class KeySettings(Node):
    """One caller's key: by reference, or as hashes that `pointsman keys new` makes."""

    name: Name
    """Who this is, for logs and metrics."""
    key_env: EnvName | None = None
    """Environment variable that holds the key."""
    key_file: FilePath | None = None
    """File that holds the key, relative to the settings file."""
    hashes: tuple[KeyHash, ...] = ()
    """Hashes of the key; several while an old key is being replaced by a new one. They need `auth.pepper_env` or
    `auth.pepper_file`."""
    tenant: Name | None = None
    """Tenant the caller belongs to; the key's name when left out. Tenants never share sessions."""
    role: RoleName = "client"
    """`client`: the OpenAI endpoints and its own tenant's decisions; `operator`: also every tenant's decisions, the
    metrics and the admin listener; `metrics`: GET /metrics and nothing else."""
    experts: tuple[TableName, ...] | None = None
    """Experts that may be asked; `auto` chooses among them. All when left out."""
    expires: AwareDatetime | None = None
    """From when on the key is not accepted any more, such as `2027-01-31T00:00:00Z`."""
    disabled: bool = False
    """Not accepted for now."""
    limits: LimitSettings = LimitSettings()
    """For this key."""

    @model_validator(mode="after")
    def _is_known_by_something(self) -> Self:
        references = (self.key_env is not None) + (self.key_file is not None)
        if references > 1 or (references == 0 and not self.hashes):
            raise ValueError("state exactly one of key_env and key_file, or hashes")
        if self.experts is not None and not self.experts:
            raise TreeProblems([(("experts",), "names no expert; leave it out to allow all")])
        return self

    def key(self, env: Mapping[str, str]) -> str | None:
        """The key itself; None where only its hashes are known.

        Args:
            env: The environment.

        Raises:
            SettingsError: The variable or the file is missing or empty.
        """
        return read_secret(f"auth: key '{self.name}'", self.key_env, self.key_file, env, setting="key")

    @property
    def expires_s(self) -> float | None:
        """`expires` in seconds since 1970."""
        return None if self.expires is None else datetime.timestamp(self.expires)


class AuthSettings(Node):
    """Who may call. Without keys everybody may who can connect."""

    keys: tuple[KeySettings, ...] = ()
    """Keys that are accepted as `Authorization: Bearer …` or `x-api-key: …`. None: no key is asked for."""
    pepper_env: EnvName | None = None
    """Environment variable that holds the secret with which keys are hashed."""
    pepper_file: FilePath | None = None
    """File that holds it, relative to the settings file."""
    tenants: dict[Name, TenantSettings] = Field(default_factory=dict)
    """Tenants with limits of their own, by name."""
    allow_anonymous: bool = False
    """Listen on other than loopback although there are no keys, because something in front checks callers."""

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        problems: list[tuple[tuple[str | int, ...], str]] = []
        names = [key.name for key in self.keys]
        hashes = [one for key in self.keys for one in key.hashes]
        problems += [
            (("keys", index, "name"), "another key has this name already")
            for index, name in enumerate(names)
            if name in names[:index]
        ]
        if len(set(hashes)) < len(hashes):
            problems.append((("keys",), "the same hash is stated twice"))
        if self.pepper_env is not None and self.pepper_file is not None:
            problems.append((("pepper_file",), "state one of pepper_env and pepper_file"))
        if hashes and self.pepper_env is None and self.pepper_file is None:
            problems.append((("keys",), "hashes need pepper_env or pepper_file"))
        tenants = {key.tenant or key.name for key in self.keys}
        problems += [
            (("tenants", tenant), "no key belongs to this tenant") for tenant in self.tenants if tenant not in tenants
        ]
        if problems:
            raise TreeProblems(problems)
        return self

    def pepper(self, env: Mapping[str, str]) -> str | None:
        """The secret with which keys are hashed; None where none is referred to.

        Raises:
            SettingsError: The variable or the file is missing or empty.
        """
        return read_secret("auth", self.pepper_env, self.pepper_file, env, setting="pepper")


class AdminSettings(Node):
    """A listener of its own for operators; none unless a port is set."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int | None = Field(default=None, ge=0, le=65535)
    """Port to listen on, of every worker; 0 picks a free one for each. Callers need a key with the role `operator`."""
