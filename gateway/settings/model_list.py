"""litellm's `model_list` format, converted into experts.

Entries that name a server with OpenAI's protocol (`openai/…` with an `api_base`, `hosted_vllm/…`) are reached directly,
byte for byte. All others go through litellm. An option that cannot be honoured is an error: a limit that looks
configured but is not enforced is worse than no limit.

Format: litellm documentation, proxy server, config.yaml (`model_name`, `litellm_params`, `model_info`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from pointsman.experts.env_references import looks_secret, variable_of
from pointsman.gateway.settings.base import Node
from pointsman.gateway.settings.expert import ExpertSettings
from pointsman.gateway.settings.problems import TreeProblems, describe_items
from pointsman.gateway.settings.yaml_source import Path

#: Providers whose servers speak OpenAI's protocol, so that litellm is not needed.
_DIRECT: Final = frozenset({"hosted_vllm", "vllm_proxy", "openai", "text-completion-openai"})

#: Those of them whose servers are vLLM.
_VLLM: Final = frozenset({"hosted_vllm", "vllm_proxy"})

#: `api_key` values that people write where a server asks for no key.
_NO_KEY: Final = frozenset({"", "none", "null", "empty", "dummy", "fake", "no-key", "not-needed"})

#: Fields of `model_info` that mean something else here, or nothing: litellm's own bookkeeping.
_INFO_IGNORED: Final = frozenset({"id", "mode", "base_model", "db_model", "litellm_provider", "max_tokens"})

#: Fields of ours that may stand in `model_info`, which litellm leaves to its users.
_INFO_OURS: Final = frozenset(ExpertSettings.model_fields) - {"name", "backend", "model", "base_url", "options"}

#: litellm's capability flags -> ours.
_SUPPORTS: Final[Mapping[str, str]] = {
    "supports_function_calling": "tools",
    "supports_vision": "vision",
    "supports_audio_input": "audio",
    "supports_video_input": "video",
    "supports_pdf_input": "files",
    "supports_response_schema": "json_schema",
}

#: litellm_params that the converted expert honours by a setting of its own.
_CONVERTED: Final = frozenset(
    {
        "model",
        "api_base",
        "base_url",
        "api_key",
        "timeout",
        "stream_timeout",
        "max_parallel_requests",
        "extra_headers",
        "input_cost_per_token",
        "output_cost_per_token",
    }
)

#: litellm_params that promise a limit or a balance which a single expert does not hold.
_NOT_HELD: Final = frozenset(
    {"rpm", "tpm", "weight", "order", "max_budget", "budget_duration", "max_retries", "num_retries"}
)


class ModelListEntry(Node):
    """One entry of litellm's `model_list`."""

    model_name: str = Field(min_length=1)
    """The expert's name."""
    litellm_params: dict[str, Any]
    """`model` (with litellm's provider prefix), `api_base`, `api_key` (`os.environ/NAME`), `timeout`, costs per token,
    and whatever else litellm's completion call takes."""
    model_info: dict[str, Any] = Field(default_factory=dict)
    """litellm's description of the model; fields of an expert such as `card`, `latency`, `energy`, `generalist`,
    `params_total_b` or `capabilities` may stand here, too."""

    @field_validator("model_name")
    @classmethod
    def _no_wildcard(cls, value: str) -> str:
        if "*" in value:
            raise ValueError("wildcards are not supported: name every expert, so that each can be judged")
        return value

    @model_validator(mode="after")
    def _convertible(self) -> Self:
        self.expert()
        return self

    def expert(self) -> ExpertSettings:
        """The expert this entry describes.

        Raises:
            TreeProblems: The entry cannot be converted; paths are relative to the entry.
        """
        problems: list[tuple[Path, str]] = []
        fields: dict[str, Any] = {"name": self.model_name}
        fields |= self._from_params(problems)
        fields |= self._from_info(problems)
        if problems:
            raise TreeProblems(problems)
        try:
            return ExpertSettings.model_validate(fields)
        except ValidationError as error:
            raise TreeProblems(
                [(self._origin(path), text) for path, text in describe_items(error, ExpertSettings)]
            ) from error

    def _origin(self, path: Path) -> Path:
        """Where in the entry a field of the expert came from."""
        if not path:
            return ()
        head = str(path[0])
        if head in self.model_info:
            return ("model_info", *path)
        params = {
            "model": "model",
            "base_url": "api_base",
            "headers": "extra_headers",
            "max_concurrency": "max_parallel_requests",
        }
        if head in params:
            return ("litellm_params", params[head], *path[1:])
        return ("model_name",) if head == "name" else path

    def _from_params(self, problems: list[tuple[Path, str]]) -> dict[str, Any]:
        params = self.litellm_params
        at = "litellm_params"
        model = params.get("model")
        if not isinstance(model, str) or not model:
            problems.append(((at, "model"), "is missing"))
            return {}
        base_url = params.get("api_base", params.get("base_url"))
        provider, _, bare = model.partition("/")
        direct = provider in _DIRECT and bool(bare) and (base_url is not None or provider == "hosted_vllm")
        if direct and base_url is None:
            problems.append(((at, "api_base"), f"is missing: {provider} needs to know where the server is"))
        fields: dict[str, Any] = {
            "backend": "openai_http" if direct else "litellm",
            "model": bare if direct else model,
        }
        if direct and provider in _VLLM:
            fields["cache_salt"] = True
        if base_url is not None:
            fields["base_url"] = base_url
        self._key(params.get("api_key"), fields, problems)
        for ours, theirs in (("head_timeout_s", "timeout"), ("idle_timeout_s", "stream_timeout")):
            if params.get(theirs) is not None:
                fields[ours] = params[theirs]
        if params.get("max_parallel_requests") is not None:
            fields["max_concurrency"] = params["max_parallel_requests"]
        if params.get("extra_headers") is not None:
            fields["headers"] = params["extra_headers"]
        rest: dict[str, Any] = {}
        for name, value in params.items():
            if name in _CONVERTED:
                continue
            if name in _NOT_HELD:
                problems.append(((at, name), "is not held by this gateway; leave it out"))
            elif direct:
                problems.append(
                    (
                        (at, name),
                        f"cannot be honoured: {model} is reached directly, and requests pass through unchanged",
                    )
                )
            elif looks_secret(name) and variable_of(value) is None:
                problems.append(((at, name), "secrets never stand in the file; write os.environ/NAME"))
            else:
                rest[name] = value
        if rest:
            fields["options"] = {"params": rest}
        return fields

    def _key(self, key: Any, fields: dict[str, Any], problems: list[tuple[Path, str]]) -> None:
        if key is None or (isinstance(key, str) and key.lower() in _NO_KEY):
            return
        variable = variable_of(key)
        if variable is None:
            problems.append((("litellm_params", "api_key"), "secrets never stand in the file; write os.environ/NAME"))
        else:
            fields["api_key_env"] = variable

    def _from_info(self, problems: list[tuple[Path, str]]) -> dict[str, Any]:
        info = self.model_info
        fields: dict[str, Any] = {}
        known = _INFO_OURS | _INFO_IGNORED | set(_SUPPORTS)
        known |= {"input_cost_per_token", "output_cost_per_token", "max_input_tokens", "max_output_tokens"}
        for name, value in info.items():
            if name in _INFO_OURS:
                fields[name] = value
            elif name not in known and not name.startswith("supports_"):
                problems.append((("model_info", name), "unknown key"))
        if info.get("max_input_tokens") is not None:
            fields.setdefault("context_window_tokens", info["max_input_tokens"])
        self._price(fields, problems)
        supported = [ours for theirs, ours in _SUPPORTS.items() if info.get(theirs) is True]
        if supported and "capabilities" not in fields:
            fields["capabilities"] = ["chat", "completions", "streaming", *supported]
        return fields

    def _price(self, fields: dict[str, Any], problems: list[tuple[Path, str]]) -> None:
        per_token = [
            self.litellm_params.get(name, self.model_info.get(name))
            for name in ("input_cost_per_token", "output_cost_per_token")
        ]
        if "price" in fields or all(cost is None for cost in per_token):
            return
        numbers = [float(cost) for cost in per_token if isinstance(cost, int | float) and not isinstance(cost, bool)]
        if len(numbers) < 2:
            problems.append((("model_info",), "input_cost_per_token and output_cost_per_token must both be numbers"))
            return
        # A price per token of 1.5e-07 is 0.15 per million, not 0.15000000000000002.
        per_mtok = [round(cost * 1e6, 9) for cost in numbers]
        fields["price"] = {"input_usd_per_mtok": per_mtok[0], "output_usd_per_mtok": per_mtok[1]}
