"""A whole file in litellm's shape -> raw settings of ours."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path as FilePath
from typing import Any, Final
from urllib.parse import quote

from pointsman.gateway.settings.aliases import ANY, AUTO, fits
from pointsman.gateway.settings.litellm.deployment import DeploymentContext
from pointsman.gateway.settings.litellm.including import included
from pointsman.gateway.settings.litellm.parameters import number_of
from pointsman.gateway.settings.litellm.pool import ModelGroups
from pointsman.gateway.settings.litellm.records import Migration, reference_of
from pointsman.gateway.settings.litellm.sections import KNOWN_BY, READ, SECTIONS, SETTINGS, UNKNOWN
from pointsman.gateway.settings.problems import shown
from pointsman.gateway.settings.yaml_source import Path

#: litellm's own name for the variable that holds the master key.
_MASTER_KEY: Final = "LITELLM_MASTER_KEY"
_SETTINGS: Final = ("general_settings", "litellm_settings", "router_settings")
#: Where a Redis may be described, and the names of its parts there.
_REDIS: Final = (
    (("router_settings",), "redis_"),
    (("litellm_settings", "cache_params"), ""),
    (("general_settings", "coordination_redis"), ""),
)


def is_litellms(data: Mapping[str, Any]) -> bool:
    """Whether raw settings are in litellm's shape, at least in part."""
    pool = data.get("pool")
    named = isinstance(pool, dict) and (pool.get("experts") or pool.get("model_list"))
    return "model_list" in data or (not named and not KNOWN_BY.isdisjoint(data))


def from_litellm(
    data: dict[str, Any], folder: FilePath, migration: Migration, known: Collection[str]
) -> dict[str, Any]:
    """Raw settings of ours from a file in litellm's shape; sections of ours in it stay as they are.

    Args:
        data: The file.
        folder: What it includes is relative to.
        migration: Is told what became of everything.
        known: Sections of ours.
    """
    migration.keeps_secrets = True
    data = included(data, folder, migration)
    ours = {name: value for name, value in data.items() if name in known}
    sections = {name: _section(data, name, migration) for name in (*_SETTINGS, "environment_variables")}
    for name, value in data.items():
        if name not in READ and name not in known and value is not None:
            migration.lost((name,), SECTIONS.get(name, UNKNOWN))
    _variables(sections["environment_variables"], migration)
    litellm = sections["litellm_settings"]
    defaults = DeploymentContext(
        {"drop_params": True} if litellm.get("drop_params") is True else {}, _credentials(data, migration)
    )
    pool = ours.setdefault("pool", {})
    if not isinstance(pool, dict):
        return ours
    groups = ModelGroups(_list(pool.get("experts")))
    groups.add(data.get("model_list"), ("model_list",), migration, defaults)
    aliases = _aliases(sections, groups, migration)
    pool["experts"] = [*_list(pool.get("experts")), *groups.experts]
    if aliases:
        ours["aliases"] = {**aliases, **(ours["aliases"] if isinstance(ours.get("aliases"), dict) else {})}
    _caller(sections["general_settings"], ours, migration)
    _redis(sections, ours, migration)
    _times(sections, ours, migration)
    for name in _SETTINGS:
        _rest(name, sections[name], migration)
    return ours


def _section(data: Mapping[str, Any], name: str, migration: Migration) -> dict[str, Any]:
    value = data.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        migration.problems.append(((name,), f"should be a mapping, got {shown(value)}"))
        return {}
    return value


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _variables(named: Mapping[str, Any], migration: Migration) -> None:
    for name, value in named.items():
        path = ("environment_variables", name)
        if value is None or isinstance(value, dict | list) or value == "":
            continue
        if reference_of(value) is None:
            # What the environment says goes first, as it does with litellm.
            migration.variables.setdefault(name, migration.env.get(name) or str(value))
        migration.lost(path, f"belongs into the environment of the gateway, as {name}")


def _credentials(data: Mapping[str, Any], migration: Migration) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for index, one in enumerate(_list(data.get("credential_list"))):
        path = ("credential_list", index)
        name, values = (one.get("credential_name"), one.get("credential_values")) if isinstance(one, dict) else ("", "")
        if not isinstance(name, str) or not name or not isinstance(values, dict):
            migration.problems.append((path, "must have credential_name and credential_values"))
            continue
        found[name] = values
        migration.became(path, "its values stand in the experts that name it")
    return found


