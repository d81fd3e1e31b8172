"""The settings as a Markdown reference, made from the same descriptions as the JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from pointsman.experts.backend_registry import backend_spec, installed_backends
from pointsman.gateway.settings import Settings

#: Where each model stands in the file, in the order of the page.
_SECTIONS = {
    "ServerSettings": "server",
    "AuthSettings": "auth",
    "KeySettings": "auth.keys[]",
    "LimitSettings": "auth.keys[].limits",
    "TenantSettings": "auth.tenants.*",
    "AdminSettings": "admin",
    "PoolSettings": "pool",
    "ExpertSettings": "pool.experts[]",
    "PriceSettings": "pool.experts[].price",
    "LatencySettings": "pool.experts[].latency",
    "EnergySettings": "pool.experts[].energy",
    "ModelListEntry": "pool.model_list[]",
    "AliasSettings": "aliases.*",
    "RouterSettings": "router",
    "BudgetSettings": "budgets",
    "WeightSettings": "budgets.weights",
    "AverageBudgetSettings": "average_budgets",
    "CacheSettings": "cache",
    "DecisionCacheSettings": "cache.decisions",
    "ConversationSettings": "conversations",
    "NullExpertSettings": "null_experts",
    "ConstantsSettings": "null_experts.constants",
    "ConstantSettings": "null_experts.constants.entries[]",
    "RefusalSettings": "null_experts.refusal",
    "TopicSettings": "null_experts.refusal.topics[]",
    "AnswerCacheSettings": "null_experts.answers",
    "SafetySettings": "safety",
    "EvidenceSettings": "evidence",
    "LearningSettings": "learning",
    "ExplorationSettings": "learning.exploration",
    "AdmissionSettings": "admission",
    "TenantShareSettings": "admission.tenants.*",
    "RetrySettings": "retries",
    "HedgingSettings": "hedging",
    "RedisSettings": "redis",
    "LedgerSettings": "ledger",
}


def reference_text() -> str:
    """One table per branch of the tree, then one per backend's options."""
    schema = Settings.model_json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    models = {name for name, node in definitions.items() if node.get("type") == "object"}
    parts: list[str] = []
    for name in [*_SECTIONS, *sorted(models - set(_SECTIONS))]:
        parts += _section(f"## `{_SECTIONS.get(name, name)}`", definitions[name], definitions)
    for name in installed_backends():
        parts += _options(name, backend_spec(name).options)
    return "\n".join(parts)


def _options(backend: str, model: type[BaseModel]) -> Iterator[str]:
    schema = model.model_json_schema()
    yield from _section(f"## `options` of backend `{backend}`", schema, schema.get("$defs", {}))


def _section(heading: str, node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        heading,
        "",
        _line(node.get("description", "")),
        "",
        "| key | value | default | meaning |",
        "|---|---|---|---|",
    )
    required = set(node.get("required", ()))
    for key, field in node["properties"].items():
        default = "required" if key in required else _default(field)
        yield f"| `{key}` | {_type(field, definitions)} | {default} | {_line(field.get('description', ''))} |"
    yield ""


def _line(text: str) -> str:
    """Prose in one line of a table."""
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")


def _default(field: Mapping[str, Any]) -> str:
    default = field.get("default")
    if default is None or (isinstance(default, dict) and default):
        return ""
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def _type(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[1]
        target = definitions[name]
        return _values(target["enum"]) if "enum" in target else "mapping"
    if "anyOf" in field:
        return " or ".join(_type(part, definitions) for part in field["anyOf"] if part.get("type") != "null")
    if "enum" in field:
        return _values(field["enum"])
    kind = field.get("type")
    if kind == "array":
        return f"list of {_type(field.get('items', {}), definitions)}"
    if kind == "object":
        return "mapping"
    if kind in {"integer", "number"}:
        return ("whole number" if kind == "integer" else "number") + _bounds(field)
    if kind == "boolean":
        return "true or false"
    if field.get("format") in {"path", "date"}:
        return str(field["format"])
    return "text"


def _values(values: list[Any]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _bounds(field: Mapping[str, Any]) -> str:
    low = field.get("minimum", field.get("exclusiveMinimum"))
    sign = "≥" if "minimum" in field else ">"
    parts = [f"{sign} {low:g}"] if low is not None else []
    if "maximum" in field:
        parts.append(f"≤ {field['maximum']:g}")
    return f" {', '.join(parts)}" if parts else ""
