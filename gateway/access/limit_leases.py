"""One account per limit for all workers and replicas, in Redis. Each process leases slices of it.

A process spends from its leases without a question to Redis. Redis keeps one hash per limit and window, with one field
per process for what that process has leased. So a message that is sent twice counts once, and a Redis that lost its
memory learns every lease with the next message. Slices become smaller as the account empties, and unused leases go
back.

While Redis does not answer, a process spends its lease and its share of what was left at Redis's last answer. All
processes together then stay within the limit, except for what they leased at that last moment.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from pointsman.gateway.access.limits import Meter
from pointsman.gateway.access.windows import Period
from pointsman.gateway.shared.store import SharedStore

#: Seconds between two messages, as long as nobody is in need.
_EVERY_S: Final = 0.5
#: Of so many messages one tells of every lease, and gives back what was not used since the one before.
_FULL: Final = 5
#: A process that was silent for so long is gone.
_GONE_S: Final = 5
#: Limits that travel in one message.
_BATCH: Final = 100

#: Largest slice, as a share of the limit: of a long window little may be lost with a process that dies.
_LARGEST_SLICE: Final = {Period.MINUTE: 0.5, Period.HOUR: 0.1, Period.DAY: 0.02, Period.MONTH: 0.005}

# For each limit: what this process has, what it needs beyond, its largest slice. It gets its need, where that is left,
# or half of its share of what is left.
_SCRIPT: Final = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
redis.call('EXPIRE', KEYS[1], 60)
local peers = redis.call('ZCARD', KEYS[1])
local answer = {tostring(peers)}
for i = 2, #KEYS do
  local at = 3 + (i - 2) * 5
  local limit, has, need = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local largest, ttl = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local left = limit - has
  local all = redis.call('HGETALL', KEYS[i])
  for j = 1, #all, 2 do
    if all[j] ~= ARGV[1] then left = left - tonumber(all[j + 1]) end
  end
  local granted = 0
  if need > 0 then
    granted = math.max(0, math.min(left, math.max(need, math.min(left / (2 * peers), largest))))
  end
  redis.call('HSET', KEYS[i], ARGV[1], string.format('%.17g', has + granted))
  redis.call('EXPIRE', KEYS[i], ttl)
  answer[#answer + 1] = string.format('%.17g', granted)
  answer[#answer + 1] = string.format('%.17g', left - granted)
end
return answer
"""