def _aliases(
    sections: Mapping[str, dict[str, Any]], groups: ModelGroups, migration: Migration
) -> dict[str, dict[str, Any]]:
    """Aliases of the groups, of `model_group_alias`, and with fallbacks."""
    found: dict[str, dict[str, Any]] = {name: {"experts": names} for name, names in groups.aliases.items()}
    known = _Known(groups)
    for section, key in (("router_settings", "model_group_alias"), ("litellm_settings", "model_alias_map")):
        for name, target in _mapping(sections[section].get(key), (section, key), migration).items():
            path = (section, key, name)
            meant = target.get("model") if isinstance(target, dict) else target
            names = _list(meant) or [meant]
            unknown = [one for one in names if not isinstance(one, str) or not known.has(one)]
            if unknown:
                migration.lost(path, f"is left out: {shown(unknown[0])} is not in model_list")
            elif name == AUTO or name in groups.names:
                migration.lost(path, f"is left out: '{name}' is a name of its own already")
            else:
                found[name] = {"experts": names}
                migration.became(path, f"became the alias '{name}'")
                if isinstance(target, dict) and target.get("hidden"):
                    migration.lost((*path, "hidden"), "is not held: exact aliases are listed in /v1/models")
    _fallbacks(sections, groups, found, migration)
    return found


class _Known:
    """What may be asked for."""

    def __init__(self, groups: ModelGroups) -> None:
        self._exact = frozenset(groups.names)
        self._wild = [name for name in groups.names if ANY in name]

    def has(self, name: str) -> bool:
        return name in self._exact or any(fits(one, name) for one in self._wild)


def _fallbacks(
    sections: Mapping[str, dict[str, Any]],
    groups: ModelGroups,
    aliases: dict[str, dict[str, Any]],
    migration: Migration,
) -> None:
    stated: dict[str, list[tuple[Path, Any]]] = {}
    for section in ("litellm_settings", "router_settings"):
        for key in ("fallbacks", "context_window_fallbacks"):
            for path, name, names in _pairs(sections[section].get(key), (section, key), migration):
                stated.setdefault(name, []).extend((path, one) for one in names)
                if key != "fallbacks":
                    migration.lost(
                        path, "are asked after any failure, and where an expert's window is known to be too small"
                    )
        key = "default_fallbacks"
        for one in _list(sections[section].get(key)):
            for name in groups.names:
                stated.setdefault(name, []).append(((section, key), one))
    models = groups.names
    for name in dict.fromkeys([*models, *stated]):
        then = dict.fromkeys(groups.fallbacks.get(name, ()))
        for path, one in stated.get(name, ()):
            if name not in models:
                migration.lost(path, f"is left out: '{name}' is not in model_list")
            elif not isinstance(one, str) or not (members := groups.members(one)):
                migration.lost(path, f"is left out: {shown(one)} is not in model_list")
            elif one != name:
                then |= dict.fromkeys(members)
        if then and name in models:
            alias = aliases.setdefault(name, {"experts": [name]})
            if AUTO in alias["experts"]:
                continue
            alias["fallbacks"] = list(then)
            path = next((path for path, _ in stated.get(name, ())), ("model_list",))
            migration.became(path, f"became fallbacks of the alias '{name}'")


def _pairs(value: object, path: Path, migration: Migration) -> list[tuple[Path, str, list[Any]]]:
    """`[{name: [names]}]`, or the same as one mapping."""
    if value is None:
        return []
    rows = [((*path, index), row) for index, row in enumerate(value)] if isinstance(value, list) else [(path, value)]
    found: list[tuple[Path, str, list[Any]]] = []
    for at, row in rows:
        if not isinstance(row, dict):
            migration.problems.append((at, "must be a mapping from the name of a model to a list of names"))
            continue
        found += [((*at, name), name, _list(names) or [names]) for name, names in row.items()]
    return found


def _mapping(value: object, path: Path, migration: Migration) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        migration.problems.append((path, f"should be a mapping, got {shown(value)}"))
        return {}
    return value


