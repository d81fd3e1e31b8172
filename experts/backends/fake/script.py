"""The script of a fake expert as data, and the timed plan of one call that follows from it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from itertools import cycle, islice
from typing import Annotated, Any

from pydantic import Field

from pointsman.experts.backend_spec import BackendOptions
from pointsman.experts.backends.fake.shaped import fill, response_schema, tool_to_call
from pointsman.experts.backends.fake.vectors import answer_without_writing
from pointsman.experts.backends.openai_wire import (
    DONE,
    JSON_HEADERS,
    SSE_HEADERS,
    AnswerWriter,
    content_text,
    error_body,
    event,
    last_user_text,
    token_limit,
    wants_usage_chunk,
)
from pointsman.experts.backends.planned import EndMode, PlannedWork, ReplyPlan
from pointsman.experts.protocols import Endpoint, Headers
from pointsman.experts.spec import Usage

#: A fake token: a word with the white space before it.
#: White space is looked at from its beginning alone: nothing may stand behind it.
_TOKEN = re.compile(r"(?<!\s)\s*\S+")

#: Tokens of a chat template around every message, so that prompt counts behave like a real server's.
_TOKENS_PER_MESSAGE = 3


_Delay = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1)]


class Fault(StrEnum):
    """What may go wrong with a call."""

    NONE = "none"
    ERROR = "error"  # an HTTP error status
    REFUSE = "refuse"  # no connection (in process), or one that is closed without a byte (as a server)
    HANG_HEAD = "hang_head"  # nothing is ever answered
    HANG_BODY = "hang_body"  # the answer stalls after `fault_after_tokens`
    BREAK = "break"  # the answer ends in its middle, after `fault_after_tokens`
    DROP = "drop"  # it works, and closes the connection without a byte of an answer
    CUT = "cut"  # the answer ends in its middle as if it were complete
    SAY_ERROR = "say_error"  # an answer with status 200 that says an error, or a stream whose first event does


class Report(StrEnum):
    """What is said of the tokens that were made."""

    HONEST = "honest"
    NONE = "none"
    HUGE = "huge"  # 2^63 tokens of an answer
    NEGATIVE = "negative"


#: Errors after which nothing was made: the call was turned away.
_TURNED_AWAY = frozenset(range(400, 500)) - {408, 499} | {501, 503}
#: As `Report.HUGE` has it.
_HUGE = 2**63


class Script(BackendOptions):
    """What the fake does; the fate of the n-th call depends on the script and n alone."""

    reply: str = "You said: {prompt}"
    """The text of the answer; `{prompt}` and `{model}` are filled in. Where the call asks for a function call or for
    JSON, the answer is that instead."""
    completion_tokens: int | None = Field(default=None, ge=1)
    """Length of the answer in words: the reply is cut or repeated to it; as the reply is when left out."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Where it ends an answer of its own accord, what it thinks included."""
    hidden_tokens: int = Field(default=0, ge=0)
    """Tokens that it thinks before the first text. They count against the limit of the call and in its usage, and are
    never shown."""
    usage: Report = Report.HONEST
    """What it says of its tokens: `honest` (of a stream only where it is asked), `none`, `huge` (2^63 tokens), or
    `negative`."""
    ttft_ms: _Delay = 0.0
    """Time to first token."""
    prefill_ms_per_token: _Delay = 0.0
    """Added to `ttft_ms` for every token of the prompt."""
    tokens_per_s: float | None = Field(default=None, gt=0)
    """Pace after the first token; all at once when left out."""
    jitter: _Share = 0.0
    """Share by which delays vary: each call's are scaled by a factor drawn evenly from [1 - jitter, 1 + jitter]."""
    fault: Fault = Fault.NONE
    """What goes wrong: `error` (a status), `refuse` (no connection), `hang_head` (nothing is answered), `hang_body`
    (the answer stalls), `break` (it ends in its middle), `drop` (it works, and answers nothing), `cut` (it ends in its
    middle as if complete), `say_error` (an error in an answer of status 200, or as the first event of a stream)."""
    fault_calls: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """On which calls, counted from 0. With neither this nor `fault_rate`, on every call."""
    fault_rate: _Share = 0.0
    """With which probability on any other call."""
    fault_after_tokens: int = Field(default=1, ge=0)
    """How much of the answer comes before `hang_body`, `break` or `cut`."""
    error_status: int = Field(default=500, ge=400, le=599)
    """Status of `error`, and the one that `say_error` says."""
    retry_after_s: int | None = None
    """Sent with `error` as `retry-after`."""
    seed: int = 0
    """Of `jitter` and `fault_rate`."""


