"""Settings of the pool: which experts there are."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from pointsman.gateway.settings.base import Node, NonNegative
from pointsman.gateway.settings.expert import ExpertSettings
from pointsman.gateway.settings.model_list import ModelListEntry
from pointsman.gateway.settings.problems import TreeProblems
from pointsman.gateway.settings.yaml_source import Path


class PoolSettings(Node):
    """The experts one may call."""

    experts: tuple[ExpertSettings, ...] = ()
    """The experts, in the order they are listed to clients."""
    model_list: tuple[ModelListEntry, ...] = ()
    """Further experts in litellm's shape. They become experts, behind the others, when the file is read; several
    entries of one `model_name` are experts that take turns."""
    awake: tuple[str, ...] | None = None
    """Names of the experts that `auto` may choose, as `pointsman plan` chooses them; all when not set. The others can
    still be named."""
    share_load: bool = True
    """With Redis, count the calls of all replicas and workers against `max_concurrency` and in predicted latency; else
    each process goes by its own."""
    probe_interval_s: NonNegative = 15.0
    """Seconds between two health probes of an expert; 0 for none (health is then known from calls alone)."""

    @model_validator(mode="after")
    def _has_names_of_its_own(self) -> Self:
        first: dict[str, int] = {}
        problems: list[tuple[Path, str]] = []
        for index, expert in enumerate(self.experts):
            at = first.setdefault(expert.name, index)
            if at != index:
                where = ("experts", index, "name")
                problems.append((where, f"'{expert.name}' is already the name of experts[{at}]"))
        for index, name in enumerate(self.awake or ()):
            if name not in first:
                problems.append((("awake", index), f"no expert is called '{name}'"))
        if problems:
            raise TreeProblems(problems)
        return self
