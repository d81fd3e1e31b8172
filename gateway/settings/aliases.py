"""Settings of aliases: further names that clients may ask for, and what each stands for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from pointsman.gateway.settings.base import Node, TableName
from pointsman.gateway.settings.budgets import BudgetSettings
from pointsman.gateway.settings.yaml_source import Path

#: What stands for the router where an expert may be named.
AUTO: Final = "auto"
#: In the name of an alias, any text.
ANY: Final = "*"
_LISTS: Final = ("experts", "fallbacks")


class AliasSettings(Node):
    """What an alias stands for. One name, or a list of names, may stand in place of the mapping."""

    experts: tuple[TableName, ...] = Field(min_length=1)
    """The expert, or several that are asked for as one: the router chooses among them. `auto` alone stands for the
    whole pool. Another alias stands for its own experts."""
    fallbacks: tuple[TableName, ...] = ()
    """Experts to ask, in this order, when none of those answers."""
    budgets: BudgetSettings | None = None
    """Budgets of callers who state none, in place of those of the whole gateway."""

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"experts": (value,)}
        if isinstance(value, list | tuple):
            return {"experts": tuple(value)}
        if not isinstance(value, dict):
            return value
        # Once a validator was here, strict means that a list is no tuple.
        lists = {name: tuple(one) for name, one in value.items() if name in _LISTS and isinstance(one, list)}
        names = {name: (one,) for name, one in value.items() if name in _LISTS and isinstance(one, str)}
        return {**value, **lists, **names}


def _in_three_ways(field: dict[str, Any]) -> None:
    """Say in the schema how an alias may be written; pydantic knows the mapping alone."""
    one: Any = {"type": "string"}
    several = {"type": "array", "items": one, "minItems": 1}
    ways = {name: {"anyOf": [one, several, full]} for name, full in field["patternProperties"].items()}
    field.update(patternProperties=ways)


Aliases = Annotated[dict[TableName, AliasSettings], Field(json_schema_extra=_in_three_ways)]


@dataclass(frozen=True, slots=True)
class ResolvedAlias:
    """What an alias stands for, once every alias that it leads to is followed.

    Attributes:
        experts: Those that the router chooses among; None for all.
        fallbacks: Who is asked after them, in this order.
        budgets: Of callers who state none; None for the gateway's.
        star: What stands for the `*` of the alias that it leads to; a `*` in it is its own.
    """

    experts: tuple[str, ...] | None
    fallbacks: tuple[str, ...] = ()
    budgets: BudgetSettings | None = None
    star: str = ANY


def star_of(pattern: str, name: str) -> str:
    """What a name that an alias fits has in place of its first `*`; empty where the alias has none."""
    before, star, after = pattern.partition(ANY)
    return name[len(before) : len(name) - len(after)] if star else ""


def fits(pattern: str, name: str) -> bool:
    """Whether a name is the alias's, in which `*` stands for any text. Takes time linear in both, whatever they are."""
    first, *rest = pattern.split(ANY)
    if not rest:
        return name == pattern
    *middle, last = rest
    if not name.startswith(first) or not name.endswith(last) or len(name) < len(first) + len(last):
        return False
    at, end = len(first), len(name) - len(last)
    for piece in middle:
        found = name.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def by_length(patterns: Collection[str]) -> tuple[str, ...]:
    """Aliases with a `*`, in the order in which they are looked at: the one that says most of the name first."""
    return tuple(sorted((one for one in patterns if ANY in one), key=lambda one: (-len(one.replace(ANY, "")), one)))


def resolve_aliases(
    aliases: Mapping[str, AliasSettings], experts: Collection[str]
) -> tuple[dict[str, ResolvedAlias], list[tuple[Path, str]]]:
    """Follow every alias to experts.

    Args:
        aliases: By name.
        experts: Names of those in the pool.

    Returns:
        What each stands for, and problems with paths relative to the aliases.
    """
    resolver = _Resolver(aliases, experts)
    found: dict[str, ResolvedAlias] = {}
    for name in aliases:
        problems = len(resolver.problems)
        resolved = resolver.follow(name, ())
        if len(resolver.problems) == problems:
            found[name] = resolved
    return found, list(dict.fromkeys(resolver.problems))


