"""Names of experts by what a tenant calls something: the base of sessions and of ids."""

from __future__ import annotations

from pointsman.gateway.shared.two_level_cache import TwoLevelCache, key_of


class ExpertNameCache(TwoLevelCache[str]):
    """An expert's name for what a tenant named. Keys hold the tenant, so what is another's is not found."""

    @staticmethod
    def key(tenant: str, named: str) -> str:
        """A key that holds the tenant, and nothing readable of what it named."""
        return key_of(tenant.encode(), named.encode("utf-8", "surrogatepass"))

    @staticmethod
    def encode(value: str) -> bytes:
        """The name in UTF-8."""
        return value.encode()

    @staticmethod
    def decode(raw: bytes) -> str:
        """The inverse."""
        return raw.decode("utf-8", "replace")
