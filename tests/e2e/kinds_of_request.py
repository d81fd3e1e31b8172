"""Every kind of request that an expert answers, and the few counters in which it differs from a plain one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.e2e.staged import ENV, Request, Scripted, chat


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind.

    Attributes:
        fact: What it is, for the test's name.
        request: As the client sends it.
        experts: Who may answer.
        settings: Of the gateway.
        env: Of the gateway's process.
        cold: Whether the gateway has no connection to its experts yet; if not, it has one for every request.
        status: What the client gets.
        calls: That reach an expert for each request; None where that is as it comes.
        each: Counters that differ from those of a plain request, for each request.
        labelled: The same for those by label: the label whose count is the number of requests.
        falls_back: Whether other experts are asked after a failure, as often as the circuit lets the first one fail.
        streams: Whether it is also asked for as a stream.
    """

    fact: str
    request: Request = field(default_factory=Request)
    experts: tuple[Scripted, ...] = (Scripted(),)
    settings: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    cold: bool = False
    status: int = 200
    calls: int | None = 1
    each: Mapping[str, int] = field(default_factory=dict)
    labelled: Mapping[str, str] = field(default_factory=dict)
    falls_back: bool = False
    streams: bool = True


def routed(**routing: Any) -> Request:
    """A chat with our own fields."""
    return Request(body=chat(routing=routing))


def told(**headers: str) -> Request:
    """A chat with our own headers, with `_` for their dashes."""
    return Request(headers={f"x-pointsman-{name.replace('_', '-')}": value for name, value in headers.items()})


def limited(**limits: float) -> dict[str, Any]:
    """Settings with a key that has limits."""
    return {"auth": {"keys": [{"name": "a", "key_env": "KEY_A", "limits": limits}]}}


BEARER: Final = {"authorization": f"Bearer {ENV['KEY_A']}"}
HERE: Final = (Scripted(over="process"),)
ONE_SLOT: Final = {"max_concurrency": 1}
MANY_TOKENS: Final = 1e6

PLAIN: Final = (
    Kind("auto over a kept connection"),
    Kind("auto over a new connection", cold=True),
    Kind("auto to an expert in this process", experts=HERE),
    Kind("a named model over a kept connection", Request(body=chat("only"))),
    Kind("a named model over a new connection", Request(body=chat("only")), cold=True, streams=False),
    Kind("a named model in this process", Request(body=chat("only")), experts=HERE),
    Kind("a named model with a cap", Request(body=chat("only", routing={"max_cost_usd": 1})), streams=False),
    Kind("a completion", Request("/v1/completions", {"model": "auto", "prompt": "hello there"})),
    Kind(
        "embeddings",
        Request("/v1/embeddings", {"model": "auto", "input": "hello there"}),
        experts=(Scripted(fields={"capabilities": ["embeddings"]}),),
        streams=False,
    ),
    Kind(
        "a message for a chat expert",
        Request("/v1/messages", {**chat(), "max_tokens": 50}),
    ),
    Kind("a response of a chat expert", Request("/v1/responses", {"model": "auto", "input": "hello there"})),
    Kind(
        "a body in gzip",
        Request(raw=gzip.compress(json.dumps(chat()).encode()), headers={"content-encoding": "gzip"}),
        streams=False,
    ),
)

CONDITIONS: Final = (
    Kind("deadline_ms in the body", routed(deadline_ms=5000)),
    Kind("deadline_ms in a header", told(deadline_ms="5000"), streams=False),
    Kind("a session in the body", routed(session="talk")),
    Kind("a session in a header", told(session="talk"), streams=False),
    Kind("a session of each request", routed(session="talk {n}"), streams=False),
    Kind(
        "a session known by how it began",
        Request(
            body=chat(
                messages=[
                    {"role": "user", "content": "one"},
                    {"role": "assistant", "content": "yes"},
                    {"role": "user", "content": "two"},
                ]
            )
        ),
        settings={"conversations": {"derive_sessions": True}},
    ),
    Kind("a priority", routed(priority="high"), streams=False),
    Kind("average budgets", settings={"average_budgets": {"max_energy_j": 1000.0}}, streams=False),
)

ANSWERS_KEPT: Final = {"null_experts": {"answers": {"exact": True}}}

NULLS: Final = (
    Kind(
        "an exact cache that has no answer",
        Request(body=chat(temperature=0, messages=[{"role": "user", "content": "hello {n}"}])),
        settings=ANSWERS_KEPT,
    ),
    Kind("an exact cache that has the answer", Request(body=chat(temperature=0)), settings=ANSWERS_KEPT, calls=0),
    Kind(
        "an exact cache in front of an expert in this process",
        Request(body=chat(temperature=0, messages=[{"role": "user", "content": "hello {n}"}])),
        experts=HERE,
        settings=ANSWERS_KEPT,
    ),
    Kind(
        "arithmetic worked out without a model",
        Request(body=chat(messages=[{"role": "user", "content": "12*(3+4)"}])),
        settings={"null_experts": {"calculator": True}},
        calls=0,
        streams=False,
    ),
)


def _first(**script: Any) -> Scripted:
    return Scripted("first", prior=0.9, script=script)


SECOND: Final = Scripted("second")

