"""Which expert made what a later request may name (responses, items, containers, files), and for which tenant.

A tenant may name what its own answers brought. Keys hold the tenant, so what is another's is not found.
"""

from __future__ import annotations

import asyncio
from typing import Final

from pointsman.gateway.shared.expert_name_cache import ExpertNameCache

#: Another process's record may still be on its way to Redis; who asks for one that is not there waits so long for it.
_ON_ITS_WAY_S: Final = 0.2


class MadeIds(ExpertNameCache):
    """The expert that made something, by tenant and id."""

    kind = "made"

    def made(self, tenant: str, one: str, expert: str) -> None:
        """An answer for a tenant brought an id."""
        self.put(self.key(tenant, one), expert)

    def knows(self, tenant: str, one: str) -> bool:
        """Whether this process knows that an answer for the tenant brought it."""
        return self.get_local(self.key(tenant, one)) is not None

    async def maker(self, tenant: str, one: str, *, patient: bool = False) -> str | None:
        """The expert that made it for the tenant; None where that is not known.

        Args:
            tenant: Who names it.
            one: The id.
            patient: Whether to wait a moment for what another process may be about to tell.
        """
        key = self.key(tenant, one)
        found = self.get_local(key) or await self.get_shared(key)
        if found is None and patient and self.shared:
            await asyncio.sleep(_ON_ITS_WAY_S)
            found = await self.get_shared(key)
        return found
