"""What the environment may say: a few overrides, and `${NAME}` inside addresses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from pointsman.experts.env_references import variable_of
from pointsman.gateway.settings.yaml_source import Path

#: Environment variable -> the setting it overrides. REDIS_URL only fills a gap: a URL in the file is more deliberate.
OVERRIDES: Final[Mapping[str, Path]] = {
    "POINTSMAN_HOST": ("server", "host"),
    "POINTSMAN_PORT": ("server", "port"),
    "POINTSMAN_WORKERS": ("server", "workers"),
}
REDIS_URL: Final = "REDIS_URL"

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def apply_environment(data: dict[str, Any], env: Mapping[str, str]) -> list[tuple[Path, str]]:
    """Write the overrides into raw settings, in place.

    Returns:
        Problems as (path, sentence).
    """
    problems: list[tuple[Path, str]] = []
    for name, path in OVERRIDES.items():
        text = env.get(name, "").strip()
        if not text:
            continue
        if path[-1] == "host":
            put(data, path, text)
        elif text.isascii() and text.isdigit():
            put(data, path, int(text))
        else:
            problems.append(((name,), f"must be a whole number, got {text!r} (environment variable)"))
    url = env.get(REDIS_URL, "").strip()
    redis = data.get("redis")
    if url and (redis is None or (isinstance(redis, dict) and redis.get("url") is None)):
        put(data, ("redis", "url"), url)
    return problems


def interpolate(data: dict[str, Any], env: Mapping[str, str]) -> list[tuple[Path, str]]:
    """Replace `${NAME}` and `${NAME:-default}` in the addresses of experts and of Redis, in place.

    Returns:
        Problems as (path, sentence).
    """
    problems: list[tuple[Path, str]] = []

    def replace(holder: Any, key: str, path: Path) -> None:
        if not isinstance(holder, dict) or not isinstance(holder.get(key), str):
            return

        def value(match: re.Match[str]) -> str:
            name, default = match.group(1), match.group(2)
            found = env.get(name) or default
            if found is None:
                problems.append(((*path, key), f"the environment variable {name} is not set"))
                return ""
            # Who names a user or a password alone may write it as it is.
            before, after = match.string[: match.start()], match.string[match.end() :]
            return quote(found, safe="%") if key == "url" and "://" in before and "@" in after else found

        holder[key] = _REFERENCE.sub(value, holder[key])

    _each_address(data, replace)
    return problems


def replace_addresses(data: dict[str, Any], change: Callable[[Path, str], str]) -> None:
    """Replace the addresses of experts and of Redis by what a function makes of path and address, in place."""

    def replace(holder: Any, key: str, path: Path) -> None:
        if isinstance(holder, dict) and isinstance(holder.get(key), str):
            holder[key] = change((*path, key), holder[key])

    _each_address(data, replace)


def unset_in(address: str, env: Mapping[str, str]) -> list[str]:
    """The variables that an address refers to, and that neither the environment nor a default gives a value."""
    found = _REFERENCE.findall(address)
    return [name for name, default in found if not (env.get(name) or default)]


def variables_in(value: Any, key: str = "") -> set[str]:
    """Names of the environment variables that raw settings refer to."""
    if isinstance(value, dict):
        return {name for inner, one in value.items() for name in variables_in(one, str(inner))}
    if isinstance(value, list | tuple):
        return {name for one in value for name in variables_in(one, key)}
    if not isinstance(value, str):
        return set()
    if key.endswith("_env"):
        return {value}
    if key in ("base_url", "url"):
        return {match.group(1) for match in _REFERENCE.finditer(value)}
    named = variable_of(value)
    return set() if named is None else {named}


def _each_address(data: dict[str, Any], visit: Callable[[Any, str, Path], None]) -> None:
    visit(data.get("redis"), "url", ("redis",))
    pool = data.get("pool")
    if not isinstance(pool, dict):
        return
    for index, expert in _items(pool.get("experts")):
        visit(expert, "base_url", ("pool", "experts", index))


def _items(value: Any) -> list[tuple[int, Any]]:
    return list(enumerate(value)) if isinstance(value, list) else []


def put(data: dict[str, Any], path: Path, value: Any) -> None:
    """Set a value deep in raw settings; a branch that is not a mapping is left for the validation to complain of."""
    for step in path[:-1]:
        branch = data.setdefault(str(step), {})
        if branch is None:
            branch = data[str(step)] = {}
        if not isinstance(branch, dict):
            return
        data = branch
    data[str(path[-1])] = value
