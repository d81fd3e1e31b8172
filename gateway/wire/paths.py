"""The endpoint of each path, for both the data plane and the control plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pointsman.experts.protocols import Endpoint

#: vLLM answers these without a version too, and so do its clients' tools.
_UNVERSIONED: Final = (Endpoint.RERANK, Endpoint.SCORE)

#: Request target -> endpoint.
PATHS: Final[Mapping[str, Endpoint]] = {
    **{f"/v1/{endpoint.value}": endpoint for endpoint in Endpoint},
    **{f"/{endpoint.value}": endpoint for endpoint in _UNVERSIONED},
}

_MESSAGES: Final = f"/v1/{Endpoint.MESSAGES.value}"


def is_anthropic(path: str) -> bool:
    """Whether callers of a path expect Anthropic's API: its errors, and its way to send a key."""
    return path == _MESSAGES or path.startswith(_MESSAGES + "/")
