"""What becomes of the parameters of a deployment (`litellm_params`, `model_info`) that are no part of reaching it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pointsman.gateway.settings.litellm.records import Migration
from pointsman.gateway.settings.yaml_source import Path

#: Parameters without counterpart -> why, and what there is.
LOST: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("rpm", "tpm", "itpm", "otpm", "rpd", "tpd", "daily_reset_time"),
        "is not held: limits are of callers (auth.keys[].limits), and max_concurrency bounds an expert's calls",
    ),
    **dict.fromkeys(
        ("default_api_key_tpm_limit", "default_api_key_rpm_limit"), "is not held: auth.keys[].limits holds such limits"
    ),
    "weight": "is not held: experts of equal worth take turns",
    **dict.fromkeys(("max_budget", "budget_duration"), "is not held: limits are of callers (auth.keys[].limits)"),
    **dict.fromkeys(
        ("max_retries", "num_retries", "retry_policy"),
        "is not held: after a failure the next expert is asked, within the share that `retries` allows",
    ),
    **dict.fromkeys(
        ("cooldown_time", "allowed_fails", "allowed_fails_policy"),
        "is not held: each expert has a circuit with times of its own",
    ),
    **dict.fromkeys(("tags", "tag_regex"), "is not held: auth.keys[].experts says who may ask which experts"),
    "configurable_clientside_auth_params": "is not held: a client never says where a request or a key goes",
    "use_in_pass_through": "is not held: every endpoint is the gateway's own",
    "timeout_by_service_tier": "is not held: an expert has one time limit",
    "stream_timeout_by_service_tier": "is not held: an expert has one time limit",
}

#: Parameters that mean nothing here and whose loss nobody notices.
SILENT: Final = frozenset(
    {"litellm_trace_id", "model_info", "id", "db_model", "litellm_credential_name", "mock_timeout"}
)

#: Fields of a request that litellm puts into every request whose client does not state them.
_BODY_FIELDS: Final = (
    "temperature top_p max_tokens max_completion_tokens n stop seed presence_penalty frequency_penalty logit_bias "
    "reasoning_effort response_format tools tool_choice user thinking top_k min_p extra_body modalities verbosity "
    "service_tier store metadata prompt_cache_key safety_identifier web_search_options"
)
BODY: Final = frozenset(_BODY_FIELDS.split())

#: Parameters that every expert has a setting for.
_WITH_SETTING: Final = (
    "model api_base base_url api_key timeout stream_timeout max_parallel_requests extra_headers organization order"
)
READ: Final = frozenset(_WITH_SETTING.split())

#: litellm's own switches; an expert that is reached directly does without.
SWITCHES: Final[Mapping[str, str]] = {
    "drop_params": "is not needed: requests pass as they are, and what the server refuses comes back to the client",
    "additional_drop_params": "is not held: requests pass as they are",
    "allowed_openai_params": "is not needed: requests pass as they are",
    "api_version": "is not sent: the server speaks OpenAI's API as it is",
    "region_name": "is not sent",
    "custom_llm_provider": "is not needed",
    "merge_reasoning_content_in_choices": "is not held: answers pass as they are",
    "use_chat_completions_api": "is not needed",
    "keepalive_seconds": "is not held",
}

#: litellm's costs per token -> our prices per million.
PRICES: Final[Mapping[str, str]] = {
    "input_cost_per_token": "input_usd_per_mtok",
    "output_cost_per_token": "output_usd_per_mtok",
    "cache_read_input_token_cost": "cached_input_usd_per_mtok",
    "cache_creation_input_token_cost": "cache_write_usd_per_mtok",
    "output_cost_per_reasoning_token": "reasoning_usd_per_mtok",
}

#: Costs of another unit.
COST_WORDS: Final = ("cost_per", "_token_cost", "token_cost_")


def is_other_cost(name: str) -> bool:
    """Whether a parameter is a cost that is not by token, or for some tokens only."""
    return name not in PRICES and any(word in name for word in COST_WORDS)


def price_of(
    params: Mapping[str, Any], info: Mapping[str, Any], at: Path, migration: Migration, *, writes: bool
) -> dict[str, float]:
    """Our list price from litellm's costs; empty where it is not known. What `litellm_params` say goes first.

    Args:
        params: `litellm_params`.
        info: `model_info`.
        at: Where the entry stands.
        migration: Is told what became of each.
        writes: Whether the model writes answers; of others the price of these is none.
    """
    found: dict[str, float] = {}
    for theirs, ours in PRICES.items():
        for branch, stated in (("litellm_params", params), ("model_info", info)):
            cost = stated.get(theirs)
            if cost is None or ours in found:
                continue
            number = number_of(cost)
            if number is None or number < 0:
                migration.problems.append(((*at, branch, theirs), "must be a number of at least 0"))
            else:
                # A price per token of 1.5e-07 is 0.15 per million, not 0.15000000000000002.
                found[ours] = round(number * 1e6, 9)
                migration.became((*at, branch, theirs), f"became price.{ours}: {found[ours]:g}")
    if not found:
        return {}
    if not writes:
        found.setdefault("output_usd_per_mtok", 0.0)
    if not {"input_usd_per_mtok", "output_usd_per_mtok"} <= found.keys():
        migration.lost(at, "its price is left out: input_cost_per_token and output_cost_per_token must both be stated")
        return {}
    return found


def number_of(value: object) -> float | None:
    """A number, also one that is written as text ("1e-6", as other YAML readers see it); None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, int | float) or value != value or abs(value) == float("inf"):
        return None
    return float(value)
