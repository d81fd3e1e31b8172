"""The null experts of this gateway: what each of them offers for a request, and the share of requests they may answer.

Their logic is pure and lives in `routers/null_experts/`. The cached answers and the counts live here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

import numpy as np

from pointsman.experts.backends.null import NullExpert
from pointsman.experts.protocols import PreparedAnswer
from pointsman.experts.spec import (
    NULL_BACKEND,
    UNWRITTEN_CAPABILITIES,
    Capability,
    EnergyModel,
    ExpertSpec,
    LatencyModel,
    Price,
    Source,
)
from pointsman.gateway.deciding.embedding import embed_one
from pointsman.gateway.deciding.refusal_gate import RefusalGate, cannot_read
from pointsman.gateway.deciding.safety import HarmLevel, SafetyGate, SafetyVerdict
from pointsman.gateway.settings.null_experts import NullExpertSettings, NullKind
from pointsman.gateway.shared.answer_cache import AnswerCache, KeptAnswer
from pointsman.gateway.wire.caching import CacheControl
from pointsman.gateway.wire.everything_said import told_apart
from pointsman.gateway.wire.plain_question import fits, why_not_a_question, why_not_plain
from pointsman.gateway.wire.request import AUTO, Inbound
from pointsman.gateway.wire.transcript import Transcript, text_of_whole
from pointsman.routers.embed import plain_embedder
from pointsman.routers.null_experts.calculator import calculate
from pointsman.routers.null_experts.examples import Examples, Match, unit
from pointsman.routers.null_experts.guards import FALSE_HITS, hard_difference, names_differ, signature
from pointsman.routers.null_experts.share import ShareAccount
from pointsman.routers.protocols import Embedder
from pointsman.routers.types import Assessment, Decision, FloatArray, Offer, Offers, Reason

_CARDS: Final[Mapping[NullKind, str]] = {
    NullKind.CALCULATOR: "Works out arithmetic exactly.",
    NullKind.CONSTANT: "Gives the operator's constant answers.",
    NullKind.REFUSAL: "Refuses what the operator blocks.",
    NullKind.EXACT_CACHE: "Gives an earlier answer to the same request again.",
    NullKind.SEMANTIC_CACHE: "Gives an earlier answer to a question that says the same in other words.",
}
_ONE_QUESTION: Final = frozenset({Capability.CHAT, Capability.STREAMING})
_ANY_TEXT: Final = _ONE_QUESTION | {Capability.COMPLETIONS}
_CAPABILITIES: Final[Mapping[NullKind, frozenset[Capability]]] = {
    NullKind.CALCULATOR: _ONE_QUESTION,
    NullKind.CONSTANT: _ONE_QUESTION,
    # It answers whatever the request needs: what is blocked stays blocked with tools, documents and the rest, too.
    NullKind.REFUSAL: frozenset(Capability) - UNWRITTEN_CAPABILITIES,
    NullKind.EXACT_CACHE: _ANY_TEXT,
    NullKind.SEMANTIC_CACHE: _ONE_QUESTION,
}
#: A longer request is not looked up: telling it from others takes time in proportion to its length.
_MOST_KEPT_BYTES: Final = 1024 * 1024
#: A look-up in Redis at the most. Nobody measured it here.
_LATENCY: Final = LatencyModel(2.0, 0.0, 0.0, source=Source.ESTIMATED)
#: What the gateway itself takes to find an answer is not counted, as it is not for any other decision.
_ENERGY: Final = EnergyModel(0.0, 0.0, 0.0, source=Source.ESTIMATED)


def null_expert(kind: NullKind) -> NullExpert:
    """The member of the pool."""
    return NullExpert(
        ExpertSpec(
            kind.value,
            NULL_BACKEND,
            kind.value,
            card=_CARDS[kind],
            capabilities=_CAPABILITIES[kind],
            price=Price(0.0, 0.0),
            latency=_LATENCY,
            energy=_ENERGY,
            local=True,
        )
    )


@dataclass(slots=True)
class NullAnswers:
    """What the null experts have to say of one request.

    Attributes:
        offers: Name of each -> its offer.
        answers: The answers behind the offers.
        vector: Of the prompt, shape (dim,); None where nobody compares prompts.
        key: Under which the answer of an expert may be kept for the same request; None where it may not.
        near_key: Likewise, for questions that say the same.
        names: What the question names.
        safety: What safety routing makes of it; None where that is off.
        topic: The example of a blocked topic that one of its texts is near; None where none is.
        unread: Where something stands that may hold words nobody here can read; None where nothing does.
        beside: Assessments of what the user says beside the latest turn; empty where no category is blocked.
    """

    offers: dict[str, Offer] = field(default_factory=dict)
    answers: dict[str, PreparedAnswer] = field(default_factory=dict)
    vector: FloatArray | None = None
    key: str | None = None
    near_key: str | None = None
    names: tuple[str, ...] = ()
    safety: SafetyVerdict | None = None
    topic: Match | None = None
    unread: str | None = None
    beside: list[Assessment] = field(default_factory=list)

    def offer(self, kind: NullKind, answer: str, quality: float, detail: str, source: Source = Source.STATED) -> None:
        """It has an answer."""
        self.offers[kind.value] = Offer(quality, detail, source)
        self.answers[kind.value] = PreparedAnswer(answer)

    def decline(self, kind: NullKind, why: str) -> None:
        """It has none."""
        self.offers[kind.value] = Offer(None, why)


class NullExperts:
    """Asked about every request before it is decided.

    Args:
        settings: Which there are, and what they may do.
        embedder: The router's.
        answers: The answer cache; needed where the settings switch one on.
        safety: Says which prompts the refusal takes, beside those of blocked topics.
    """

    def __init__(
        self,
        settings: NullExpertSettings,
        embedder: Embedder,
        answers: AnswerCache,
        safety: SafetyGate | None = None,
    ) -> None:
        self._settings = settings
        self._kinds = frozenset(settings.kinds) | ({NullKind.REFUSAL} if safety is not None else frozenset())
        self._safety = safety
        self._embedder = plain_embedder(embedder)
        self._answers = answers
        self._account = ShareAccount.opened(settings.share, settings.window)
        constants, refusal = settings.constants, settings.refusal
        self._constants = Examples([entry.ask for entry in constants.entries], self._embedder, constants.threshold)
        topics = None
        if any(topic.examples for topic in refusal.topics):
            topics = Examples([topic.examples for topic in refusal.topics], self._embedder, refusal.threshold)
        scorer = None if safety is None else safety.scorer
        self._gate = RefusalGate(topics, self._embedder, scorer, system_prompts=refusal.system_prompts)
        self._compares = bool(constants.entries) or NullKind.SEMANTIC_CACHE in self._kinds

    def concern(self, model: str) -> bool:
        """Whether they take part in requests for this model: routed ones, their own, and any that may be refused."""
        return model == AUTO or model in self._kinds or NullKind.REFUSAL in self._kinds

    async def ask(
        self, inbound: Inbound, tenant: str, caching: CacheControl, allowed: frozenset[str] | None = None
    ) -> NullAnswers:
        """Their offers, apart from those that depend on the prompt's category.

        Args:
            inbound: The request, without our own fields and flags.
            tenant: Whose it is.
            caching: What the caller allows.
            allowed: Experts that may be asked; None for all.
        """
        asked = NullAnswers()
        if NullKind.REFUSAL in self._kinds:
            found = await self._gate.look(inbound)
            asked.topic, asked.unread = found.topic, found.unread
            if self._safety is not None and found.safety is not None:
                asked.safety = self._safety.judge(found.safety, allowed)
        if self._compares and inbound.text:
            asked.vector = unit(await embed_one(self._embedder, inbound.text))
        plain = why_not_plain(inbound, beside_system_prompts=self._settings.beside_system_prompts)
        if NullKind.CALCULATOR in self._kinds:
            self._work_out(asked, inbound, plain)
        if NullKind.CONSTANT in self._kinds:
            self._look_up(asked, inbound, plain)
        if NullKind.EXACT_CACHE in self._kinds:
            await self._remember(asked, inbound, tenant, caching)
        if NullKind.SEMANTIC_CACHE in self._kinds:
            await self._recognise(asked, inbound, tenant, caching)
        return asked

    def also_read(self, inbound: Inbound) -> tuple[str, ...]:
        """Texts whose category counts beside that of the latest turn: those of the user, where categories are blocked.

        What others say is of many categories, and asks for nothing.
        """
        blocked = any(topic.categories for topic in self._settings.refusal.topics)
        return told_apart(inbound) if blocked else ()

    def offers(self, asked: NullAnswers, assessment: Assessment) -> Offers:
        """Everything they offer, once the prompt's category is known.

        Raises:
            RequestRefused: Nothing that was read is blocked, and not all of the request can be read.
        """
        blocked_by = None
        if NullKind.REFUSAL in self._kinds:
            topic, safety = self._blocked_topic(asked, assessment), asked.safety
            why = None if topic is None else f"the operator blocks the topic '{topic}'"
            if why is None and safety is not None and safety.shade is HarmLevel.HARMFUL:
                why = safety.detail
            if why is None and asked.unread is not None:
                raise cannot_read(asked.unread)
            if why is None:
                asked.decline(
                    NullKind.REFUSAL, "the prompt is of no blocked topic" if safety is None else safety.detail
                )
            else:
                blocked_by = NullKind.REFUSAL.value
                asked.offers[blocked_by] = Offer(1.0, why)
                asked.answers[blocked_by] = PreparedAnswer(self._settings.refusal.message, "content_filter")
        bonus = self._settings.bonus - self._account.price
        return Offers(MappingProxyType(asked.offers), bonus, blocked_by)

    def decided(self, decision: Decision, *, gathered: bool) -> None:
        """Count a routed request. Refusals are policy, not economy, and do not count.

        Args:
            decision: Who is to answer.
            gathered: Models are asked in the place of the expert it names.
        """
        if decision.reason not in (Reason.BLOCKED, Reason.NAMED):
            self._account = self._account.after(null=decision.expert in self._kinds and not gathered)

    def recording(
        self, asked: NullAnswers, decision: Decision, expert: str, belief: float | None = None
    ) -> Recording | None:
        """Where an expert's answer goes on its way to the client; None where it is not to be kept.

        Args:
            asked: From `ask`.
            decision: The decision.
            expert: Who answered.
            belief: Probability that the answer is right, where it was compared with others.
        """
        if (asked.key is None and asked.near_key is None) or expert in self._kinds:
            return None
        predicted = next((one.estimates.quality.mean for one in decision.candidates if one.spec.name == expert), None)
        quality = predicted if belief is None else belief
        if quality is None:
            return None
        return Recording(
            lambda text: self._keep(asked, KeptAnswer(text, expert, quality)), self._settings.answers.max_answer_bytes
        )

    def _keep(self, asked: NullAnswers, answer: KeptAnswer) -> None:
        if asked.key is not None:
            self._answers.put(asked.key, answer)
        if asked.near_key is not None and asked.vector is not None:
            # Four decimals keep a cosine to three.
            vector = tuple(np.round(asked.vector.astype(np.float64), 4).tolist())
            self._answers.put(asked.near_key, replace(answer, names=asked.names, vector=vector))

    def _work_out(self, asked: NullAnswers, inbound: Inbound, plain: str | None) -> None:
        result = calculate(inbound.text) if plain is None else None
        if result is None:
            asked.decline(NullKind.CALCULATOR, plain or "the prompt is more than arithmetic")
        elif not fits(inbound, result):
            asked.decline(NullKind.CALCULATOR, "the result is longer than the caller allows")
        else:
            asked.offer(NullKind.CALCULATOR, result, 1.0, "the prompt is arithmetic as a whole")

    def _look_up(self, asked: NullAnswers, inbound: Inbound, plain: str | None) -> None:
        match = self._constants.nearest(asked.vector) if plain is None and asked.vector is not None else None
        if match is None:
            asked.decline(NullKind.CONSTANT, plain or "the prompt means the same as none of its questions")
            return
        entry = self._settings.constants.entries[match.group]
        if hard_difference(inbound.text, match.example):
            asked.decline(NullKind.CONSTANT, "the nearest of its questions has other numbers, signs or negations")
            return
        if not fits(inbound, entry.answer):
            asked.decline(NullKind.CONSTANT, "its answer is longer than the caller allows")
        else:
            asked.offer(
                NullKind.CONSTANT, entry.answer, entry.quality, f"cosine {match.similarity:.2f} to its question"
            )

    async def _remember(self, asked: NullAnswers, inbound: Inbound, tenant: str, caching: CacheControl) -> None:
        why = self._why_not_kept(inbound, caching)
        if why is not None:
            asked.decline(NullKind.EXACT_CACHE, why)
            return
        key = self._answers.key(tenant, inbound)
        asked.key = key if caching.keep else None
        kept = await self._answers.get(key) if caching.read else None
        if kept is None:
            why = "no such request has been answered lately" if caching.read else "the caller wants a fresh answer"
            asked.decline(NullKind.EXACT_CACHE, why)
        else:
            detail = f"{kept.expert} has answered the same request"
            asked.offer(NullKind.EXACT_CACHE, kept.text, kept.quality, detail, Source.ESTIMATED)

    async def _recognise(self, asked: NullAnswers, inbound: Inbound, tenant: str, caching: CacheControl) -> None:
        kind = NullKind.SEMANTIC_CACHE
        why = self._why_not_kept(inbound, caching) or why_not_a_question(inbound)
        said = signature(inbound.text) if why is None else None
        if said is None or asked.vector is None or not said.telling:
            asked.decline(kind, why or "the question has too few words to tell what it says")
            return
        asked.names = said.names
        key = self._answers.near_key(tenant, inbound, said)
        asked.near_key = key if caching.keep else None
        kept = await self._answers.get(key) if caching.read else None
        if kept is None or len(kept.vector) != len(asked.vector):
            asked.decline(kind, "no question that says the same has been answered lately")
            return
        similarity = float(np.asarray(kept.vector) @ asked.vector)
        if names_differ(kept.names, said.names) or similarity < self._settings.answers.threshold:
            asked.decline(kind, f"the nearest question is another one (cosine {similarity:.2f})")
        else:
            detail = f"{kept.expert} has answered a question that says the same (cosine {similarity:.2f})"
            asked.offer(kind, kept.text, kept.quality * (1 - FALSE_HITS), detail, Source.ESTIMATED)

    def _why_not_kept(self, inbound: Inbound, caching: CacheControl) -> str | None:
        """Why no answer to the request is kept, None where it may be."""
        if inbound.model not in (AUTO, *self._kinds):
            return "the caller asks for a model by name"
        if not caching.read and not caching.keep:
            return "the caller wants nothing kept"
        if len(inbound.body) > _MOST_KEPT_BYTES:
            return "the request is too long to be remembered"
        if not inbound.required <= _ANY_TEXT:
            return "the request needs more than text"
        if inbound.work.answers > 1:
            return "the request wants several answers"
        temperature = inbound.payload.get("temperature")
        if not self._settings.answers.any_temperature and (temperature != 0 or temperature is False):
            return "the answer is sampled: only those at temperature 0 are kept"
        return None

    def _blocked_topic(self, asked: NullAnswers, assessment: Assessment) -> str | None:
        refusal = self._settings.refusal
        if asked.topic is not None:
            return refusal.topics[asked.topic.group].name
        for read in (assessment, *asked.beside):
            posterior = read.classification.posterior
            for topic in refusal.topics:
                probability = sum(posterior.get(category, 0.0) for category in topic.categories)
                if topic.categories and probability >= refusal.probability:
                    return topic.name
        return None


class Recording:
    """An answer on its way to the client, kept once it is known to be whole.

    Args:
        keep: Takes the text of a complete, plain answer.
        most_bytes: Longer answers are not kept.
    """

    __slots__ = ("_keep", "_most_bytes", "_transcript")

    def __init__(self, keep: Callable[[str], None], most_bytes: int) -> None:
        self._keep = keep
        self._most_bytes = most_bytes
        self._transcript = Transcript(most_bytes)

    def whole(self, body: bytes) -> None:
        """An answer in one piece."""
        text = text_of_whole(body) if len(body) <= self._most_bytes else None
        if text is not None:
            self._keep(text)

    def feed(self, data: bytes) -> None:
        """Events of a streamed answer."""
        self._transcript.feed(data)

    def complete(self) -> None:
        """The stream has ended as streams should."""
        text = self._transcript.text()
        if text is not None:
            self._keep(text)