class _Resolver:
    """Follows aliases, and remembers what is wrong with them."""

    def __init__(self, aliases: Mapping[str, AliasSettings], experts: Collection[str]) -> None:
        self._aliases = aliases
        self._experts = frozenset(experts)
        self._wild = by_length(aliases)
        self._found: dict[str, ResolvedAlias] = {}
        self.problems: list[tuple[Path, str]] = []

    def follow(self, name: str, above: tuple[str, ...]) -> ResolvedAlias:
        """What one alias stands for, asked for by those above it. Each is followed once."""
        if name not in self._found:
            before = len(self.problems)
            found = self._followed(name, above)
            if len(self.problems) > before:
                return found
            self._found[name] = found
        return self._found[name]

    def _followed(self, name: str, above: tuple[str, ...]) -> ResolvedAlias:
        alias = self._aliases[name]
        if name == AUTO:
            self.problems.append(((name,), "'auto' is reserved for the router"))
        if name in self._experts and name not in alias.experts:
            self.problems.append(
                ((name,), "is the name of an expert, too; such an alias must list that expert among its own")
            )
        above = (*above, name)
        reached: dict[str, None] = {}
        after: dict[str, None] = dict.fromkeys(
            one for index, each in enumerate(alias.fallbacks) for one in self._fallback(name, index, each)
        )
        budgets, everybody, star = alias.budgets, False, ANY
        for index, target in enumerate(alias.experts):
            if target == AUTO:
                everybody = True
                continue
            resolved = self._target((name, "experts", index), target, above)
            everybody |= resolved.experts is None
            reached |= dict.fromkeys(resolved.experts or ())
            after = {**dict.fromkeys(resolved.fallbacks), **after}
            if len(alias.experts) == 1:
                budgets, star = budgets or resolved.budgets, resolved.star
        if everybody and len(alias.experts) > 1:
            self.problems.append(((name, "experts"), "'auto' stands for all experts; it cannot stand beside others"))
        experts = None if everybody else tuple(reached)
        return ResolvedAlias(experts, tuple(one for one in after if experts and one not in experts), budgets, star)

    def _fallback(self, name: str, index: int, target: str) -> tuple[str, ...]:
        """The experts of a fallback. Of its own fallbacks nobody is asked, so two aliases may be each other's."""
        path: Path = (name, "fallbacks", index)
        if target == AUTO:
            self.problems.append((path, "must be an expert; 'auto' has fallbacks of its own"))
            return ()
        left, seen, found = [target], set[str](), dict[str, None]()
        while left:
            one = left.pop(0)
            alias = None if one in self._experts else self._named(one)
            if one in self._experts:
                found[one] = None
            elif alias is None:
                self.problems.append((path, f"'{one}' is neither an expert nor an alias"))
            elif AUTO in self._aliases[alias].experts:
                self.problems.append((path, f"'{one}' stands for 'auto', which has fallbacks of its own"))
            elif alias not in seen:
                seen.add(alias)
                left += self._aliases[alias].experts
        return tuple(found)

    def _named(self, target: str) -> str | None:
        """The alias that a name asks for; None for what nobody knows."""
        if target in self._aliases:
            return target
        return next((one for one in self._wild if fits(one, target)), None)

    def _target(self, path: Path, target: str, above: tuple[str, ...]) -> ResolvedAlias:
        # An alias with the name of an expert has that expert among its own.
        if target in self._experts:
            return ResolvedAlias((target,))
        name = self._named(target)
        if name is None:
            self.problems.append((path, f"'{target}' is neither an expert nor an alias"))
        elif name in above:
            self.problems.append((path, f"'{target}' leads back to the alias '{name}'"))
        else:
            found = self.follow(name, above)
            return found if name == target else replace(found, star=found.star.replace(ANY, star_of(name, target)))
        return ResolvedAlias(())
