"""Sections of a file in litellm's shape beside its models: which there are, and why most have no counterpart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: By which a file is known to be litellm's, where it names no experts of ours.
KNOWN_BY: Final = frozenset({"model_list", "general_settings", "litellm_settings", "router_settings"})

#: Sections that are read.
READ: Final = KNOWN_BY | {"environment_variables", "include", "credential_list"}

_LOGS = "has no counterpart: see /metrics, ledger.path and /v1/decisions"
_GUARDS = "has no counterpart: see safety and null_experts.refusal for what is refused here"
_DATABASE = "has no counterpart: keys and limits stand in auth.keys, and no database is used"
_CIRCUIT = "has no counterpart: each expert has a circuit with times of its own"
_TEAMS = "has no counterpart: auth.keys and auth.tenants say who may ask what, and how much"
_RETRIES = "has no counterpart: after a failure the next expert is asked, within the share that `retries` allows"
_TURNS = "has no counterpart: the router chooses by quality, load and budgets, and experts of equal worth take turns"

#: Whole sections -> what there is instead.
SECTIONS: Final[Mapping[str, str]] = {
    "guardrails": _GUARDS,
    "policies": _GUARDS,
    "policy_attachments": _GUARDS,
    "prompts": "has no counterpart: requests pass as they are",
    "callback_settings": _LOGS,
    "mcp_servers": "has no counterpart: tools are the client's or the expert's",
    "mcp_tools": "has no counterpart: tools are the client's or the expert's",
    "search_tools": "has no counterpart: tools are the client's or the expert's",
    "sandbox_tools": "has no counterpart: tools are the client's or the expert's",
    "finetune_settings": "has no counterpart: there is no such endpoint",
    "files_settings": "has no counterpart: there is no such endpoint",
    "batch_settings": "has no counterpart: there is no such endpoint",
    "assistant_settings": "has no counterpart: there is no such endpoint",
    "vector_store_registry": "has no counterpart: there is no such endpoint",
    "agent_list": "has no counterpart: experts are models",
}

#: Settings of `general_settings`, `litellm_settings` and `router_settings` -> what there is instead.
SETTINGS: Final[Mapping[str, str]] = {
    # Who may call
    "database_url": _DATABASE,
    "database_connection_pool_limit": _DATABASE,
    "database_connection_timeout": _DATABASE,
    "database_type": _DATABASE,
    "database_args": _DATABASE,
    "allow_requests_on_db_unavailable": _DATABASE,
    "store_model_in_db": "has no counterpart: experts stand in the file, which a reload (SIGHUP) reads again",
    "custom_auth": "has no counterpart: something in front may check callers (auth.allow_anonymous)",
    "enable_jwt_auth": "has no counterpart: something in front may check callers (auth.allow_anonymous)",
    "litellm_jwtauth": "has no counterpart: something in front may check callers (auth.allow_anonymous)",
    "enable_oauth2_auth": "has no counterpart: something in front may check callers (auth.allow_anonymous)",
    "key_management_system": "has no counterpart: secrets come from the environment or from files",
    "key_management_settings": "has no counterpart: secrets come from the environment or from files",
    "max_parallel_requests": "has no counterpart: max_concurrency bounds an expert's calls",
    "global_max_parallel_requests": "has no counterpart: max_concurrency bounds an expert's calls",
    "default_max_parallel_requests": "has no counterpart: max_concurrency bounds an expert's calls",
    "max_budget": "has no counterpart: limits are of callers (auth.keys[].limits)",
    "budget_duration": "has no counterpart: limits are of callers (auth.keys[].limits)",
    "default_team_settings": _TEAMS,
    "default_internal_user_params": _TEAMS,
    "default_user_params": _TEAMS,
    "max_internal_user_budget": _TEAMS,
    "upperbound_key_generate_params": _TEAMS,
    "default_key_generate_params": _TEAMS,
    "default_team_params": _TEAMS,
    "enforce_user_param": "has no counterpart",
    "allowed_ips": "has no counterpart: something in front may look at addresses",
    "ui_access_mode": "has no counterpart: there is no user interface",
    "proxy_batch_write_at": _DATABASE,
    "disable_spend_logs": _DATABASE,
    "max_request_size_mb": "has no counterpart: see server.max_body_bytes",
    "max_response_size_mb": "has no counterpart: see server.max_answer_bytes",
    "pass_through_endpoints": "has no counterpart: every endpoint is the gateway's own",
    "completion_model": 'has no counterpart: an alias "*" stands for whatever else is asked for',
    "infer_model_from_keys": "has no counterpart: every expert is named",
    "forward_client_headers_to_llm_api": "has no counterpart: server.forward_headers names the headers that travel on",
    "background_health_checks": "has no counterpart: experts are probed (pool.probe_interval_s)",
    "health_check_interval": "has no counterpart: see pool.probe_interval_s",
    "alerting": _LOGS,
    "alerting_threshold": _LOGS,
    "alert_types": _LOGS,
    # What is logged
    "callbacks": _LOGS,
    "success_callback": _LOGS,
    "failure_callback": _LOGS,
    "service_callbacks": _LOGS,
    "service_callback": _LOGS,
    "turn_off_message_logging": "is not needed: no text of a request is logged",
    "redact_user_api_key_info": "is not needed: no key is logged",
    "redact_messages_in_exceptions": "is not needed: no text of a request is logged",
    "set_verbose": "has no counterpart: see serve --log-level",
    "json_logs": "has no counterpart",
    "telemetry": "is not needed: nothing is reported to anybody",
    "require_auth_for_metrics_endpoint": "is not needed: with keys, /metrics wants one of the role metrics or operator",
    # What is cached
    "cache": "is left out: null_experts.answers keeps answers, where it is switched on",
    "caching": "is left out: null_experts.answers keeps answers, where it is switched on",
    "cache_responses": "is left out: null_experts.answers keeps answers, where it is switched on",
    "enable_caching_on_provider_specific_optional_params": "is left out with the cache",
    # How it is routed
    "routing_strategy": _TURNS,
    "routing_strategy_args": _TURNS,
    "enable_pre_call_checks": "is not needed: an expert whose window is too small is never asked",
    "optional_pre_call_checks": "has no counterpart",
    "enable_tag_filtering": "has no counterpart: auth.keys[].experts says who may ask which experts",
    "tag_filtering_match_any": "has no counterpart: auth.keys[].experts says who may ask which experts",
    "num_retries": _RETRIES,
    "max_retries": _RETRIES,
    "retry_after": _RETRIES,
    "retry_policy": _RETRIES,
    "model_group_retry_policy": _RETRIES,
    "num_retries_per_request": _RETRIES,
    "max_fallbacks": "has no counterpart: see server.max_attempts",
    "allowed_fails": _CIRCUIT,
    "allowed_fails_policy": _CIRCUIT,
    "cooldown_time": _CIRCUIT,
    "disable_cooldowns": _CIRCUIT,
    "provider_budget_config": "has no counterpart: see average_budgets, and limits of callers (auth.keys[].limits)",
    "content_policy_fallbacks": "has no counterpart: an expert's refusal is the answer",
    "modify_params": "is not held: requests pass as they are",
    "force_ipv4": "has no counterpart",
    "ssl_verify": "has no counterpart here: see options.verify_tls and options.tls_ca_file of an expert",
    "default_litellm_params": "has no counterpart: parameters stand with each model",
}

UNKNOWN: Final = "is unknown here, and left out"
