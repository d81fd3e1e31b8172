"""One shard of a collection: some prompts to one expert over HTTP, so many at a time. Runs in any process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pointsman.evals.collect.judge import QUESTION, read_rating
from pointsman.evals.collect.scorers import READERS, score
from pointsman.evals.importers.records import number
from pointsman.experts.backends.openai_http import OpenAIHttpExpert
from pointsman.experts.errors import ExpertError
from pointsman.experts.protocols import Endpoint, ExpertCall
from pointsman.experts.spec import ExpertSpec

#: What can be wrong with a call, and with a reply of any shape.
_NO_ANSWER = (ExpertError, KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError)
#: Begins the reason of an answer that is to be rated again, unlike one that the judge could not rate.
JUDGE_FAILED: Final = "the judge failed"


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
class CollectedOutcome:
    """What became of one call; `failure` says why there is no answer, `unscored` why an answer has no score."""

    prompt_id: str
    model: str
    answer: str | None = None
    score: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_ms: float | None = None
    failure: str = ""
    unscored: str = ""


@dataclass(frozen=True, slots=True)
class CollectionQuestion:
    """A prompt with what a right answer is, where one is known.

    Attributes:
        prompt_id: Unique in the collection.
        prompt: The text; of a chat the last turn of the user.
        reference: A right answer.
        messages: The whole chat as it is sent; empty for the prompt alone.
        known_answer: What the expert said when it was asked before: it is only scored.
    """

    prompt_id: str
    prompt: str
    reference: str | None
    messages: tuple[Mapping[str, Any], ...] = ()
    known_answer: CollectedOutcome | None = None


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
    found = question.known_answer
    if found is None:
        start = time.perf_counter()
        try:
            reply = await _complete(expert, question.messages or question.prompt, shard)
            took_ms = (time.perf_counter() - start) * 1e3
            text = _said(reply)
        except _NO_ANSWER as error:
            return CollectedOutcome(question.prompt_id, shard.target.name, failure=_told(error))
        usage = reply.get("usage")
        prompt_tokens, completion_tokens = (
            _tokens(usage.get(name) if isinstance(usage, Mapping) else None)
            for name in ("prompt_tokens", "completion_tokens")
        )
        found = CollectedOutcome(
            question.prompt_id,
            shard.target.name,
            text,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            latency_ms=took_ms,
        )
    scored, why = await _scored(shard, judge, question, found.answer or "")
    return replace(found, score=scored, unscored=why)


async def _scored(
    shard: Shard, judge: OpenAIHttpExpert | None, question: CollectionQuestion, answer: str
) -> tuple[float | None, str]:
    """The score, or why there is none."""
    if judge is None:
        if shard.rule not in READERS or question.reference is None:
            return None, "no reference"
        scored = score(shard.rule, answer, question.reference)
        return scored, "" if scored is not None else f"the reference is nothing that {shard.rule} can read"
    asked = QUESTION.format(prompt=question.prompt, reference=question.reference or "(none)", answer=answer)
    try:
        said = _said(await _complete(judge, asked, shard))
    except _NO_ANSWER as error:
        return None, f"{JUDGE_FAILED} ({_told(error)})"
    rating = read_rating(said)
    return rating, "" if rating is not None else f"the judge gave no rating from 0 to 10, but {said[:60]!r}"


def _said(reply: Mapping[str, Any]) -> str:
    """The text of a reply; of content in parts, that of the parts.

    Raises:
        KeyError, IndexError, TypeError: It is no reply of a chat.
    """
    content = reply["choices"][0]["message"]["content"]
    if isinstance(content, list):
        content = "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
    if content is not None and not isinstance(content, str):
        raise TypeError(f"content is {type(content).__name__}, not text")
    # A lone surrogate is no text that a file can hold.
    return (content or "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _tokens(value: Any) -> int | None:
    """A count of tokens as servers write it: 12, 12.0, "12"; None for anything else."""
    found = number(value) if not isinstance(value, bool) else None
    return int(found) if found is not None and 0 <= found < 2**53 and found == int(found) else None


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]


async def _complete(expert: OpenAIHttpExpert, asked: str | Sequence[Mapping[str, Any]], shard: Shard) -> dict[str, Any]:
    messages = [{"role": "user", "content": asked}] if isinstance(asked, str) else [dict(turn) for turn in asked]
    payload: dict[str, Any] = {"model": expert.spec.model, "messages": messages}
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
    found = json.loads(told)
    if not isinstance(found, dict):
        raise TypeError(f"the reply is {type(found).__name__}, not an object")
    return found
