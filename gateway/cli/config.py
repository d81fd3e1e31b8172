"""`pointsman check-config` and `pointsman config-schema`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pointsman.gateway.settings import Settings

EMPTY_POOL = "the pool is empty: name at least one expert under pool.experts or pool.model_list"


@click.command("check-config")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--keys", is_flag=True, help="Also check that every key and variable the file refers to is there.")
def check_config(file: Path, *, keys: bool) -> None:
    """Check a settings file and say everything that is wrong with it.

    Exits with 1 when something is.
    """
    from pointsman.gateway.settings import SettingsError
    from pointsman.gateway.settings.load import read_settings

    try:
        loaded = read_settings(file, os.environ, elsewhere=not keys)
        settings = loaded.settings
        if not settings.pool.experts:
            raise SettingsError([EMPTY_POOL, *loaded.warnings], str(file))
        if keys:
            _check_keys(settings)
        known = _artifact_experts(settings)
    except SettingsError as error:
        click.echo(str(error), err=True)
        raise SystemExit(1) from None
    experts = settings.pool.experts
    click.echo(f"{file}: OK")
    for expert in experts:
        click.echo(f"  {expert.name}: {expert.backend}{f' at {expert.base_url}' if expert.base_url else ''}")
    click.echo(f"  time limits: {_time_limits(settings)}")
    for name, alias in settings.aliases.items():
        click.echo(f"  {name}: alias of {', '.join(alias.experts)}")
    for sentence in loaded.warnings:
        click.echo(f"  warning: {sentence}")
    # The artefact that ships knows its own small experts alone; everybody else's go by card and size there.
    known = frozenset() if settings.router.artifact == "default" else known
    strangers = [expert.name for expert in experts if (expert.known_as or expert.name) not in known]
    if known and strangers and len(strangers) == len(experts):
        click.echo(
            f"  note: the router artefact has outcomes of none of these experts; it knows {_some(sorted(known))}. "
            "known_as names an expert as the artefact does"
        )
    elif known and strangers:
        click.echo(
            f"  note: the router artefact has no outcomes of {_some(strangers)}; known_as says what it calls them"
        )
    if not any(expert.generalist for expert in experts):
        click.echo("  note: no expert is a generalist; prompts the router is unsure of go where they score best")


def _time_limits(settings: Settings) -> str:
    """How long experts are waited for, those with limits of their own by name."""
    server = settings.server
    usual = (
        f"{server.head_timeout_s:g} s for the head of an answer, {server.expert_silence_s:g} s of silence within one"
    )
    own = [
        f"{expert.name} {expert.head_timeout_s or server.head_timeout_s:g} s and "
        f"{expert.idle_timeout_s or server.expert_silence_s:g} s"
        for expert in settings.pool.experts
        if expert.head_timeout_s is not None or expert.idle_timeout_s is not None
    ]
    return "; ".join((usual, *own))


def _artifact_experts(settings: Settings) -> frozenset[str]:
    """Load the router artefact as serving does; gives the names of the experts that it has outcomes of.

    Raises:
        SettingsError: It cannot be used.
    """
    from pointsman.gateway.settings import SettingsError
    from pointsman.routers.artifacts import load_artifact
    from pointsman.routers.errors import RouterError

    chosen = settings.router
    try:
        artifact = load_artifact(chosen.artifact, uncertain_to_generalist=chosen.uncertain_to_generalist)
    except (RouterError, OSError) as error:
        raise SettingsError([f"router.artifact: {error}"]) from None
    if settings.evidence.enabled and artifact.evidence is None:
        raise SettingsError(
            ["evidence.enabled: the router was not trained on answers; train one on a table with answers"]
        )
    return frozenset(artifact.parts.quality.experts)


def _check_keys(settings: Settings) -> None:
    """Read every key that is referred to.

    Raises:
        SettingsError: Some are not there.
    """
    from pointsman.gateway.settings import SettingsError

    problems: list[str] = []
    readers = [*(expert.api_key for expert in settings.pool.experts), *(key.key for key in settings.auth.keys)]
    readers.append(settings.auth.pepper)
    for read in readers:
        try:
            read(os.environ)
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


@click.command("config-schema")
@click.option("--markdown", is_flag=True, help="The same as a reference for people.")
def config_schema(*, markdown: bool) -> None:
    """Print the JSON schema of the settings file, for editors."""
    if markdown:
        from pointsman.gateway.cli.config_reference import reference_text

        click.echo(reference_text(), nl=False)
    else:
        click.echo(schema_text(), nl=False)


def schema_text() -> str:
    """The JSON schema as it is committed at deploy/config.schema.json."""
    from pointsman.gateway.settings import Settings

    schema = Settings.model_json_schema()
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Pointsman settings"}
    _describe_options(schema["$defs"])
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _describe_options(definitions: dict[str, Any]) -> None:
    """Say of `options` what they are for each backend."""
    from pointsman.experts.backend_registry import backend_spec, installed_backends

    cases = []
    for name in installed_backends():
        options = backend_spec(name).options.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
        definitions.update({f"{name}.{inner}": node for inner, node in options.pop("$defs", {}).items()})
        definitions[f"{name}.options"] = options
        case: dict[str, Any] = {"properties": {"options": {"$ref": f"#/$defs/{name}.options"}}}
        if options.get("required"):
            case["required"] = ["options"]
        cases.append({"if": {"properties": {"backend": {"const": name}}}, "then": case})
    definitions["ExpertSettings"]["allOf"] = cases
