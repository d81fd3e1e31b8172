"""All entries of a `model_list` -> experts, and the aliases by which several of them are one model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from pointsman.gateway.settings.aliases import ANY, AUTO, by_length, fits, star_of
from pointsman.gateway.settings.litellm.deployment import DeploymentContext, ModelDeployment, deployment
from pointsman.gateway.settings.litellm.records import Migration
from pointsman.gateway.settings.problems import shown
from pointsman.gateway.settings.yaml_source import Path

#: What stands for a `*` in the name of an expert.
_ANY_NAME: Final = "any"


def with_model_list(data: dict[str, Any], migration: Migration) -> dict[str, Any]:
    """Raw settings whose `pool.model_list` has become experts and aliases."""
    pool = data.get("pool")
    if not isinstance(pool, dict) or pool.get("model_list") is None:
        return data
    experts = pool.get("experts") or []
    groups = ModelGroups(experts if isinstance(experts, list | tuple) else ())
    groups.add(pool["model_list"], ("pool", "model_list"), migration, DeploymentContext({}, {}))
    rest = {name: value for name, value in pool.items() if name != "model_list"}
    if isinstance(experts, list | tuple):
        rest["experts"] = [*experts, *groups.experts]
    found: dict[str, Any] = {name: {"experts": names} for name, names in groups.aliases.items()}
    for name, later in groups.fallbacks.items():
        found.setdefault(name, {"experts": [name]})["fallbacks"] = later
    stated = data.get("aliases")
    aliases = {**found, **stated} if isinstance(stated, dict) else stated or found
    return {**data, "pool": rest, **({"aliases": aliases} if aliases else {})}


class ModelGroups:
    """The experts of a `model_list`, and what each `model_name` stands for.

    Args:
        before: Raw settings of other experts, which stand before these.

    Attributes:
        experts: Raw settings of each.
        aliases: `model_name` -> names of its experts, for those that need one; raw.
        fallbacks: `model_name` -> experts to ask after those.
    """

    def __init__(self, before: Sequence[object] = ()) -> None:
        self._before = len(before)
        self.experts: list[dict[str, Any]] = []
        self.aliases: dict[str, list[str]] = {}
        self.fallbacks: dict[str, list[str]] = {}
        named = [one.get("name") for one in before if isinstance(one, dict)]
        self._taken = {one for one in named if isinstance(one, str)}
        self._groups: dict[str, list[str]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """All that clients can ask for."""
        return tuple(self._groups)

    def add(self, model_list: object, at: Path, migration: Migration, defaults: DeploymentContext) -> None:
        """Add all entries of a list."""
        if model_list is None:
            return
        if not isinstance(model_list, list):
            migration.problems.append((at, f"should be a list of models, got {shown(model_list)}"))
            return
        rest = [((*at, index), entry) for index, entry in enumerate(model_list) if not self._is_router(entry)]
        for index, entry in enumerate(model_list):
            if self._is_router(entry):
                name = str(entry["model_name"])
                self._groups[name], self.aliases[name] = [AUTO], [AUTO]
                migration.became((*at, index), f"became the alias '{name}' of auto: the router here decides")
        made = [deployment(entry, path, migration, defaults) for path, entry in rest]
        for name, group in _by_name(one for one in made if one is not None).items():
            self._add_group(name, group, migration)

    @staticmethod
    def _is_router(entry: object) -> bool:
        """Whether an entry stands for a router of litellm's, and not for a model."""
        match entry:
            case {"model_name": str(name), "litellm_params": {"model": str(model)}}:
                return name not in ("", AUTO) and model.startswith("auto_router/")
        return False

    def _add_group(self, name: str, group: list[ModelDeployment], migration: Migration) -> None:
        plain = name.replace(ANY, _ANY_NAME)
        if ANY not in name and name in self._taken:
            migration.problems.append(((*group[0].path, "model_name"), f"'{name}' is already the name of an expert"))
            return
        if name == AUTO:
            migration.problems.append(((*group[0].path, "model_name"), "'auto' is reserved for the router"))
            return
        named: dict[str, ModelDeployment] = {}
        for one in group:
            problems = one.problems(plain)
            migration.problems += problems
            if not problems:
                expert = self._free(plain)
                named[expert] = one
                self._taken.add(expert)
                fields = {"name": expert, **one.fields}
                if expert != plain and ANY not in name:
                    fields.setdefault("known_as", plain)
                migration.origins[self._before + len(self.experts)] = one.origin
                self.experts.append(fields)
                migration.became(one.path, f"became the expert '{expert}'")
        if not named:
            return
        self._groups[name] = list(named)
        first = _first(named)
        if len(named) > 1 or name not in named:
            self.aliases[name] = first
        if len(first) > 1:
            path = (*group[0].path, "model_name")
            migration.became(path, f"became the alias '{name}' of {' and '.join(first)}, which take turns")
        later = [one for one in named if one not in first]
        if later:
            self.fallbacks[name] = later

    def members(self, name: str) -> tuple[str, ...]:
        """The experts of a model; for a name that one with a `*` fits, an expert is made. Empty where there is none."""
        if name in self._groups:
            return tuple(one for one in self._groups[name] if one != AUTO)
        pattern = next(iter(by_length([one for one in self._groups if fits(one, name)])), None)
        if pattern is None or ANY in name:
            return ()
        star = star_of(pattern, name)
        raw = next(one for one in self.experts if one["name"] == self._groups[pattern][0])
        expert = self._free(name)
        self._taken.add(expert)
        self._groups[name] = [expert]
        self.experts.append({**raw, "name": expert, "model": raw["model"].replace(ANY, star)})
        return (expert,)

    def _free(self, name: str) -> str:
        tried = [name, *(f"{name}-{count}" for count in range(2, len(self._taken) + 3))]
        return next(one for one in tried if one not in self._taken)


def _by_name(deployments: Iterable[ModelDeployment]) -> dict[str, list[ModelDeployment]]:
    groups: dict[str, list[ModelDeployment]] = {}
    for one in deployments:
        groups.setdefault(one.name, []).append(one)
    return groups


def _first(named: dict[str, ModelDeployment]) -> list[str]:
    """Those that litellm asks first: of the lowest order where orders are stated, else all."""
    orders = [one.order for one in named.values() if one.order is not None]
    return [name for name, one in named.items() if not orders or one.order == min(orders)]
