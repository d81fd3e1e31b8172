"""The expert that answered the previous turn of a session.

The client names its session. Keys hold the tenant and that name, so two tenants with the same name never share one.
"""

from __future__ import annotations

from pointsman.gateway.shared.expert_name_cache import ExpertNameCache


class Sessions(ExpertNameCache):
    """The expert that answered last, by session."""

    kind = "session"

    async def previous(self, key: str) -> str | None:
        """The expert that answered last; None for a new session.

        Where there is Redis, another replica may have answered since, so it is asked first.
        """
        return await self.get_shared(key) or self.get_local(key)
