"""The experts that a request may go to, by names, keys, APIs and earlier answers."""

from __future__ import annotations

from pointsman.experts.pool import ExpertPool
from pointsman.experts.spec import Capability
from pointsman.gateway.deciding.question import Question
from pointsman.gateway.errors import Code, RequestRefused, invalid_budget
from pointsman.gateway.shared.sessions import Sessions
from pointsman.gateway.wire.request import AUTO
from pointsman.gateway.wire.responses.bindings import Binding
from pointsman.gateway.wire.translation import TranslatedRequest


def known(pool: ExpertPool, name: str) -> None:
    """See that a named expert is here.

    Raises:
        RequestRefused: It is not.
    """
    if name not in pool:
        names = ", ".join(spec.name for spec in pool.specs)
        raise RequestRefused(
            Code.MODEL_NOT_FOUND, f"model: '{name}' is not here; ask for 'auto' or one of: {names}", param="model"
        )


def in_pool(pool: ExpertPool, experts: frozenset[str] | None) -> frozenset[str] | None:
    """The experts that a caller allows, all of which are here; None for all.

    Raises:
        RequestRefused: One of them is not.
    """
    for name in sorted(experts or ()):
        if name not in pool:
            raise invalid_budget("routing.experts", f"'{name}' is not in the pool")
    return experts


def permitted(experts: frozenset[str], asked: frozenset[str] | None) -> frozenset[str]:
    """Which of the experts that a caller names, or of all, its key may ask.

    Raises:
        RequestRefused: None of them.
    """
    both = experts if asked is None else experts & asked
    if not both:
        names = "an expert" if asked is None else ", ".join(sorted(asked))
        raise RequestRefused(Code.MODEL_NOT_ALLOWED, f"This key may not ask {names}.", param="model")
    return both


def spoken(pool: ExpertPool, model: str, translated: TranslatedRequest) -> None:
    """See that somebody can answer a request that no chat can express.

    Raises:
        RequestRefused: Nobody can; the error names what would be lost.
    """
    specs = pool.specs if model == AUTO else [pool[model].spec] if model in pool else []
    if not any(translated.spoken_by(spec) for spec in specs):
        raise RequestRefused(
            Code.INVALID_VALUE,
            f"{translated.native_only}: only an expert that speaks this API itself can do this, and none here does.",
            param=translated.native_only,
        )


def counts_tokens(pool: ExpertPool, name: str) -> bool:
    """Whether a model of that name counts tokens itself; `auto` is nobody yet.

    Raises:
        RequestRefused: It is not here.
    """
    if name == AUTO:
        return False
    known(pool, name)
    spec = pool[name].spec
    return Capability.COUNT_TOKENS in spec.capabilities and not spec.null


async def bound(sessions: Sessions, question: Question, binding: Binding) -> frozenset[str] | None:
    """Who may be asked what rests upon an earlier answer: the expert alone that gave it.

    Raises:
        RequestRefused: That expert is not known, or is not the one that is asked for.
    """
    makers = {await sessions.previous(sessions.made_key(question.tenant, one)) for one in binding.ids} or {None}
    model = question.inbound.model
    if model != AUTO and makers <= {None, model}:
        # The caller says who; only that expert itself can know better.
        return question.allowed
    maker = makers.pop()
    if makers or maker is None or model != AUTO:
        raise RequestRefused(
            Code.INVALID_VALUE,
            f"{binding.param}: only the expert that made it can go on from it, and that is not known here to be "
            "one expert that may be asked. Name it as 'model'.",
            param=binding.param,
        )
    return frozenset({maker}) if question.allowed is None else question.allowed & {maker}
