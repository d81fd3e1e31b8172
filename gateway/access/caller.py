"""The caller of a request, once its key is known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pointsman.gateway.access.limits import Account
from pointsman.gateway.errors import RequestRefused


class Role(StrEnum):
    """What a key is for."""

    CLIENT = "client"
    OPERATOR = "operator"
    METRICS = "metrics"


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """A key's holder. One object per key, made at the start.

    Attributes:
        name: Of the key.
        tenant: Whose requests these are.
        role: What the key is for.
        experts: Experts that may be asked; None for all.
        expires_s: From when on the key is not accepted (seconds since 1970); None for never.
        disabled: Whether it is not accepted now.
        account: What it may still spend; None without limits.
        seen: Experts whose names it may be told; None for all.
        provider_ids: What it may name of what lies with providers, beside what its tenant's own answers brought.
    """

    name: str
    tenant: str
    role: Role = Role.CLIENT
    experts: frozenset[str] | None = None
    expires_s: float | None = None
    disabled: bool = False
    account: Account | None = None
    seen: frozenset[str] | None = None
    provider_ids: frozenset[str] = frozenset()


#: Among the ids that a caller may name: all of them.
EVERY_ID: Final = "*"


def count_refused(caller: Caller, refusal: RequestRefused) -> None:
    """A request of a caller is refused before anybody was asked: it counts against the requests it may make.

    Reading it took its time, whatever is wrong with it. Who is turned away for asking too much has spent nothing more.
    """
    if caller.account is not None and 400 <= refusal.status < 500 and refusal.status != 429:
        caller.account.count_refused()


#: In the scope of a request that goes to the control plane.
CALLER: Final = "pointsman.caller"

#: Everybody, where no key is asked for.
ANYBODY: Final = Caller("anonymous", "anonymous")
