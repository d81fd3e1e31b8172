"""What an expert is by litellm's account of it: `model_info`, prices and lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pointsman.experts.spec import TEXT_CAPABILITIES, Capability
from pointsman.gateway.settings.expert import ExpertSettings
from pointsman.gateway.settings.litellm.kinds import ModelKind
from pointsman.gateway.settings.litellm.parameters import PRICES, is_other_cost, number_of, price_of
from pointsman.gateway.settings.litellm.records import Migration
from pointsman.gateway.settings.yaml_source import Path

#: Fields of ours that may stand in `model_info`, which litellm leaves to its users.
_OURS: Final = frozenset(ExpertSettings.model_fields) - {"name", "backend", "model", "base_url", "options"}

#: Fields of `model_info` that promise something.
_LOST: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("access_groups", "team_id", "team_public_model_name"),
        "is not held: auth.keys[].experts says who may ask which experts",
    ),
    "base_model": "has no counterpart: prices and windows are stated for each expert",
    "health_check_timeout": "has no counterpart: pool.probe_interval_s says how often experts are probed",
    "health_check_model": "has no counterpart: a probe asks for no answer",
    "disable_background_health_check": "has no counterpart: pool.probe_interval_s: 0 ends all probes",
    "blocked": "has no counterpart",
}

#: litellm's capability flags -> ours. Those that most servers have are taken for granted where nothing denies them.
_SUPPORTS: Final[Mapping[str, tuple[Capability, bool]]] = {
    "supports_function_calling": (Capability.TOOLS, True),
    "supports_response_schema": (Capability.JSON_SCHEMA, True),
    "supports_vision": (Capability.VISION, False),
    "supports_audio_input": (Capability.AUDIO, False),
    "supports_video_input": (Capability.VIDEO, False),
    "supports_pdf_input": (Capability.FILES, False),
}
_ENDPOINTS: Final = {
    ModelKind.COMPLETION: (Capability.COMPLETIONS, Capability.STREAMING),
    ModelKind.EMBEDDING: (Capability.EMBEDDINGS,),
    ModelKind.RERANK: (Capability.RERANK,),
}
#: Fields that are litellm's own bookkeeping, or are read one by one.
_BOOKKEEPING: Final = (
    "id mode db_model litellm_provider max_tokens max_input_tokens max_output_tokens key created_at created_by "
    "updated_at updated_by description tier supported_environments supported_endpoints supported_modalities"
)
_KNOWN: Final = frozenset(_BOOKKEEPING.split()) | frozenset(PRICES)


def description(
    kind: ModelKind, params: Mapping[str, Any], info: Mapping[str, Any], at: Path, migration: Migration
) -> dict[str, tuple[Any, Path]]:
    """Fields of an expert, each with where in the entry it comes from.

    Args:
        kind: What the model does.
        params: `litellm_params`.
        info: `model_info`.
        at: Where the entry stands.
        migration: Is told what became of each.
    """
    found: dict[str, tuple[Any, Path]] = {}
    for name, value in info.items():
        path = (*at, "model_info", name)
        if name in _OURS:
            found[name] = value, ("model_info", name)
        elif name in _LOST:
            migration.lost(path, _LOST[name])
        elif is_other_cost(name):
            migration.lost(path, "has no counterpart: prices are by token")
        elif name not in _KNOWN and not name.startswith("supports_"):
            migration.lost(path, "is unknown here, and left out")
    for branch, stated, theirs, ours in (
        ("model_info", info, "max_input_tokens", "context_window_tokens"),
        ("litellm_params", params, "max_tokens", "default_max_tokens"),
        ("model_info", info, "max_output_tokens", "default_max_tokens"),
    ):
        number = number_of(stated.get(theirs))
        if number is not None and number >= 1 and ours not in found:
            found[ours] = int(number), (branch, theirs)
            migration.became((*at, branch, theirs), f"became {ours}: {int(number)}")
    price = price_of(params, info, at, migration, writes=kind in (ModelKind.CHAT, ModelKind.COMPLETION))
    if price and "price" not in found:
        found["price"] = price, ()
    if "capabilities" not in found:
        flags = {ours for theirs, (ours, usual) in _SUPPORTS.items() if info.get(theirs, usual) is True}
        able = _ENDPOINTS.get(kind) or (*sorted(TEXT_CAPABILITIES), *sorted(flags))
        found["capabilities"] = [one.value for one in able], ("model_info",)
    return found