class Leases:
    """Keeps this process's leases. One task sends all messages, one at a time.

    Args:
        meters: All limits.
        store: Where the common account is.
        replica: A name no other process has.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        meters: Sequence[Meter],
        *,
        store: SharedStore,
        replica: str,
        clock: Callable[[], float],
    ) -> None:
        self._meters = tuple(meters)
        self._store = store
        self._replica = replica
        self._clock = clock
        self._needs: dict[Meter, float] = {}
        self._answered: asyncio.Future[bool] | None = None
        self._talking = asyncio.Lock()
        self._runs = 0
        self._ticks = 0
        # Whether the last message was not answered: nobody waits for the next.
        self._deaf = False
        self._wake = asyncio.Event()

    async def more(self, needs: Sequence[tuple[Meter, float]]) -> None:
        """Ask for what does not fit. Where Redis does not answer, the process's share is taken instead."""
        for meter, amount in needs:
            self._needs[meter] = self._needs.get(meter, 0.0) + amount
        if self._answered is None:
            self._answered = asyncio.get_running_loop().create_future()
        answered = self._answered
        self._wake.set()
        # While Redis is well, its answer is waited for: a share taken on top of what it grants would break the promise.
        if self._deaf or not self._runs or not await asyncio.shield(answered):
            for meter, _ in needs:
                meter.take_share()

    async def run(self) -> None:
        """Lease, tell and give back until cancelled. While settings change, two Apps run it for a moment."""
        self._runs += 1
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_EVERY_S):
                        await self._wake.wait()
                async with self._talking:
                    await self._talk()
        finally:
            self._runs -= 1
            if self._runs == 0:
                self._tell(self._answered, heard=False)

    async def _talk(self) -> None:
        """One round: what somebody waits for, or what is due anyway."""
        urgent = self._wake.is_set()
        self._wake.clear()
        needs, self._needs = self._needs, {}
        answered, self._answered = self._answered, None
        heard = handed_on = False
        try:
            heard = await self._send(list(needs) if urgent else self._due(needs), needs)
        except asyncio.CancelledError:
            # Settings changed, and the App that goes on asks again: Redis was not silent.
            handed_on = self._runs > 1
            if handed_on:
                self._hand_on(needs, answered)
            raise
        finally:
            if not handed_on:
                self._deaf = not heard
                self._tell(answered, heard=heard)

    def _hand_on(self, needs: dict[Meter, float], answered: asyncio.Future[bool] | None) -> None:
        """Have the next round ask for what this one did not get an answer to."""
        for meter, amount in needs.items():
            self._needs[meter] = self._needs.get(meter, 0.0) + amount
        if self._answered is None:
            self._answered = answered
        elif answered is not None:
            self._answered.add_done_callback(lambda other: self._tell(answered, heard=other.result()))
        self._wake.set()

    @staticmethod
    def _tell(answered: asyncio.Future[bool] | None, *, heard: bool) -> None:
        if answered is not None and not answered.done():
            answered.set_result(heard)

    async def aclose(self) -> None:
        """Give back what is free, for whoever is still there."""
        for meter in self._meters:
            meter.give_back()
        await self._send([meter for meter in self._meters if meter.began_s > 0.0], {})

    def _due(self, needs: dict[Meter, float]) -> list[Meter]:
        """What to speak of in a message that nobody waits for; `needs` is told what to lease in advance."""
        self._ticks += 1
        full, now_s = self._ticks % _FULL == 0, self._clock()
        due = []
        for meter in self._meters:
            if now_s >= meter.until_s:
                continue
            if meter.wanted and meter.free < _slice(meter) / 2:
                needs.setdefault(meter, _slice(meter) / 2)
            if meter.wanted or (full and meter.lease > 0.0):
                due.append(meter)
            if full:
                if not meter.wanted:
                    meter.give_back()
                meter.wanted = False
        return due

    async def _send(self, meters: Sequence[Meter], needs: dict[Meter, float]) -> bool:
        """Tell and ask. False where no answer came."""
        heard = True
        for begin in range(0, len(meters), _BATCH):
            heard &= await self._exchange(meters[begin : begin + _BATCH], needs)
        return heard

    async def _exchange(self, meters: Sequence[Meter], needs: dict[Meter, float]) -> bool:
        """One message about some limits."""
        now_s = self._clock()
        keys, arguments, windows = ["limit-peers"], [self._replica, str(_GONE_S)], []
        for meter in meters:
            if now_s >= meter.until_s:
                meter.roll(now_s)
            meter.cover()
            keys.append(f"limit:{meter.limit.name}:{meter.began_s:.0f}")
            ttl_s = int(meter.until_s - meter.began_s) + 60
            figures = (meter.limit.amount, meter.lease, needs.get(meter, 0.0), _slice(meter), ttl_s)
            arguments += [repr(figure) for figure in figures]
            windows.append((meter.began_s, meter.lease))
        answer = await self._store.evaluate(_SCRIPT, keys, arguments)
        if not isinstance(answer, list) or len(answer) != 1 + 2 * len(meters):
            return False
        peers = int(answer[0])
        for index, (meter, (began_s, lease)) in enumerate(zip(meters, windows, strict=True)):
            if meter.began_s == began_s:
                granted, left = float(answer[1 + 2 * index]), float(answer[2 + 2 * index])
                # A share that was taken meanwhile is part of what was granted, not on top of it.
                meter.grant(lease + granted, max(0.0, left), peers)
        return True


def _slice(meter: Meter) -> float:
    return meter.limit.amount * _LARGEST_SLICE[meter.limit.period]
