"""Settings of the pool: which experts there are."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from pointsman.gateway.settings.base import Node, NonNegative
from pointsman.gateway.settings.expert import ExpertSettings
from pointsman.gateway.settings.model_list import ModelListEntry
from pointsman.gateway.settings.problems import TreeProblems
from pointsman.gateway.settings.yaml_source import Path, shown_path


class PoolSettings(Node):
    """The experts one may call."""

    experts: tuple[ExpertSettings, ...] = ()
    """The experts, in the order they are listed to clients."""
    model_list: tuple[ModelListEntry, ...] = ()
    """Further experts in litellm's shape. They are converted, and stand behind `experts` once the file is read."""
    awake: tuple[str, ...] | None = None
    """Names of the experts that `auto` may choose, as `pointsman plan` chooses them; all when not set. The others can
    still be named."""
    share_load: bool = True
    """With Redis, count the calls of all replicas and workers against `max_concurrency` and in predicted latency; else
    each process goes by its own."""
    probe_interval_s: NonNegative = 15.0
    """Seconds between two health probes of an expert; 0 for none (health is then known from calls alone)."""

    @model_validator(mode="after")
    def _converted(self) -> Self:
        problems: list[tuple[Path, str]] = []
        named: list[tuple[Path, ExpertSettings]] = [(("experts", i), expert) for i, expert in enumerate(self.experts)]
        named += [(("model_list", i), entry.expert()) for i, entry in enumerate(self.model_list)]
        first: dict[str, Path] = {}
        for path, expert in named:
            if expert.name in first:
                key = "name" if path[0] == "experts" else "model_name"
                problems.append(
                    ((*path, key), f"'{expert.name}' is already the name of {shown_path(first[expert.name])}")
                )
            first.setdefault(expert.name, path)
        for i, name in enumerate(self.awake or ()):
            if name not in first:
                problems.append((("awake", i), f"no expert is called '{name}'"))
        if problems:
            raise TreeProblems(problems)
        if self.model_list:
            # A frozen model is completed once, before anybody else sees it.
            object.__setattr__(self, "experts", tuple(expert for _, expert in named))
            object.__setattr__(self, "model_list", ())
        return self
