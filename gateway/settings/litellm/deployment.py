"""One entry of litellm's `model_list` -> the settings of one expert.

Entries that name a server with OpenAI's protocol (`openai/…` with an `api_base`, `hosted_vllm/…`) are reached directly,
byte for byte, unless they have parameters that only litellm adds to a request. All others go through litellm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from pointsman.experts.env_references import looks_secret
from pointsman.gateway.settings.aliases import ANY
from pointsman.gateway.settings.expert import ExpertSettings
from pointsman.gateway.settings.litellm.description import description
from pointsman.gateway.settings.litellm.kinds import ModelKind, kind_of
from pointsman.gateway.settings.litellm.parameters import (
    BODY,
    LOST,
    PRICES,
    READ,
    SILENT,
    SWITCHES,
    is_other_cost,
    number_of,
)
from pointsman.gateway.settings.litellm.records import Migration, is_no_key, reference_of
from pointsman.gateway.settings.problems import describe_items
from pointsman.gateway.settings.yaml_source import Path

#: Providers whose servers speak OpenAI's protocol, so that litellm is not needed.
_DIRECT: Final = frozenset(
    {"hosted_vllm", "vllm_proxy", "openai", "text-completion-openai", "openai_like", "custom_openai", "litellm_proxy"}
    | {"lm_studio", "llamafile", "xinference"}
)

#: Those of them whose servers are vLLM.
_VLLM: Final = frozenset({"hosted_vllm", "vllm_proxy"})

#: Where providers embed with OpenAI's protocol, and the usual variable of a key.
_EMBEDDERS: Final[Mapping[str, tuple[str, str]]] = {
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "mistral": ("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "voyage": ("https://api.voyageai.com/v1", "VOYAGE_API_KEY"),
    "together_ai": ("https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    "jina_ai": ("https://api.jina.ai/v1", "JINA_AI_API_KEY"),
}
#: Those of them that rerank under `/rerank`, too.
_RERANKERS: Final = {name: _EMBEDDERS[name] for name in ("voyage", "together_ai", "jina_ai")}


@dataclass(frozen=True, slots=True)
class ModelDeployment:
    """What one entry became.

    Attributes:
        path: Of the entry.
        name: What clients call it, with a `*` for any text.
        fields: Of the expert, all but its name.
        order: Which of several is asked first; None where it is not stated.
        origins: Field of the expert -> where in the entry it comes from.
    """

    path: Path
    name: str
    fields: dict[str, Any]
    order: float | None
    origins: Mapping[str, Path]

    def problems(self, name: str) -> list[tuple[Path, str]]:
        """What is wrong with it as an expert of that name, with the paths of the file."""
        fields = self.fields
        if str(fields.get("base_url", "")).startswith("${"):
            # What the environment says is seen later.
            fields = {**fields, "base_url": "http://localhost/v1"}
        try:
            ExpertSettings.model_validate({"name": name, **fields})
        except ValidationError as error:
            return [(self.origin(path), text) for path, text in describe_items(error, ExpertSettings)]
        return []

    def origin(self, path: Path) -> Path:
        """Where in the file a field of the expert comes from."""
        head = str(path[0]) if path else ""
        if head == "name":
            return (*self.path, "model_name")
        return (*self.path, *self.origins.get(head, (head,) if head else ()), *path[1:])


@dataclass(frozen=True, slots=True)
class DeploymentContext:
    """What holds for all deployments of a file.

    Attributes:
        params: Further parameters of those that go through litellm.
        credentials: Name of each -> parameters that it stands for.
    """

    params: Mapping[str, Any]
    credentials: Mapping[str, Mapping[str, Any]]


def deployment(entry: object, at: Path, migration: Migration, defaults: DeploymentContext) -> ModelDeployment | None:
    """What becomes of an entry; None where nothing does, which the migration knows."""
    if not isinstance(entry, dict):
        migration.problems.append((at, "must be a mapping with model_name and litellm_params"))
        return None
    name, info = entry.get("model_name"), entry.get("model_info") or {}
    params: Any = entry.get("litellm_params")
    wrong = [
        ((*at, "model_name"), "is missing" if name is None else "must be text")
        for _ in (0,)
        if not isinstance(name, str) or not name.strip()
    ]
    if not isinstance(params, dict):
        wrong.append(((*at, "litellm_params"), "is missing" if params is None else "must be a mapping"))
    elif not isinstance(params.get("model"), str) or not params["model"].strip():
        wrong.append(
            ((*at, "litellm_params", "model"), "is missing" if params.get("model") is None else "must be text")
        )
    if not isinstance(info, dict):
        wrong.append(((*at, "model_info"), "must be a mapping"))
    if wrong:
        migration.problems += wrong
        return None
    for key, value in entry.items():
        if key not in ("model_name", "litellm_params", "model_info"):
            migration.lost((*at, key), LOST.get(key, "is unknown here, and left out"))
            params = {**params, key: value} if key == "order" else params
    return _Conversion(str(name).strip(), _with_credential(params, at, migration, defaults), info, at, migration).made(
        defaults
    )


def _with_credential(
    params: dict[str, Any], at: Path, migration: Migration, defaults: DeploymentContext
) -> dict[str, Any]:
    named = params.get("litellm_credential_name")
    if named is None:
        return params
    found = defaults.credentials.get(named) if isinstance(named, str) else None
    if found is None:
        migration.problems.append(((*at, "litellm_params", "litellm_credential_name"), "is not in credential_list"))
        return params
    migration.became((*at, "litellm_params", "litellm_credential_name"), "its values stand in the expert")
    return {**found, **params}


class _Conversion:
    """One entry on its way."""

    def __init__(self, name: str, params: dict[str, Any], info: dict[str, Any], at: Path, migration: Migration) -> None:
        self._name = name
        self._params = params
        self._info = info
        self._at = at
        self._to = migration
        self._fields: dict[str, Any] = {}
        self._origins: dict[str, Path] = {}
        model = str(params["model"]).strip()
        provider = params.get("custom_llm_provider")
        if isinstance(provider, str) and provider and not model.startswith(f"{provider}/"):
            model = f"{provider}/{model}"
        self._model = model
        self._provider, _, self._bare = model.partition("/")

    def made(self, defaults: DeploymentContext) -> ModelDeployment | None:
        kind, why = kind_of(self._model, self._name, self._info)
        if kind is ModelKind.OTHER:
            self._to.lost(self._at, f"'{self._name}' is left out: its model neither chats, embeds nor reranks ({why})")
            return None
        if ANY in self._model and ANY not in self._name:
            self._to.lost(self._at, f"'{self._name}' is left out: its model has a * and its name has none")
            return None
        if self._model == ANY:
            self._to.lost(
                self._at,
                f"'{self._name}' is left out: clients would choose the provider. Name providers, such as openai/*",
            )
            return None
        if not self._reached(kind, defaults):
            return None
        self._key()
        self._times()
        self._limits()
        for field, (value, origin) in description(kind, self._params, self._info, self._at, self._to).items():
            self._set(field, value, *map(str, origin))
        if kind is not ModelKind.CHAT:
            self._to.became(self._at, f"serves {' and '.join(self._fields['capabilities'])} alone ({why})")
        order = number_of(self._params.get("order"))
        return ModelDeployment(self._at, self._name, self._fields, order, self._origins)

    def _set(self, field: str, value: Any, *origin: str) -> None:
        self._fields[field] = value
        self._origins[field] = origin

    def _reached(self, kind: ModelKind, defaults: DeploymentContext) -> bool:
        """Say how it is reached; whether there is a way."""
        params, rest = self._params, {name: value for name, value in self._params.items() if name not in READ}
        base = params.get("api_base") or params.get("base_url")
        where = "api_base" if params.get("api_base") else "base_url"
        body = sorted(name for name in rest if name in BODY)
        direct = self._provider in _DIRECT and bool(self._bare) and (base is not None or self._provider in _VLLM)
        if kind in (ModelKind.EMBEDDING, ModelKind.RERANK) and not direct:
            provider = self._provider if self._bare else "openai"
            known = _EMBEDDERS if kind is ModelKind.EMBEDDING else _RERANKERS
            usual = None if base is not None and provider != "openai" else known.get(provider)
            if usual is not None:
                base, direct = base or usual[0], True
                self._bare = self._bare or self._model
                params.setdefault("api_key", f"os.environ/{usual[1]}")
            elif kind is ModelKind.RERANK:
                self._to.lost(self._at, f"'{self._name}' is left out: nobody here reranks through litellm")
                return False
        elif direct and body and kind is ModelKind.CHAT:
            # Requests that go directly pass as they are: only litellm adds anything.
            direct = False
            self._to.became((*self._at, "litellm_params"), f"goes through litellm, which adds {', '.join(body)}")
        if direct and base is None:
            self._to.problems.append(
                (
                    (*self._at, "litellm_params", "api_base"),
                    f"is missing: {self._provider} needs to know where the server is",
                )
            )
            return False
        model = self._bare if direct else self._model
        self._set("backend", "openai_http" if direct else "litellm", "litellm_params", "model")
        self._set("model", model, "litellm_params", "model")
        if direct and self._provider in _VLLM:
            self._set("cache_salt", True, "litellm_params", "model")
        if base is not None:
            self._set("base_url", self._address(base), "litellm_params", where)
        self._to.became(
            (*self._at, "litellm_params", "model"),
            f"model {model}, reached {'directly' if direct else 'through litellm'}",
        )
        self._rest(rest, {} if direct else dict(defaults.params), direct=direct)
        return True

    def _address(self, base: object) -> object:
        name = reference_of(base)
        if name is not None:
            return f"${{{name}}}"
        if isinstance(base, str):
            # litellm takes the address of an endpoint, too.
            for end in ("/chat/completions", "/completions", "/embeddings"):
                if base.rstrip("/").endswith(end):
                    return base.rstrip("/").removesuffix(end)
        return base

    def _rest(self, rest: dict[str, Any], further: dict[str, Any], *, direct: bool) -> None:
        """Parameters that the call has beside those which every expert has."""
        kept = further
        for name, value in rest.items():
            path = (*self._at, "litellm_params", name)
            if name in SILENT or value is None:
                continue
            if name in LOST:
                self._to.lost(path, LOST[name])
            elif name in PRICES:
                continue
            elif is_other_cost(name):
                self._to.lost(path, "has no counterpart: prices are by token")
            elif direct and name in SWITCHES:
                self._to.lost(path, SWITCHES[name])
            elif direct:
                self._to.lost(path, "is not sent: requests pass to this server as they are")
            elif looks_secret(name) or name.endswith("_key_id") or reference_of(value) is not None:
                variable = self._to.variable(path, value, self._name, name)
                if variable is not None:
                    kept[name] = f"os.environ/{variable}"
                    self._to.became(path, f"became options.params.{name}")
            else:
                kept[name] = value
                self._to.became(path, f"became options.params.{name}")
        if kept:
            self._set("options", {"params": kept}, "litellm_params")

    def _key(self) -> None:
        key = self._params.get("api_key")
        if is_no_key(key):
            return
        path = (*self._at, "litellm_params", "api_key")
        variable = self._to.variable(path, key, self._name, "api_key")
        if variable is not None:
            self._set("api_key_env", variable, "litellm_params", "api_key")
            self._to.became(path, f"became api_key_env: {variable}")

    def _times(self) -> None:
        for ours, theirs in (("head_timeout_s", "timeout"), ("idle_timeout_s", "stream_timeout")):
            value = self._params.get(theirs)
            if value is None:
                continue
            number = number_of(value)
            path = (*self._at, "litellm_params", theirs)
            if reference_of(value) is not None:
                self._to.lost(path, f"is left out: {ours} is a number in the file")
                continue
            self._set(ours, value if number is None else number, "litellm_params", theirs)
            self._to.became(path, f"became {ours}")

    def _limits(self) -> None:
        params = self._params
        for theirs, ours in (("max_parallel_requests", "max_concurrency"), ("extra_headers", "headers")):
            if params.get(theirs) is not None:
                self._set(ours, params[theirs], "litellm_params", theirs)
                self._to.became((*self._at, "litellm_params", theirs), f"became {ours}")
        headers = self._fields.get("headers")
        if isinstance(headers, dict):
            self._set("headers", self._plain_headers(headers), "litellm_params", "extra_headers")
        organization = params.get("organization")
        if organization is not None and self._fields["backend"] == "openai_http":
            headers = {**self._fields.get("headers", {}), "openai-organization": str(organization)}
            self._set("headers", headers, "litellm_params", "organization")
            self._to.became((*self._at, "litellm_params", "organization"), "became a header")
        elif organization is not None:
            self._fields.setdefault("options", {}).setdefault("params", {})["organization"] = organization
            self._to.became((*self._at, "litellm_params", "organization"), "became options.params.organization")

    def _plain_headers(self, headers: dict[str, Any]) -> dict[str, Any]:
        """Headers whose values stand in the file; those that would hold a secret have no place there."""
        plain = {}
        for name, value in headers.items():
            path = (*self._at, "litellm_params", "extra_headers", name)
            secret = looks_secret(name.replace("-", "_")) or name.lower() in ("authorization", "cookie")
            if secret or reference_of(value) is not None:
                self._to.lost(path, "is left out: a header of an expert holds no secret and no reference; use api_key")
            else:
                plain[name] = value if isinstance(value, str) else str(value)
        return plain
