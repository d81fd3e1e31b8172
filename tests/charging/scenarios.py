"""Random callers with limits before random experts: what is asked, what the experts do, and how the clients behave."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from pointsman.experts.backends.fake import Fault, Report, Script

#: Of every expert. An answer that nobody limits ends here.
WINDOW_TOKENS: Final = 400
#: As the gateway estimates the longest one here.
MOST_PROMPT_TOKENS: Final = 100
#: Of every expert; the dearer ones cost a multiple.
_INPUT_USD_PER_MTOK: Final = 1_000.0
_OUTPUT_USD_PER_MTOK: Final = 2_000.0
_J_PER_PROMPT_TOKEN: Final = 0.01
_J_PER_COMPLETION_TOKEN: Final = 0.05
_ERRORS: Final = (400, 404, 408, 429, 500, 502, 503, 504)
#: So long that the estimate of a prompt's tokens, which goes by bytes, is never below the words that a fake counts.
_WORDS: Final = ("every", "finished", "call", "costs", "something", "reported", "nobody", "knows")
#: Settings of limits, and what of each a caller gets at the least and at the most.
_LIMITS: Final = {
    "usd_per_month": (0.05, 3.0),
    "joules_per_month": (2.0, 60.0),
    "tokens_per_minute": (100, 4_000),
    "requests_per_minute": (2, 30),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request and its client.

    Attributes:
        path: Where it goes.
        body: What it says.
        leaves_after_s: When the client loses its patience; None for never.
        bounded: Whether it states how long its answer may be.
    """

    path: str
    body: dict[str, Any]
    leaves_after_s: float | None
    bounded: bool


@dataclass(slots=True)
class Caller:
    """A key and what it asks.

    Attributes:
        name: Of the key, and the `user` of its requests, by which experts count what they make.
        tenant: Whose key it is.
        limits: Its own.
        waves: What is asked at once, wave by wave.
    """

    name: str
    tenant: str
    limits: dict[str, float]
    waves: list[list[Asked]]

    @property
    def bounded(self) -> bool:
        """Whether all its requests are."""
        return all(asked.bounded for wave in self.waves for asked in wave)

    @property
    def at_once(self) -> int:
        """Requests at most."""
        return max(len(wave) for wave in self.waves)


@dataclass(slots=True)
class Stage:
    """A gateway, its experts and its callers.

    Attributes:
        experts: Name -> its script, its fields in the settings, and whether it is reached over HTTP.
        callers: By name.
        tenants: Name -> limits of all its keys together.
        settings: What else the gateway is set up with.
        processes: How many share the limits.
        over_redis: Whether they share them in Redis, and not by equal parts.
        amounts: (scope, setting) -> all amounts that the limit has had.
    """

    experts: dict[str, tuple[Script, dict[str, Any], bool]]
    callers: dict[str, Caller]
    tenants: dict[str, dict[str, float]]
    settings: dict[str, Any]
    processes: int
    over_redis: bool
    amounts: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def note(self) -> None:
        """Note the amounts that the limits have now."""
        scopes = {f"key:{caller.name}": caller.limits for caller in self.callers.values()}
        scopes |= {f"tenant:{name}": limits for name, limits in self.tenants.items()}
        for scope, limits in scopes.items():
            for name, amount in limits.items():
                self.amounts.setdefault((scope, name), []).append(amount)

    def change_limits(self, draw: Random) -> None:
        """Raise some limits and lower others."""
        for limits in [*(caller.limits for caller in self.callers.values()), *self.tenants.values()]:
            for name in limits:
                if draw.random() < 0.4:
                    limits[name] = _amount(draw, name)
        self.note()


def stage(draw: Random, callers: int, *, redis: bool) -> Stage:
    """A random one.

    Args:
        draw: Where chance comes from.
        callers: How many.
        redis: Whether there is one to share limits in.
    """
    experts = dict(_expert(draw, number) for number in range(draw.randint(3, 6)))
    processes = draw.choice((1, 1, 2))
    found: dict[str, Caller] = {}
    tenants: dict[str, dict[str, float]] = {}
    for number in range(callers):
        # Some share a tenant, and its limit, with their neighbour.
        shared = number // 2 % 3 == 0
        tenant = f"together{number // 2}" if shared else f"alone{number}"
        if shared:
            tenants[tenant] = {"usd_per_month": _amount(draw, "usd_per_month")}
        name = f"caller{number}"
        found[name] = Caller(name, tenant, _limits(draw, own=not shared), _waves(draw, name, list(experts)))
    settings = {
        "server": {
            "workers": processes,
            "head_timeout_s": draw.choice((0.05, 0.2, 0.4)),
            "idle_timeout_s": draw.choice((0.1, 0.3)),
            "max_attempts": draw.choice((1, 3)),
        },
        "hedging": {"enabled": draw.random() < 0.5, "least_ms": draw.choice((1, 20)), "max_share": 1.0},
        "retries": {"share": 1.0},
    }
    made = Stage(experts, found, tenants, settings, processes, redis and processes > 1 and draw.random() < 0.5)
    made.note()
    return made