def _caller(general: Mapping[str, Any], ours: dict[str, Any], migration: Migration) -> None:
    """The master key as the key of an operator."""
    key = general.get("master_key")
    path: Path = ("general_settings", "master_key")
    if key in (None, ""):
        if not migration.env.get(_MASTER_KEY):
            return
        key, path = f"os.environ/{_MASTER_KEY}", ("general_settings",)
    if "auth" in ours:
        migration.lost(path, "is left out: auth says who may call")
        return
    name = migration.variable(path, key, _MASTER_KEY)
    if name is not None:
        ours["auth"] = {"keys": [{"name": "master", "key_env": name, "role": "operator"}]}
        migration.became(path, f"became the key 'master' of an operator, in {name}")


def _redis(sections: Mapping[str, dict[str, Any]], ours: dict[str, Any], migration: Migration) -> None:
    for (section, *below), prefix in _REDIS:
        stated = sections[section]
        for key in below:
            inner = stated.get(key)
            stated = inner if isinstance(inner, dict) else {}
        path: Path = (section, *below)
        url, host = stated.get(f"{prefix}url"), stated.get(f"{prefix}host")
        if (url is None and host is None) or stated.get("type", "redis") not in ("redis", "redis-semantic"):
            continue
        if "redis" in ours:
            migration.lost(path, "its Redis is left out: redis.url says where it is")
            continue
        if url is not None:
            name = migration.variable((*path, f"{prefix}url"), url, "REDIS_URL") if _holds_secret(url) else None
            ours["redis"] = {"url": f"${{{name}}}" if name else url}
        else:
            ours["redis"] = {"url": _redis_url(stated, prefix, path, migration)}
        migration.redis = path
        migration.became(path, "its Redis became redis.url")


def _holds_secret(url: object) -> bool:
    return reference_of(url) is not None or (isinstance(url, str) and "@" in url)


def _redis_url(stated: Mapping[str, Any], prefix: str, path: Path, migration: Migration) -> str:
    def part(name: str, default: str = "") -> str:
        value = stated.get(f"{prefix}{name}")
        variable = reference_of(value)
        return f"${{{variable}}}" if variable else default if value in (None, "") else quote(str(value), safe="")

    password, secret = "", stated.get(f"{prefix}password")
    if secret not in (None, ""):
        name = migration.variable((*path, f"{prefix}password"), secret, "REDIS_PASSWORD")
        password = f"{part('username')}:${{{name}}}@"
    tls = "rediss" if stated.get(f"{prefix}ssl") is True else "redis"
    return f"{tls}://{password}{part('host')}:{part('port', '6379')}/{part('db', '0')}"


def _times(sections: Mapping[str, dict[str, Any]], ours: dict[str, Any], migration: Migration) -> None:
    server = ours.setdefault("server", {})
    if not isinstance(server, dict):
        return
    for section, key, setting in (
        ("litellm_settings", "request_timeout", "head_timeout_s"),
        ("router_settings", "timeout", "head_timeout_s"),
        ("router_settings", "stream_timeout", "idle_timeout_s"),
    ):
        number = number_of(sections[section].get(key))
        if number is not None and number > 0 and setting not in server:
            server[setting] = number
            migration.became((section, key), f"became server.{setting}")
    if not server:
        del ours["server"]


#: Settings that are read one by one.
_WITH_COUNTERPART: Final = (
    "master_key drop_params model_group_alias model_alias_map fallbacks context_window_fallbacks default_fallbacks "
    "redis_host redis_port redis_password redis_username redis_ssl redis_db redis_url request_timeout timeout "
    "stream_timeout cache_params coordination_redis"
)
_SETTINGS_READ: Final = frozenset(_WITH_COUNTERPART.split())


def _rest(section: str, stated: Mapping[str, Any], migration: Migration) -> None:
    for name, value in stated.items():
        if name in _SETTINGS_READ or value is None or value is False:
            continue
        migration.lost((section, name), SETTINGS.get(name, UNKNOWN))
    if stated.get("drop_params") is True:
        migration.became((section, "drop_params"), "became options.params.drop_params of experts behind litellm")
