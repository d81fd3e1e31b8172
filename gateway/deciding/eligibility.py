"""The experts that a request may go to, by names, keys, APIs and earlier answers."""

from __future__ import annotations

from pointsman.experts.pool import ExpertPool
from pointsman.experts.spec import Capability
from pointsman.gateway.access.caller import ANYBODY, EVERY_ID
from pointsman.gateway.deciding.aliases import Alias, AliasTable
from pointsman.gateway.deciding.question import Question
from pointsman.gateway.errors import Code, RequestRefused, invalid_budget
from pointsman.gateway.shared.made_ids import MadeIds
from pointsman.gateway.shared.two_level_cache import key_of
from pointsman.gateway.wire.bindings import THREAD_ID, Binding
from pointsman.gateway.wire.request import AUTO, Inbound
from pointsman.gateway.wire.stateful_fields import THREAD
from pointsman.gateway.wire.translation import TranslatedRequest
from pointsman.gateway.wire.turns import lost


def known(
    pool: ExpertPool, name: str, permitted: frozenset[str] | None, aliases: AliasTable, star: str | None = None
) -> None:
    """See that a named expert is here.

    Args:
        pool: The experts.
        name: What is asked for.
        permitted: Those that the caller's key may ask, and be told of; None for all.
        aliases: Other names that could be asked for.
        star: What the alias by which it is asked for leaves open.

    Raises:
        RequestRefused: It is not.
    """
    if name not in pool or (name in aliases.named_only and not star):
        names = ", ".join(names_of(pool, permitted, aliases))
        raise RequestRefused(
            Code.MODEL_NOT_FOUND, f"model: '{name}' is not here; ask for 'auto' or one of: {names}", param="model"
        )


def names_of(pool: ExpertPool, permitted: frozenset[str] | None, aliases: AliasTable) -> list[str]:
    """All that a key may ask for beside `auto`, each once: experts, then aliases."""
    experts = [spec.name for spec in pool.specs if spec.name not in aliases.named_only]
    named = {name: None for name in experts if permitted is None or name in permitted}
    named |= {alias.name: None for alias in aliases.listed if may_ask(alias, permitted)}
    return list(named)


def may_ask(alias: Alias, permitted: frozenset[str] | None) -> bool:
    """Whether a key may ask for an alias: for one of its experts at least."""
    return permitted is None or alias.experts is None or bool(alias.experts & permitted)


def in_pool(pool: ExpertPool, experts: frozenset[str] | None) -> frozenset[str] | None:
    """The experts that a caller allows, all of which are here; None for all.

    Raises:
        RequestRefused: One of them is not.
    """
    for name in sorted(experts or ()):
        if name not in pool:
            raise invalid_budget("routing.experts", f"'{name}' is not in the pool")
    return experts


def permitted(experts: frozenset[str], asked: frozenset[str] | None, name: str | None = None) -> frozenset[str]:
    """Which of the experts that a caller names, or of all, its key may ask.

    Args:
        experts: Those that the key may ask.
        asked: Those that are named; None for all.
        name: The alias by which they are: what it stands for is not told to those who may not ask them.

    Raises:
        RequestRefused: None of them.
    """
    both = experts if asked is None else experts & asked
    if not both:
        names = name or ("an expert" if asked is None else ", ".join(sorted(asked)))
        raise RequestRefused(Code.MODEL_NOT_ALLOWED, f"This key may not ask {names}.", param="model")
    return both


def held_by_expert(inbound: Inbound) -> None:
    """Have a thread held by an expert that can, where the gateway holds none."""
    translated = inbound.translated
    if translated is not None and translated.native_only is None and translated.payload.get(THREAD) is not None:
        translated.native_only = THREAD
        inbound.required |= {translated.endpoint.capability}


def spoken(pool: ExpertPool, model: str, translated: TranslatedRequest) -> None:
    """See that somebody can answer a request that no chat can express.

    Raises:
        RequestRefused: Nobody can; the error names what would be lost.
    """
    specs = pool.specs if model == AUTO else [pool[model].spec] if model in pool else []
    if not any(translated.spoken_by(spec) for spec in specs):
        binding = translated.binding
        first = translated.native_only
        if binding is not None and binding.named is not None and binding.param in (first, f"{first}.id"):
            raise lost(binding.param, binding.named)
        raise RequestRefused(
            Code.THREAD_UNSUPPORTED if translated.native_only == THREAD else Code.INVALID_VALUE,
            f"{translated.native_only}: only an expert that speaks this API itself can do this, and none here does.",
            param=translated.native_only,
        )


