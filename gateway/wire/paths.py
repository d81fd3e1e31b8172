"""The endpoint of each path, for both the data plane and the control plane."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final
from urllib.parse import unquote

from pointsman.experts.protocols import Endpoint

#: vLLM answers these without a version too, and so do its clients' tools.
_UNVERSIONED: Final = (Endpoint.RERANK, Endpoint.SCORE)

#: Request target -> endpoint.
PATHS: Final[Mapping[str, Endpoint]] = {
    **{f"/v1/{endpoint.value}": endpoint for endpoint in Endpoint},
    **{f"/{endpoint.value}": endpoint for endpoint in _UNVERSIONED},
}

_MESSAGES: Final = f"/v1/{Endpoint.MESSAGES.value}"

#: What clients put before the version, because their other providers want it there.
_PREFIXES: Final = re.compile(r"/(?:openai|anthropic|api)(?=/)")
_SLASHES: Final = re.compile(r"//+")
_VERSIONS: Final = re.compile(r"(?:/v1){2,}(?=/)")
_DEPLOYMENT: Final = re.compile(r"/openai/deployments/([^/]+)(/.+)")
#: Paths of the control plane under `/v1` that clients' base addresses lead to as well.
_CONTROL: Final = ("/v1/models", "/v1/route", "/v1/feedback", "/v1/decisions")


def is_anthropic(path: str) -> bool:
    """Whether callers of a path expect Anthropic's API: its errors, and its way to send a key."""
    return path == _MESSAGES or path.startswith(_MESSAGES + "/")


@dataclass(frozen=True, slots=True)
class RequestTarget:
    """What the path of a request asks for.

    Attributes:
        path: As it is written here; who may call is decided on it.
        endpoint: That experts answer; None for any other path.
        model: The deployment that Azure's paths name, which goes before the body's `model`; None for other paths.
    """

    path: str
    endpoint: Endpoint | None
    model: str | None = None


def target_of(path: str) -> RequestTarget:
    """Read a path as clients write it whose base address is not quite ours.

    Read are doubled slashes and versions, a slash at the end, a missing `/v1`, a prefix that other providers want, and
    Azure's deployments. Anything else stays as it is, and so does what is none of the API's paths.

    Args:
        path: Decoded, without the query.
    """
    if path in PATHS:
        return RequestTarget(path, PATHS[path])
    short = _SLASHES.sub("/", path)
    if len(short) > 1:
        short = short.removesuffix("/")
    deployment = _DEPLOYMENT.fullmatch(short)
    model, short = (None, short) if deployment is None else (unquote(deployment[1]), deployment[2])
    short = _VERSIONS.sub("/v1", _PREFIXES.sub("", short, count=1))
    for one in (short, f"/v1{short}"):
        if one in PATHS:
            return RequestTarget(one, PATHS[one], model)
        if model is None and one.startswith(_CONTROL):
            return RequestTarget(one, None)
    return RequestTarget(path, None)


def nearest(path: str) -> str | None:
    """The path of ours that an unknown one was perhaps meant to be."""
    found = get_close_matches(path[:200], [*PATHS, *_CONTROL], n=1)
    return found[0] if found else None
