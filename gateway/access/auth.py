"""Who is calling: from the key of a request to its caller, and what the caller's role opens."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from pointsman.gateway.access.caller import ANYBODY, Caller, Role
from pointsman.gateway.access.keys import Pepper
from pointsman.gateway.errors import Code, RequestRefused

#: Paths that answer without a key: probes of the orchestrator.
_PROBES: Final = frozenset({"/health", "/ready"})
_METRICS: Final = "/metrics"

#: Where Anthropic's, Azure's and Google's clients put a key.
_KEY_HEADERS: Final = (b"x-api-key", b"api-key", b"x-goog-api-key")

#: Query parameters by which other gateways take keys. A URL ends up in logs, so that such a key is spoilt already.
_KEY_IN_QUERY: Final = re.compile(rb"(?:^|&)(?:api[-_]?key|key|access[-_]?token|token|authorization)=", re.IGNORECASE)


class Keyring:
    """The accepted keys. Without any, everybody is `anonymous`.

    Args:
        pepper: With which keys are hashed.
        keys: Pairs of a key's digest and its caller; several digests may lead to one caller.
        clock: Seconds since 1970.
    """

    def __init__(self, pepper: Pepper, keys: Iterable[tuple[bytes, Caller]], clock: Callable[[], float]) -> None:
        self._pepper = pepper
        self._callers: dict[bytes, tuple[bytes, Caller]] = {digest[:8]: (digest, caller) for digest, caller in keys}
        self._clock = clock
        self._guards_metrics = any(caller.role is Role.METRICS for _, caller in self._callers.values())

    def caller(self, path: str, headers: Mapping[bytes, bytes], query: bytes = b"") -> Caller:
        """Who is calling.

        Args:
            path: `scope["path"]`, never a header or a rewritten URL.
            headers: Request headers, lower-case names.
            query: What follows the `?`.

        Raises:
            RequestRefused: No key, one that is not accepted, or one that is for something else.
        """
        if not self._callers or path in _PROBES or (path == _METRICS and not self._guards_metrics):
            return ANYBODY
        caller = self._known(headers, query)
        if path != _METRICS and caller.role is Role.METRICS:
            raise RequestRefused(Code.NOT_PERMITTED, "This key is for GET /metrics alone.")
        if path == _METRICS and caller.role is Role.CLIENT:
            raise RequestRefused(Code.NOT_PERMITTED, "The metrics need a key with the role 'metrics' or 'operator'.")
        return caller

    def _holder(self, keys: Iterable[bytes]) -> Caller:
        """Who has the first of the keys that is accepted.

        Raises:
            RequestRefused: None is.
        """
        for key in keys:
            digest = self._pepper.digest(key)
            # What is looked up is the beginning of a keyed hash, which nobody without the pepper can steer; the rest is
            # compared in constant time.
            found = self._callers.get(digest[:8])
            if found is not None and hmac.compare_digest(found[0], digest):
                return found[1]
        raise RequestRefused(Code.INVALID_API_KEY, "The API key is not accepted here.")

    @property
    def open_to_all(self) -> bool:
        """Whether nobody is asked for a key."""
        return not self._callers

    def knows_operator(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether the key of a request, which need not have one, is accepted and for operators or for the metrics."""
        try:
            return bool(self._callers) and self._known(headers, b"").role is not Role.CLIENT
        except RequestRefused:
            return False

    def operator(self, headers: Mapping[bytes, bytes], query: bytes = b"") -> Caller:
        """The caller, who must be an operator.

        Raises:
            RequestRefused: It is not.
        """
        caller = self._known(headers, query)
        if caller.role is not Role.OPERATOR:
            raise RequestRefused(Code.NOT_PERMITTED, "This needs a key with the role 'operator'.")
        return caller

    def _known(self, headers: Mapping[bytes, bytes], query: bytes) -> Caller:
        if query and _KEY_IN_QUERY.search(query):
            raise RequestRefused(
                Code.INVALID_API_KEY,
                "A key was given in the query string, where logs keep it. Replace it, and send the new one as "
                "'Authorization: Bearer <key>'.",
            )
        caller = self._holder(_keys_in(headers))
        if caller.disabled or (caller.expires_s is not None and self._clock() >= caller.expires_s):
            # Only who has the key learns why it is not accepted.
            why = "disabled" if caller.disabled else "expired"
            raise RequestRefused(Code.INVALID_API_KEY, f"The API key is {why}.", reason=f"key_{why}")
        return caller


def _keys_in(headers: Mapping[bytes, bytes]) -> list[bytes]:
    """What a request gives for its key, wherever clients put it, each once.

    A client may send two: its login at a proxy before us, or a key for another provider, beside ours.

    Raises:
        RequestRefused: There is none.
    """
    scheme, _, bearer = headers.get(b"authorization", b"").partition(b" ")
    found = [bearer.strip() if scheme.lower() == b"bearer" else b""]
    found += [headers[name].strip() for name in _KEY_HEADERS if name in headers]
    keys = [key for key in dict.fromkeys(found) if key]
    if not keys:
        raise RequestRefused(
            Code.INVALID_API_KEY,
            "No API key was given. Send 'Authorization: Bearer <key>'; 'x-api-key' and 'api-key' are read too.",
        )
    return keys
