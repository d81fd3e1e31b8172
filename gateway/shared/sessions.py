"""The expert that answered the previous turn of a session.

The client names its session. Keys hold the tenant and that name, so two tenants with the same name never share one.
"""

from __future__ import annotations

from pointsman.gateway.shared.two_level_cache import TwoLevelCache, key_of


class Sessions(TwoLevelCache[str]):
    """The expert that answered last, by session."""

    kind = "session"

    @staticmethod
    def key(tenant: str, session: str) -> str:
        """A key that holds the tenant, and nothing readable of the session."""
        return key_of(tenant.encode(), session.encode("utf-8", "surrogatepass"))

    @staticmethod
    def encode(value: str) -> bytes:
        """Its name in UTF-8."""
        return value.encode()

    @staticmethod
    def decode(raw: bytes) -> str:
        """The inverse."""
        return raw.decode("utf-8", "replace")

    async def previous(self, key: str) -> str | None:
        """The expert that answered last; None for a new session.

        Where there is Redis, another replica may have answered since, so it is asked first.
        """
        return await self.get_shared(key) or self.get_local(key)