def plan_call(
    script: Script,
    model: str,
    number: int,
    endpoint: Endpoint,
    payload: Mapping[str, Any],
    created_s: int,
) -> ReplyPlan:
    """What becomes of the n-th call.

    Args:
        script: What the fake does.
        model: Name in the answer.
        number: Of the call, from 0.
        endpoint: Which endpoint.
        payload: The parsed body.
        created_s: Unix time for the answer.
    """
    chance = random.Random(f"{script.seed}/{number}")
    stretch = 1 + script.jitter * (2 * chance.random() - 1)
    fault = _fault(script, number, chance.random())
    if fault is Fault.REFUSE:
        return ReplyPlan(0, ending=EndMode.BREAK)
    if payload.get("n") not in (None, 1) and fault is not Fault.HANG_HEAD:
        return _error(400, "the fake expert gives one choice", "invalid_request_error", param="n")
    prompt_tokens = count_prompt_tokens(endpoint, payload)
    first_s = stretch * (script.ttft_ms + prompt_tokens * script.prefill_ms_per_token) / 1000
    step_s = 0.0 if script.tokens_per_s is None else stretch / script.tokens_per_s
    if not endpoint.writes:
        if fault is Fault.HANG_HEAD:
            return ReplyPlan(0, ending=EndMode.HANG)
        if fault is Fault.ERROR:
            return _scripted_error(script, first_s)
        if fault is Fault.SAY_ERROR:
            return _said(script, first_s, stream=False)
        return _unwritten(endpoint, payload, model, f"fake-{script.seed}-{number}", created_s, first_s)
    calls = tool_to_call(payload) if endpoint is Endpoint.CHAT else None
    hidden, tokens, finish_reason = _within_limit(script, payload, *_tokens(script, model, endpoint, payload, calls))
    work = _work(payload, prompt_tokens, hidden, len(tokens), first_s, step_s)
    # What is thought comes before what is said.
    text_s = first_s + hidden * step_s
    last_s = text_s + max(0, len(tokens) - 1) * step_s
    if fault is Fault.HANG_HEAD:
        return ReplyPlan(0, ending=EndMode.HANG, work=work)
    if fault is Fault.DROP:
        return ReplyPlan(0, head_after_s=last_s, ending=EndMode.BREAK, work=work)
    if fault in (Fault.ERROR, Fault.SAY_ERROR):
        error = _scripted_error(script, text_s)
        if fault is Fault.SAY_ERROR:
            error = _said(script, text_s, stream=payload.get("stream") is True)
        thought = _work(payload, prompt_tokens, hidden, 0, first_s, step_s)
        return error if script.error_status in _TURNED_AWAY else replace(error, work=thought)

    function = None if calls is None else str(calls["name"])
    usage = _reported(script.usage, Usage(prompt_tokens, hidden + len(tokens)))
    stream, usage_chunk = payload.get("stream") is True, wants_usage_chunk(payload)
    answer = AnswerWriter(
        endpoint, f"fake-{script.seed}-{number}", created_s, model, with_usage_field=stream and usage_chunk
    )
    ending = {Fault.BREAK: EndMode.BREAK, Fault.HANG_BODY: EndMode.HANG}.get(fault, EndMode.COMPLETE)
    whole = fault not in (Fault.BREAK, Fault.HANG_BODY, Fault.CUT)
    if not stream:
        body = answer.whole("".join(tokens), finish_reason, usage, calls=function)
        said = body if whole else body[: len(body) // 2]
        length = len(said) if fault is Fault.CUT else len(body)
        headers: Headers = (*JSON_HEADERS, (b"content-length", str(length).encode()))
        return ReplyPlan(200, headers, last_s, ((last_s, said),), ending, work)

    pieces = [(text_s, answer.opening(calls=function))] if endpoint is Endpoint.CHAT else []
    shown = tokens if whole else tokens[: script.fault_after_tokens]
    if ending is EndMode.BREAK or fault is Fault.CUT:
        work = _work(payload, prompt_tokens, hidden, len(shown), first_s, step_s)
    piece = answer.piece if calls is None else answer.arguments
    pieces += [(text_s + index * step_s, piece(token)) for index, token in enumerate(shown)]
    if whole:
        pieces.append((last_s, answer.closing(finish_reason)))
        if usage_chunk and usage is not None:
            pieces.append((last_s, answer.usage(usage)))
        pieces.append((last_s, DONE))
    return ReplyPlan(200, SSE_HEADERS, text_s, tuple(pieces), ending, work)


def _reported(report: Report, made: Usage) -> Usage | None:
    if report is Report.HONEST:
        return made
    if report is Report.NONE:
        return None
    return Usage(made.prompt_tokens, _HUGE if report is Report.HUGE else -made.completion_tokens)


def _work(
    payload: Mapping[str, Any], prompt_tokens: int, hidden: int, shown: int, first_s: float, step_s: float
) -> PlannedWork:
    user = payload.get("user")
    made = hidden + shown
    # At once where there is no pace: nobody counts token by token then.
    steps = ((first_s, made),) if step_s == 0.0 else tuple((first_s + index * step_s, 1) for index in range(made))
    return PlannedWork(user if isinstance(user, str) else "", prompt_tokens, steps)


def _scripted_error(script: Script, after_s: float) -> ReplyPlan:
    return _error(
        script.error_status,
        "the script says so",
        "server_error",
        after_s=after_s,
        retry_after_s=script.retry_after_s,
    )


def _said(script: Script, after_s: float, *, stream: bool) -> ReplyPlan:
    """The error with a status that promises none."""
    document = {"error": {"message": "the script says so", "type": "server_error", "code": script.error_status}}
    if stream:
        return ReplyPlan(200, SSE_HEADERS, after_s, ((after_s, event(document)), (after_s, DONE)))
    body = json.dumps(document).encode()
    headers: Headers = (*JSON_HEADERS, (b"content-length", str(len(body)).encode()))
    return ReplyPlan(200, headers, after_s, ((after_s, body),))


def _unwritten(
    endpoint: Endpoint, payload: Mapping[str, Any], model: str, answer_id: str, created_s: int, after_s: float
) -> ReplyPlan:
    answer = answer_without_writing(endpoint, payload, model, answer_id, created_s)
    if isinstance(answer, str):
        return _error(400, answer, "invalid_request_error")
    body = json.dumps(answer).encode()
    headers: Headers = (*JSON_HEADERS, (b"content-length", str(len(body)).encode()))
    return ReplyPlan(200, headers, after_s, ((after_s, body),))


def count_prompt_tokens(endpoint: Endpoint, payload: Mapping[str, Any]) -> int:
    """Words of the prompt, with a few for the chat template."""
    if endpoint is Endpoint.COMPLETIONS:
        return len(_TOKEN.findall(last_user_text(endpoint, payload)))
    messages = payload.get("messages")
    return sum(
        _TOKENS_PER_MESSAGE + len(_TOKEN.findall(content_text(message.get("content"))))
        for message in (messages if isinstance(messages, list) else [])
        if isinstance(message, Mapping)
    )


def _fault(script: Script, number: int, chance: float) -> Fault:
    if script.fault is Fault.NONE:
        return Fault.NONE
    always = not script.fault_calls and not script.fault_rate
    strikes = always or number in script.fault_calls or chance < script.fault_rate
    return script.fault if strikes else Fault.NONE


def _tokens(
    script: Script, model: str, endpoint: Endpoint, payload: Mapping[str, Any], calls: Mapping[str, Any] | None
) -> tuple[list[str], str]:
    """The tokens of the answer, or of the arguments of the function it calls, and why it ends there."""
    if calls is not None:
        arguments = fill(calls.get("parameters") or {"type": "object"}, last_user_text(endpoint, payload))
        return _TOKEN.findall(json.dumps(arguments)), "tool_calls"
    # Not str.format: a prompt may hold braces.
    text = script.reply.replace("{model}", model).replace("{prompt}", last_user_text(endpoint, payload))
    shape = response_schema(payload) if endpoint is Endpoint.CHAT else None
    if shape is not None:
        return _TOKEN.findall(json.dumps(fill(shape, last_user_text(endpoint, payload)))), "stop"
    tokens = _TOKEN.findall(text)
    if script.completion_tokens is not None and tokens:
        if len(tokens) < script.completion_tokens:
            spaced = [token if token[0].isspace() else f" {token}" for token in tokens]
            tokens += islice(cycle(spaced), script.completion_tokens - len(tokens))
        tokens = tokens[: script.completion_tokens]
    stops = payload.get("stop")
    text = "".join(tokens)
    cuts = [
        text.index(stop)
        for stop in ([stops] if isinstance(stops, str) else stops if isinstance(stops, list) else [])
        if isinstance(stop, str) and stop and stop in text
    ]
    if cuts:
        tokens = _TOKEN.findall(text[: min(cuts)])
    return tokens, "stop"


def _within_limit(
    script: Script, payload: Mapping[str, Any], tokens: list[str], finish_reason: str
) -> tuple[int, list[str], str]:
    """How much is thought, and what is said, within the call's limit on both together."""
    limits = [one for one in (token_limit(payload), script.max_tokens) if one is not None]
    limit, hidden = min(limits, default=None), script.hidden_tokens
    if limit is None or hidden + len(tokens) <= limit:
        return hidden, tokens, finish_reason
    hidden = min(hidden, limit)
    return hidden, tokens[: limit - hidden], "length"


def _error(
    status: int,
    message: str,
    kind: str,
    *,
    param: str | None = None,
    after_s: float = 0.0,
    retry_after_s: int | None = None,
) -> ReplyPlan:
    body = error_body(message, kind, param=param)
    headers: Headers = (*JSON_HEADERS, (b"content-length", str(len(body)).encode()))
    if retry_after_s is not None:
        headers = (*headers, (b"retry-after", str(retry_after_s).encode()))
    return ReplyPlan(status, headers, after_s, ((after_s, body),))
