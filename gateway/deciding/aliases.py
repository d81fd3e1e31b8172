"""Further names that clients may ask for: which of them a request means, and what that one stands for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from pointsman.experts.pool import ExpertPool
from pointsman.experts.spec import MODEL_CAPABILITIES, Capability
from pointsman.gateway.settings import Settings
from pointsman.gateway.settings.aliases import ANY, by_length, fits, resolve_aliases, star_of
from pointsman.gateway.wire.request import AUTO, Inbound
from pointsman.routers.types import Budget, Decision, RouteRequest

#: What a client may put in place of the `*` in an expert's model: an id, no address.
_MODEL: Final = re.compile(r"[\w.:@+-]+(?:/[\w.:@+-]+)*")


@dataclass(frozen=True, slots=True)
class Alias:
    """What a further name stands for.

    Attributes:
        name: As it is configured, with a `*` for any text.
        model: Who is asked in its place: an expert, or `auto` where the router chooses.
        experts: Those that the router chooses among; None for all.
        fallbacks: Who is asked after them, in this order.
        budget: Of callers who state none; None for the gateway's.
        within: What stands for the `*` in the model of an expert that has one; a `*` in it is that of the name.
    """

    name: str
    model: str
    experts: frozenset[str] | None = None
    fallbacks: tuple[str, ...] = ()
    budget: Budget | None = None
    within: str = ANY

    def narrowed(self, allowed: frozenset[str] | None) -> frozenset[str] | None:
        """The experts among those that a caller allows; None for all."""
        if self.model != AUTO or self.experts is None:
            return allowed
        return self.experts if allowed is None else self.experts & allowed

    def star(self, asked: str) -> str:
        """What the name that was asked for has in place of the `*`."""
        return self.within.replace(ANY, star_of(self.name, asked))


@dataclass(frozen=True, slots=True)
class AliasedRequest:
    """What an alias means for one request.

    Attributes:
        required: What the request needs of the alias's own experts.
        fallbacks: Who of its fallbacks may be asked.
    """

    required: frozenset[Capability]
    fallbacks: tuple[str, ...]


class AliasTable:
    """All aliases of a gateway. An exact name goes before one with a `*`, and of these the one that says the most.

    Args:
        aliases: Each with what it stands for.
        named_only: Experts whose model is part of what they are asked for, so that the router cannot choose them.
    """

    def __init__(self, aliases: Iterable[Alias] = (), named_only: frozenset[str] = frozenset()) -> None:
        known = {alias.name: alias for alias in aliases}
        self._exact: Mapping[str, Alias] = MappingProxyType({name: a for name, a in known.items() if ANY not in name})
        self._wild = tuple(known[name] for name in by_length(known))
        self.named_only = named_only

    @property
    def listed(self) -> tuple[Alias, ...]:
        """Those that have one name, in the order of the settings."""
        return tuple(self._exact.values())

    def find(self, name: str, pool: ExpertPool) -> Alias | None:
        """The alias that is asked for; None for `auto`, for experts, and for what nobody knows."""
        found = self._exact.get(name)
        if found is None and self._wild and name != AUTO and name not in pool:
            found = next((alias for alias in self._wild if fits(alias.name, name)), None)
        if found is None or found.experts is None or self.named_only.isdisjoint(found.experts):
            return found
        return found if _MODEL.fullmatch(found.star(name)) else None

    def applied(self, inbound: Inbound, pool: ExpertPool) -> Alias | None:
        """The alias that a request asks for; the request asks for what it stands for from now on."""
        alias = self.find(inbound.model, pool)
        if alias is not None:
            inbound.star = alias.star(inbound.model)
            inbound.model = alias.model
        return alias

    def meant(
        self,
        alias: Alias,
        inbound: Inbound,
        pool: ExpertPool,
        allowed: frozenset[str] | None,
        permitted: frozenset[str] | None,
    ) -> AliasedRequest:
        """What an alias means for a request.

        Who asks for experts by name gets their answer, whatever they state: what none of them states is held against
        none.

        Args:
            alias: That it asks for.
            inbound: The request.
            pool: The experts.
            allowed: Those that the caller allows; None for all.
            permitted: Those that its key may ask; None for all.
        """
        required = inbound.required
        if alias.experts is not None and not any(required <= pool[name].spec.capabilities for name in alias.experts):
            required -= MODEL_CAPABILITIES
        fallbacks = tuple(
            name
            for name in alias.fallbacks
            if (allowed is None or name in allowed) and (permitted is None or name in permitted)
        )
        return AliasedRequest(required, fallbacks)

    def chosen_among(self, allowed: frozenset[str] | None, pool: ExpertPool, inbound: Inbound) -> frozenset[str] | None:
        """The experts that the router may choose among those that are allowed; None for all."""
        if not self.named_only or (allowed is not None and inbound.star):
            return allowed
        return (frozenset(spec.name for spec in pool.specs) if allowed is None else allowed) - self.named_only


def alias_table(settings: Settings) -> AliasTable:
    """The aliases of the settings, which were checked."""
    experts = settings.pool.experts
    resolved, _ = resolve_aliases(settings.aliases, [*(expert.name for expert in experts), *settings.null_kinds])
    aliases = []
    for name, alias in resolved.items():
        one = alias.experts[0] if alias.experts is not None and len(alias.experts) == 1 else None
        aliases.append(
            Alias(
                name,
                AUTO if one is None else one,
                None if alias.experts is None else frozenset(alias.experts),
                alias.fallbacks,
                None if alias.budgets is None else settings.budgets.overridden(alias.budgets).budget(),
                alias.star,
            )
        )
    return AliasTable(aliases, frozenset(expert.name for expert in experts if ANY in expert.model))


def with_fallbacks(
    decision: Decision, names: Iterable[str], request: RouteRequest, select: Callable[[RouteRequest], Decision]
) -> Decision:
    """A decision with those behind it who are asked when none of its experts answers.

    Args:
        decision: Among the alias's own experts.
        names: Of the others, in their order.
        request: What is asked of these.
        select: Decides.
    """
    for name in names:
        further = select(replace(request, allowed=frozenset({name})))
        if further.expert is None:
            continue
        if decision.expert is None:
            decision = further
        elif name not in decision.fallbacks:
            decision = replace(decision, fallbacks=(*decision.fallbacks, name))
    return decision