def counts_tokens(pool: ExpertPool, name: str, permitted: frozenset[str] | None, aliases: AliasTable) -> bool:
    """Whether a model of that name counts tokens itself; `auto` is nobody yet.

    Raises:
        RequestRefused: It is not here.
    """
    alias = aliases.find(name, pool)
    model = name if alias is None else alias.model
    if model == AUTO:
        return False
    known(pool, model, permitted, aliases, None if alias is None else alias.star(name))
    spec = pool[model].spec
    return Capability.COUNT_TOKENS in spec.capabilities and not spec.null


async def holders(made: MadeIds, pool: ExpertPool, question: Question) -> frozenset[str] | None:
    """Who may be asked, by what the request names of earlier answers; None for all.

    Raises:
        RequestRefused: It names what is another's, or what no expert that may be asked can have.
    """
    makers = await owned(made, question)
    translated = question.inbound.translated
    if translated is not None and translated.binding is not None:
        return await bound(made, pool, question, translated.binding)
    if question.inbound.model != AUTO or len(makers) != 1 or not all(maker in pool for maker in makers):
        return question.allowed
    return makers if question.allowed is None else question.allowed & makers


async def owned(made: MadeIds, question: Question) -> frozenset[str]:
    """See that the ids a request names are its tenant's, and which experts have what they stand for.

    What stands beside its id in full may pass with another one, which names nothing: a provider may forget an id, and
    so may the gateway, while the conversation goes on.

    Raises:
        RequestRefused: No answer for this tenant brought one, as far as is known here. Whether there is one at all is
            not told.
    """
    tenant, granted = question.tenant, question.caller.provider_ids
    makers: set[str] = set()
    for named in question.named:
        one, stands_alone = named.value, named.rename is None
        free = question.caller is ANYBODY or (one != "" and (EVERY_ID in granted or one in granted))
        maker = await made.maker(tenant, one, patient=stands_alone and not free) if one else None
        if maker is not None and stands_alone:
            makers.add(maker)
        if maker is not None or free:
            continue
        translated = question.inbound.translated
        if named.param == THREAD_ID:
            raise lost(named.param, one)
        if named.rename is None or translated is None:
            raise RequestRefused(Code.ID_NOT_FOUND, f"{named.param}: '{one[:80]}' is not found.", param=named.param)
        prefix = one.partition("_")[0][:16] or "item"
        named.rename(f"{prefix}_{key_of(tenant.encode(), one.encode('utf-8', 'surrogatepass'))}")
        translated.rewritten = True
    return frozenset(makers)


async def bound(made: MadeIds, pool: ExpertPool, question: Question, binding: Binding) -> frozenset[str] | None:
    """Who may be asked what rests upon an earlier answer: the expert alone that gave it.

    Where nobody here knows who that was, only one expert can be it that speaks the client's API.

    Raises:
        RequestRefused: That expert is not known, or is not the one that is asked for.
    """
    found = [await made.maker(question.tenant, one) for one in binding.ids]
    makers = {maker for maker in found if maker is not None and maker in pool}
    model, translated = question.inbound.model, question.inbound.translated
    if model != AUTO:
        # The caller says who; only that expert itself can know better than what is known here.
        if makers <= {model}:
            return question.allowed
    else:
        if not makers and translated is not None:
            makers = {spec.name for spec in pool.specs if translated.spoken_by(spec)}
        if len(makers) == 1:
            return frozenset(makers) if question.allowed is None else question.allowed & makers
    if binding.named is not None and len(makers) < 2:
        raise lost(binding.param, binding.named)
    raise RequestRefused(
        Code.INVALID_VALUE,
        f"{binding.param}: only the expert that made it can go on from it, and that is not known here to be "
        "one expert that may be asked. Name it as 'model'.",
        param=binding.param,
    )
