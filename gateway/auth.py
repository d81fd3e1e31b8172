"""Who is calling: bearer keys to tenants. Keys are kept as keyed hashes, never as themselves."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Final

from gateway.errors import Code, RequestRefused

ANONYMOUS: Final = "anonymous"

#: Paths that answer without a key: probes of the orchestrator and the scraper.
_OPEN_PATHS: Final = frozenset({"/health", "/ready", "/metrics"})


class Keyring:
    """The accepted keys. Without any, everybody is `anonymous`.

    Args:
        keys: Pairs of key and tenant.
    """

    def __init__(self, keys: Iterable[tuple[str, str]]) -> None:
        # With a pepper of this process, a look-up's timing tells nothing about any key.
        self._pepper = os.urandom(32)
        self._tenants = {self._hash(key.encode()): tenant for key, tenant in keys}

    def tenant(self, path: str, headers: Mapping[bytes, bytes]) -> str:
        """The caller's tenant.

        Args:
            path: `scope["path"]`, never a header or a rewritten URL.
            headers: Request headers, lower-case names.

        Raises:
            RequestRefused: No key, or one that is not accepted.
        """
        if not self._tenants or path in _OPEN_PATHS:
            return ANONYMOUS
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not key:
            raise RequestRefused(Code.INVALID_API_KEY, "No API key was given. Send 'Authorization: Bearer <key>'.")
        tenant = self._tenants.get(self._hash(key.strip()))
        if tenant is None:
            raise RequestRefused(Code.INVALID_API_KEY, "The API key is not accepted here.")
        return tenant

    def _hash(self, key: bytes) -> bytes:
        return hashlib.blake2b(key, key=self._pepper, digest_size=32).digest()