FAILING: Final = (
    Kind(
        "an expert that answers 503",
        experts=(_first(fault="error", error_status=503, ttft_ms=20), SECOND),
        cold=True,
        calls=None,
        falls_back=True,
    ),
    Kind(
        "an expert that answers 429",
        experts=(_first(fault="error", error_status=429), SECOND),
        cold=True,
        calls=2,
        each={"fallbacks": 1, "retries and races": 1},
    ),
    Kind(
        "an expert that answers 429 over a kept connection",
        experts=(_first(fault="error", error_status=429), SECOND),
        calls=2,
        each={"fallbacks": 1, "retries and races": 1},
        streams=False,
    ),
    Kind(
        "an expert in this process that answers 429",
        experts=(
            Scripted("first", "process", 0.9, {"fault": "error", "error_status": 429}),
            Scripted("second", "process"),
        ),
        calls=2,
        each={"fallbacks": 1, "retries and races": 1},
    ),
    Kind(
        "a refused connection",
        experts=(Scripted("first", "refused", 0.9), SECOND),
        cold=True,
        falls_back=True,
    ),
    Kind("a kept connection that is stale", experts=(Scripted(over="stale"),)),
    Kind(
        "a last expert that answers 400",
        experts=(Scripted(script={"fault": "error", "error_status": 400}),),
        status=400,
        streams=False,
    ),
    Kind(
        "a last expert that answers 429",
        experts=(Scripted(script={"fault": "error", "error_status": 429}),),
        status=429,
    ),
)

LIMITED: Final = (
    *(
        Kind(
            f"a limit of {name}",
            Request(headers=BEARER),
            settings=limited(requests_per_minute=1000, **limits),
            env=ENV,
            each={"requests against a limit": 1},
            streams=name == "dollars",
        )
        for name, limits in (
            ("requests", {}),
            ("tokens", {"tokens_per_minute": MANY_TOKENS}),
            ("dollars", {"usd_per_hour": 1000}),
            ("joules", {"joules_per_day": MANY_TOKENS}),
        )
    ),
    Kind(
        "a limit over a new connection",
        Request(headers=BEARER),
        settings=limited(requests_per_minute=1000, usd_per_hour=1000),
        env=ENV,
        cold=True,
        each={"requests against a limit": 1},
    ),
    Kind(
        "a limit and an expert that answers 429",
        Request(headers=BEARER),
        experts=(_first(fault="error", error_status=429), SECOND),
        settings=limited(requests_per_minute=1000, usd_per_hour=1000),
        env=ENV,
        calls=2,
        each={"requests against a limit": 1, "fallbacks": 1, "retries and races": 1},
    ),
    Kind(
        "a limit and a stale connection",
        Request(headers=BEARER),
        experts=(Scripted(over="stale"),),
        settings=limited(requests_per_minute=1000, usd_per_hour=1000),
        env=ENV,
        each={"requests against a limit": 1},
        streams=False,
    ),
)


def _hedging(least_ms: float) -> dict[str, Any]:
    return {"hedging": {"enabled": True, "least_ms": least_ms, "max_share": 1.0}}


def _late(over: Any, ttft_ms: float) -> tuple[Scripted, ...]:
    # Nothing is foreseen of their latency: they have what anybody has in any case.
    unforeseen = {"latency": None}
    return (
        Scripted("first", over, 0.9, {"ttft_ms": ttft_ms}, unforeseen),
        Scripted("second", over, 0.5, {}, unforeseen),
    )


SEVERAL: Final = (
    Kind("hedging with an expert in time", experts=_late("http", 0), settings=_hedging(500)),
    Kind(
        "hedging with an expert that is late",
        experts=_late("http", 5000),
        settings=_hedging(30),
        calls=2,
        each={"retries and races": 1},
        labelled={"hedges": "won"},
    ),
    Kind(
        "hedging with an expert in this process that is late",
        experts=_late("process", 5000),
        settings=_hedging(30),
        calls=2,
        each={"retries and races": 1},
        labelled={"hedges": "won"},
    ),
    Kind(
        "exploration in the shadow",
        experts=(Scripted("first", prior=0.6), SECOND),
        settings={"learning": {"exploration": {"share": 1.0}}},
        calls=None,
    ),
)

QUEUED: Final = (
    Kind("a queue before a full expert", experts=(Scripted(script={"ttft_ms": 20}, fields=ONE_SLOT),)),
    Kind(
        "a queue before a full expert over a new connection",
        experts=(Scripted(script={"ttft_ms": 20}, fields=ONE_SLOT),),
        cold=True,
    ),
    Kind(
        "a queue before a full expert in this process",
        experts=(Scripted(over="process", script={"ttft_ms": 20}, fields=ONE_SLOT),),
    ),
    Kind(
        "a queue for a named model over a new connection",
        Request(body=chat("only")),
        experts=(Scripted(script={"ttft_ms": 20}, fields=ONE_SLOT),),
        cold=True,
    ),
    Kind(
        "a queue with limits over a new connection",
        Request(headers=BEARER),
        experts=(Scripted(script={"ttft_ms": 20}, fields=ONE_SLOT),),
        settings=limited(requests_per_minute=1000, usd_per_hour=1000),
        env=ENV,
        cold=True,
        each={"requests against a limit": 1},
        streams=False,
    ),
    Kind(
        "a queue and deadline_ms",
        routed(deadline_ms=5000),
        experts=(Scripted(script={"ttft_ms": 20}, fields=ONE_SLOT),),
        cold=True,
    ),
)

KINDS: Final = (*PLAIN, *CONDITIONS, *NULLS, *FAILING, *LIMITED, *SEVERAL, *QUEUED)
