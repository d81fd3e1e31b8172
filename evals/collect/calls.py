"""One shard of a collection: some prompts to one expert over HTTP, so many at a time. Runs in any process."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

from pointsman.evals.collect.scorers import READERS, read_number, score
from pointsman.experts.backends.openai_http import OpenAIHttpExpert
from pointsman.experts.errors import ExpertError
from pointsman.experts.protocols import Endpoint, ExpertCall
from pointsman.experts.spec import ExpertSpec

_JUDGE = (
    "Rate how well the answer responds to the question, from 0 (useless or wrong) to 10 (perfect). "
    "Reply with the number alone.\n\nQuestion:\n{prompt}\n\nReference answer:\n{reference}\n\nAnswer:\n{answer}"
)


@dataclass(frozen=True, slots=True)
class Target:
    """An OpenAI-compatible server to ask.

    Attributes:
        name: What the model is called in the table.
        url: Its base URL.
        model: The id it is known by there.
        api_key: None for none.
    """

    name: str
    url: str
    model: str
    api_key: str | None = None


@dataclass(frozen=True, slots=True)
class CollectionQuestion:
    """A prompt with what a right answer is, where one is known."""

    prompt_id: str
    prompt: str
    reference: str | None


@dataclass(frozen=True, slots=True)
class Shard:
    """Prompts for one expert.

    Attributes:
        target: The expert to ask.
        questions: What to ask.
        rule: Name of a scoring rule; None leaves the answers unscored, or to the judge.
        judge: Who rates the answers; None when a rule does.
        max_tokens: Limit of each answer.
        concurrency: Calls in flight.
        timeout_s: For the head of an answer, and between its bytes.
    """

    target: Target
    questions: tuple[CollectionQuestion, ...]
    rule: str | None = None
    judge: Target | None = None
    max_tokens: int | None = None
    concurrency: int = 8
    timeout_s: float = 120.0


@dataclass(frozen=True, slots=True)
class CollectedOutcome:
    """What became of one call; `failure` says why there is no answer."""

    prompt_id: str
    model: str
    answer: str | None = None
    score: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_ms: float | None = None
    failure: str = ""


def ask(shard: Shard) -> list[CollectedOutcome]:
    """Ask every question of a shard; the answers stand in its order."""
    return asyncio.run(_ask(shard))


async def _ask(shard: Shard) -> list[CollectedOutcome]:
    expert = _expert(shard.target)
    judge = None if shard.judge is None else _expert(shard.judge)
    room = asyncio.Semaphore(shard.concurrency)

    async def one(question: CollectionQuestion) -> CollectedOutcome:
        async with room:
            return await _answered(shard, expert, judge, question)

    try:
        return list(await asyncio.gather(*(one(question) for question in shard.questions)))
    finally:
        await expert.aclose()
        if judge is not None:
            await judge.aclose()


def _expert(target: Target) -> OpenAIHttpExpert:
    return OpenAIHttpExpert(ExpertSpec(target.name, "openai_http", target.model), target.url, target.api_key)


async def _answered(
    shard: Shard, expert: OpenAIHttpExpert, judge: OpenAIHttpExpert | None, question: CollectionQuestion
) -> CollectedOutcome:
    start = time.perf_counter()
    try:
        reply = await _complete(expert, question.prompt, shard)
        took_ms = (time.perf_counter() - start) * 1e3
        text = reply["choices"][0]["message"]["content"] or ""
        scored = None
        if judge is not None:
            scored = await _judged(judge, question, text, shard)
        elif shard.rule in READERS and question.reference is not None:
            scored = score(shard.rule, text, question.reference)
    except (ExpertError, KeyError, IndexError, TypeError, ValueError) as error:
        return CollectedOutcome(question.prompt_id, shard.target.name, failure=f"{type(error).__name__}: {error}"[:300])
    usage = reply.get("usage") or {}
    return CollectedOutcome(
        question.prompt_id,
        shard.target.name,
        text,
        scored,
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
        took_ms,
    )


async def _judged(judge: OpenAIHttpExpert, question: CollectionQuestion, answer: str, shard: Shard) -> float | None:
    """The judge's rating / 10; None where it gives none between 0 and 10."""
    asked = _JUDGE.format(prompt=question.prompt, reference=question.reference or "(none)", answer=answer)
    reply = await _complete(judge, asked, shard)
    rating = read_number(reply["choices"][0]["message"]["content"] or "")
    return float(rating) / 10 if rating is not None and 0 <= float(rating) <= 10 else None


async def _complete(expert: OpenAIHttpExpert, prompt: str, shard: Shard) -> dict[str, Any]:
    payload: dict[str, Any] = {"model": expert.spec.model, "messages": [{"role": "user", "content": prompt}]}
    if shard.max_tokens is not None:
        payload["max_tokens"] = shard.max_tokens
    body = json.dumps(payload).encode()
    call = ExpertCall(
        "collect",
        Endpoint.CHAT,
        body,
        payload,
        stream=False,
        head_timeout_s=shard.timeout_s,
        idle_timeout_s=shard.timeout_s,
    )
    response = await expert.call(call)
    try:
        told = await response.read()
    finally:
        await response.aclose()
    if response.status != 200:
        raise ExpertError(expert.spec.name, f"HTTP {response.status}: {told[:200].decode(errors='replace')}")
    found: dict[str, Any] = json.loads(told)
    return found