def tokens_cost(expert: dict[str, Any], prompt: int, completion: int) -> dict[str, float]:
    """What so many tokens of an expert amount to, by resource."""
    price, energy = expert["price"], expert["energy"]
    usd = (prompt * price["input_usd_per_mtok"] + completion * price["output_usd_per_mtok"]) / 1e6
    joules = prompt * energy["j_per_prompt_token"] + completion * energy["j_per_completion_token"]
    return {"tokens": prompt + completion, "usd": usd, "joules": joules}


def _expert(draw: Random, number: int) -> tuple[str, tuple[Script, dict[str, Any], bool]]:
    dear, own_limit = draw.choice((1, 1, 3)), draw.choice((None, None, 120))
    script = Script(
        completion_tokens=draw.choice((None, 1, 20, 90)),
        max_tokens=own_limit or WINDOW_TOKENS,
        hidden_tokens=draw.choice((0, 0, 5, 60, 500)),
        usage=draw.choice((Report.HONEST, Report.HONEST, Report.HONEST, *Report)),
        ttft_ms=draw.choice((0, 0, 5, 40)),
        tokens_per_s=draw.choice((None, None, 500, 3_000)),
        jitter=draw.choice((0.0, 0.5)),
        fault=draw.choice(list(Fault)),
        fault_rate=draw.choice((0.05, 0.3, 0.7)),
        fault_after_tokens=draw.randint(0, 8),
        error_status=draw.choice(_ERRORS),
        seed=draw.randrange(1_000_000),
    )
    fields = {
        "quality_prior": {"*": draw.choice((0.3, 0.6, 0.9))},
        "generalist": True,
        "context_window_tokens": WINDOW_TOKENS,
        "default_max_tokens": own_limit,
        "price": {"input_usd_per_mtok": _INPUT_USD_PER_MTOK * dear, "output_usd_per_mtok": _OUTPUT_USD_PER_MTOK * dear},
        "energy": {
            "base_j": 0,
            "j_per_prompt_token": _J_PER_PROMPT_TOKEN,
            "j_per_completion_token": _J_PER_COMPLETION_TOKEN,
        },
        "latency": None,
    }
    # Nobody waits for one in this process for a limited time alone: one that hangs is a server.
    over_http = script.fault in (Fault.HANG_HEAD, Fault.HANG_BODY) or draw.random() < 0.5
    return f"expert{number}", (script, fields, over_http)


def _amount(draw: Random, name: str) -> float:
    least, most = _LIMITS[name]
    amount = least * (most / least) ** draw.random()
    return int(amount) if name.endswith("_per_minute") else amount


def _limits(draw: Random, *, own: bool) -> dict[str, float]:
    limits = {name: _amount(draw, name) for name in _LIMITS if draw.random() < 0.4}
    return limits or ({"usd_per_month": _amount(draw, "usd_per_month")} if own else {})


def _waves(draw: Random, user: str, experts: list[str]) -> list[list[Asked]]:
    waves = draw.randint(1, 3)
    return [[_asked(draw, user, experts) for _ in range(draw.randint(1, 4))] for _ in range(waves)]


def _asked(draw: Random, user: str, experts: list[str]) -> Asked:
    said = " ".join(draw.choice(_WORDS) for _ in range(draw.randint(1, 30)))
    body: dict[str, Any] = {"model": draw.choice(("auto", "auto", *experts)), "stream": draw.random() < 0.6}
    path = draw.choice(("chat/completions", "chat/completions", "chat/completions", "completions", "messages"))
    if path == "completions":
        body["prompt"] = said
    else:
        body["messages"] = [{"role": "user", "content": said}]
    bounded = path == "messages" or draw.random() < 0.7
    if bounded:
        body["max_tokens"] = draw.choice((1, 5, 40, 100))
    if path == "messages":
        body["metadata"] = {"user_id": user}
    else:
        body["user"] = user
        if body["stream"] and draw.random() < 0.4:
            body["stream_options"] = {"include_usage": draw.random() < 0.7}
    if draw.random() < 0.2:
        body["routing"] = {"deadline_ms": draw.choice((1, 10, 40, 100))}
    leaves_after_s = draw.choice((0.0, 0.005, 0.02, 0.08)) if draw.random() < 0.25 else None
    return Asked(f"/v1/{path}", body, leaves_after_s, bounded)
