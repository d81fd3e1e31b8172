"""`pointsman route`: decide here, without a server, and explain the decision."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from gateway.settings import Settings
    from routers.types import Decision

_NO_EXPERT: Final = 2


def _read_weights(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """`--weight name=value`, any number of times."""
    if not values:
        return {}
    from routers.types import Weights

    names = [weight.name for weight in fields(Weights)]
    weights: dict[str, float] = {}
    for value in values:
        name, equals, number = value.partition("=")
        if not equals or name not in names:
            known = ", ".join(f"{weight}=NUMBER" for weight in names)
            raise click.BadParameter(f"{value!r} is not one of {known}", ctx, param)
        try:
            weights[name] = float(number)
        except ValueError:
            raise click.BadParameter(f"{number!r} is not a number", ctx, param) from None
    return weights


@click.command("route")
@click.argument("text")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; without it, the embedded default pool.")
@click.option("--max-ttft-ms", type=float, help="Hard cap on the time to first token in milliseconds.")
@click.option("--max-latency-ms", type=float, help="Hard cap on the whole answer's latency in milliseconds.")
@click.option("--max-energy-j", type=float, help="Hard cap on the energy of the call in joules.")
@click.option("--max-cost-usd", type=float, help="Hard cap on the cost of the call in US dollars.")
@click.option("--min-quality", type=float, help="Least predicted quality, 0 to 1.")
@click.option("--max-tokens", type=click.IntRange(1), help="Longest answer, as a request would state it.")
@click.option(
    "--weight", "weights", multiple=True, callback=_read_weights, help="Price of a constraint, such as energy=0.5."
)
@click.option("--local-only", is_flag=True, help="Only experts on your own hardware.")
@click.option("--json", "as_json", is_flag=True, help="The decision as JSON, as POST /v1/route answers it.")
def route(text: str, config: Path | None, max_tokens: int | None, weights: dict[str, float], **options: Any) -> None:
    """Decide who would answer TEXT, and say why every other expert would not.

    The experts count as healthy and idle: nothing is called. TEXT may be `-` for standard input. Exits with 2 when no
    expert is admissible.
    """
    as_json, local_only = options.pop("as_json"), options.pop("local_only")
    routing = {name: value for name, value in options.items() if value is not None}
    if weights:
        routing["weights"] = weights
    if local_only:
        routing["local_only"] = True
    if text == "-":
        text = sys.stdin.read()
    decision = _decide(_settings(config), text, routing, max_tokens)
    if as_json:
        from gateway.cache import Hit
        from gateway.wire.decision import decision_to_dict

        shown = {**decision_to_dict(decision), "cache": Hit.BYPASS.value}
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        from gateway.cli.explanation import print_decision

        print_decision(decision)
    if decision.expert is None:
        raise SystemExit(_NO_EXPERT)


def _settings(config: Path | None) -> Settings:
    from gateway.settings import SettingsError, load_settings

    try:
        return load_settings(config, os.environ)
    except SettingsError as error:
        click.echo(str(error), err=True)
        raise SystemExit(1) from None


def _decide(settings: Settings, text: str, routing: dict[str, Any], max_tokens: int | None) -> Decision:
    """The way of a request through the gateway, as far as the decision."""
    from experts.protocols import Endpoint
    from experts.spec import PoolView
    from gateway.answer_cache import AnswerCache
    from gateway.errors import RequestRefused
    from gateway.ids import DecisionIds
    from gateway.null_experts import NullExperts, null_expert
    from gateway.safety import safety_gate
    from gateway.wire.budget import parse_budget
    from gateway.wire.caching import Caching
    from gateway.wire.flags import take_flags
    from gateway.wire.request import AUTO, parse_inbound
    from routers.artifacts import load_router
    from routers.errors import RouterError
    from routers.types import RouteRequest

    body: dict[str, Any] = {"model": AUTO, "messages": [{"role": "user", "content": text}]}
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    try:
        inbound = parse_inbound(Endpoint.CHAT, json.dumps(body).encode())
        budget, _ = parse_budget(routing or None, {}, settings.budgets.budget())
        if settings.router.flags:
            budget = take_flags(inbound, budget)
        router = load_router(settings.router.artifact, uncertain_to_generalist=settings.router.uncertain_to_generalist)
    except RequestRefused as error:
        raise click.ClickException(_as_option(error.message, error.param)) from None
    except RouterError as error:
        raise click.ClickException(str(error)) from None
    request = RouteRequest(
        id=DecisionIds().new(),
        text=inbound.text,
        prompt_tokens=inbound.prompt_tokens,
        max_completion_tokens=inbound.max_completion_tokens,
        required=inbound.required,
        budget=budget,
    )
    # No answer is kept here, and the dial is idle.
    chosen = settings.null_experts.model_copy(update={"share": 1.0})
    safety = safety_gate(settings, router.embedder)
    nulls = NullExperts(chosen, router.embedder, AnswerCache(entries=1, ttl_s=1, store=None), safety)
    asked = asyncio.run(nulls.ask(inbound, "", Caching(read=False, keep=False)))
    assessment = router.assess(request)
    specs = [expert.spec() for expert in settings.pool.experts] + [
        null_expert(kind).spec for kind in settings.null_kinds
    ]
    allowed = None if asked.safety is None else asked.safety.allowed
    request = replace(request, offers=nulls.offers(asked, assessment), allowed=allowed)
    return router.select(assessment, request, PoolView.of(*specs))


def _as_option(message: str, param: str | None) -> str:
    """The error of a body's field as that of the option it came from."""
    if param is None or not param.startswith("routing."):
        return message
    field = param.removeprefix("routing.")
    weight = field.removeprefix("weights.")
    option = f"--weight {weight}" if weight != field else f"--{field.replace('_', '-')}"
    return message.replace(param, option, 1)
