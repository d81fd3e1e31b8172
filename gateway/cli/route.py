"""`pointsman route`: decide here, without a server, and explain the decision."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pointsman.routers.budget import CAPS, WEIGHTS, Cap

if TYPE_CHECKING:
    from pointsman.gateway.settings import Settings
    from pointsman.routers.types import Decision

_NO_EXPERT: Final = 2


def cap_options(caps: Iterable[Cap] = CAPS) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """One option per cap; the parser of a request's budget judges the values."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for cap in reversed(tuple(caps)):
            command = click.option(cap.option, type=float, help=cap.help)(command)
        return command

    return decorate


def _read_weights(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """`--weight name=value`, any number of times."""
    if not values:
        return {}
    names = [weight.name for weight in WEIGHTS]
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
@cap_options()
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
    if any("\ud800" <= one <= "\udfff" for one in text):
        raise click.ClickException("TEXT is not UTF-8")
    if text == "-":
        text = _standard_input()
    decision = _decide(_settings(config), text, routing, max_tokens)
    if as_json:
        from pointsman.gateway.wire.caching import CacheStatus
        from pointsman.gateway.wire.decision import decision_to_dict

        shown = {**decision_to_dict(decision), "cache": CacheStatus.BYPASS.value}
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        from pointsman.gateway.cli.explanation import print_decision

        print_decision(decision)
    if decision.expert is None:
        raise SystemExit(_NO_EXPERT)


def _standard_input() -> str:
    """All of standard input.

    Raises:
        ClickException: It is not UTF-8.
    """
    told = sys.stdin.buffer.read()
    try:
        return told.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = told.count(b"\n", 0, error.start) + 1
        raise click.ClickException(f"standard input is not UTF-8 ({error.reason}, line {line})") from None


def _settings(config: Path | None) -> Settings:
    from pointsman.gateway.settings import SettingsError, load_settings

    try:
        return load_settings(config, os.environ)
    except SettingsError as error:
        click.echo(str(error), err=True)
        raise SystemExit(1) from None


def _decide(settings: Settings, text: str, routing: dict[str, Any], max_tokens: int | None) -> Decision:
    """The way of a request through the gateway, as far as the decision."""
    from pointsman.experts.spec import PoolView
    from pointsman.gateway.deciding.null_experts import NullExperts, null_expert
    from pointsman.gateway.deciding.offline import OfflineRequest
    from pointsman.gateway.deciding.safety import safety_gate
    from pointsman.gateway.errors import RequestRefused
    from pointsman.gateway.shared.answer_cache import AnswerCache
    from pointsman.gateway.wire.caching import CacheControl
    from pointsman.routers.artifacts import load_router
    from pointsman.routers.errors import RouterError

    chat: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
    if max_tokens is not None:
        chat["max_tokens"] = max_tokens
    try:
        read = OfflineRequest.read(chat, routing, settings.budgets.budget(), flags=settings.router.flag_positions)
        router = load_router(settings.router.artifact, uncertain_to_generalist=settings.router.uncertain_to_generalist)
    except RequestRefused as error:
        raise click.ClickException(_as_option(error.message, error.param)) from None
    except RouterError as error:
        raise click.ClickException(str(error)) from None
    # No answer is kept here, and the dial is idle.
    chosen = settings.null_experts.model_copy(update={"share": 1.0})
    safety = safety_gate(settings, router.embedder)
    nulls = NullExperts(chosen, router.embedder, AnswerCache(entries=1, ttl_s=1, store=None), safety)
    asked = asyncio.run(nulls.ask(read.inbound, "", CacheControl(read=False, keep=False)))
    assessment = read.assess(router)
    specs = [expert.spec() for expert in settings.pool.experts] + [
        null_expert(kind).spec for kind in settings.null_kinds
    ]
    allowed = None if asked.safety is None else asked.safety.allowed
    request = replace(read.request, offers=nulls.offers(asked, assessment), allowed=allowed)
    return router.select(assessment, request, PoolView.of(*specs))


def _as_option(message: str, param: str | None) -> str:
    """The error of a body's field as that of the option it came from."""
    if param is None or not param.startswith("routing."):
        return message
    field = param.removeprefix("routing.")
    weight = field.removeprefix("weights.")
    option = f"--weight {weight}" if weight != field else f"--{field.replace('_', '-')}"
    return message.replace(param, option, 1)
