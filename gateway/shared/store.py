"""The store that replicas share through Redis. A slow or absent Redis never slows or fails a request.

Reads have a deadline of a few milliseconds and return None after it. Writes go to a bounded queue that one task empties
in batches. After a few failures in a row a breaker stops all calls. A probe in the background closes the breaker when
Redis answers in time again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from pointsman.gateway.tasks import end

_log = logging.getLogger(__name__)

_FAILURES_TO_OPEN: Final = 3
_OPEN_S: Final = 2.0
_QUEUE: Final = 10_000
_BATCH: Final = 1_000
#: Of values: those that may wait, and those that travel at once.
_QUEUE_BYTES: Final = 64 * 1024 * 1024
_BATCH_BYTES: Final = 4 * 1024 * 1024
_POST_S: Final = 0.5
#: What comes within so long travels together; within the longer time, where hardly anybody asks for it at once. With
#: caches gone cold in between, a batch costs as much as a hundred of its records.
_GATHER_S: Final = 0.005
_GATHER_MORE_S: Final = 0.1

#: A field of a hash and its value.
Field = tuple[bytes, bytes]
#: Key, a value or a field of a hash, a field that others may bring as well, seconds to live.
_Write = tuple[str, bytes | Field, Field | None, int]


class SharedStore:
    """Byte values with a time to live, under the operator's key prefix.

    Args:
        url: Redis URL (`redis://`, `rediss://`, `unix://`).
        prefix: Put before every key.
        read_timeout_s: Deadline of a read.
        on_error: Called with the kind of each failure, for telemetry.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str,
        read_timeout_s: float,
        on_error: Callable[[str], None],
    ) -> None:
        # No retries inside the client: one would outlive the deadline of the read it serves. No deadlines either: the
        # client would start a task for each, and whatever waits for it has one.
        self._redis = Redis.from_url(
            url,
            socket_connect_timeout=0.5,
            socket_timeout=None,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
        self._prefix = prefix
        self._read_timeout_s = read_timeout_s
        self._on_error = on_error
        self._failures = 0
        self._probe: asyncio.Task[None] | None = None
        self._writes: deque[_Write] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._due: asyncio.TimerHandle | None = None
        self._writer: asyncio.Task[None] | None = None
        self._connection = self._redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]

    @property
    def available(self) -> bool:
        """Whether the breaker lets calls through."""
        return self._probe is None

    async def get(self, key: str, within_s: float | None = None) -> bytes | None:
        """The value, or None when there is none, Redis is slow, or Redis is gone.

        Args:
            key: Of the value.
            within_s: How long to wait, where a request cannot go on without it; None for as long as a read may.
        """
        if not self.available:
            return None
        value = await self._answered(self._redis.get(f"{self._prefix}:{key}"), within_s or self._read_timeout_s)
        return value if isinstance(value, bytes) else None

    def put(self, key: str, value: bytes, ttl_s: int) -> None:
        """Write behind. The oldest waiting writes are dropped when Redis cannot keep up."""
        self._wait((key, value, None, ttl_s))
        self._wake.set()

    async def get_from(self, folder: str, *fields: bytes) -> Sequence[bytes | None]:
        """Values of fields that were `put_into` a folder, in their order; None for each as `get`."""
        values = None
        if self.available:
            # redis-py types what a client that waits and one that does not return as one.
            asking = cast("Awaitable[object]", self._redis.hmget(f"{self._prefix}:{folder}", fields))
            values = await self._answered(asking, self._read_timeout_s)
        return values if isinstance(values, list) else [None] * len(fields)

    def put_into(self, folder: str, field: Field, ttl_s: int, common: Field | None = None) -> None:
        """Write behind, into a hash that lives as long as its last field. Many fields cost little more than one.

        It may take longer than `put`. Needs the running event loop.

        Args:
            folder: Key of the hash.
            field: What to write.
            ttl_s: Seconds to live.
            common: A further field, which is written once however many fields bring it.
        """
        self._wait((folder, field, common, ttl_s))
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_GATHER_MORE_S, self._write_now)

    def _wait(self, write: _Write) -> None:
        self._writes.append(write)
        self._waiting_bytes += _size(write)
        while len(self._writes) > _QUEUE or self._waiting_bytes > _QUEUE_BYTES:
            self._waiting_bytes -= _size(self._writes.popleft())

    def _next_batch(self) -> list[_Write]:
        batch: list[_Write] = []
        size_bytes = 0
        while self._writes and len(batch) < _BATCH and size_bytes < _BATCH_BYTES:
            write = self._writes.popleft()
            batch.append(write)
            size_bytes += _size(write)
        self._waiting_bytes -= size_bytes
        return batch

    def _put_back(self, batch: Sequence[_Write]) -> None:
        """What was not written, oldest first; the oldest gives way to what came since."""
        for write in reversed(batch):
            if len(self._writes) >= _QUEUE or self._waiting_bytes + _size(write) > _QUEUE_BYTES:
                break
            self._writes.appendleft(write)
            self._waiting_bytes += _size(write)

    def _write_now(self) -> None:
        self._due = None
        self._wake.set()

    async def post(
        self, key: str, field: str, value: bytes, ttl_s: int, forget: Collection[str] = ()
    ) -> Mapping[bytes, bytes] | None:
        """Set a field of a shared hash and read the whole; None when Redis is slow or gone.

        For background tasks: it waits longer than a request may.

        Args:
            key: Of the hash.
            field: To set.
            value: Its value.
            ttl_s: How long the hash outlives the last post.
            forget: Fields to drop.
        """
        if not self.available:
            return None
        name = f"{self._prefix}:{key}"
        pipe = self._redis.pipeline(transaction=True)
        pipe.hset(name, field, value)
        if forget:
            pipe.hdel(name, *forget)
        pipe.expire(name, ttl_s)
        pipe.hgetall(name)
        results = await self._answered(pipe.execute(), _POST_S)
        return None if results is None else results[-1]

    async def claim(self, folder: str, field: Field, ttl_s: int) -> bool | None:
        """Put a field into a folder, unless it is there: of all that try, one alone is told True.

        It waits longer than a read may, for what must not happen twice.

        Args:
            folder: Key of the hash.
            field: What to write.
            ttl_s: Seconds to live.

        Returns:
            Whether it was not there; None when Redis is slow or gone.
        """
        if not self.available:
            return None
        name = f"{self._prefix}:{folder}"
        pipe = self._redis.pipeline(transaction=True)
        pipe.hsetnx(name, *field)
        pipe.expire(name, ttl_s)
        results = await self._answered(pipe.execute(), _POST_S)
        return None if results is None else bool(results[0])

    async def evaluate(self, script: str, keys: Sequence[str], arguments: Sequence[str]) -> Any:
        """Run a Lua script; None when Redis is slow or gone.

        For background tasks: it waits longer than a request may.

        Args:
            script: Its source.
            keys: What it reads and writes, without the prefix.
            arguments: Its further arguments.
        """
        if not self.available:
            return None
        named = [f"{self._prefix}:{key}" for key in keys]
        # redis-py types what a client that waits and one that does not return as one.
        asking = cast("Awaitable[object]", self._redis.eval(script, len(named), *named, *arguments))
        return await self._answered(asking, _POST_S)

    async def ping(self, within_s: float = 0.5) -> bool:
        """Whether Redis answers now."""
        try:
            async with asyncio.timeout(within_s):
                await self._redis.ping()
        except (RedisError, OSError, TimeoutError):
            return False
        return True

    def start(self) -> None:
        """Start writing behind. Needs a running event loop."""
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_behind(), name="redis-write-behind")

    async def aclose(self) -> None:
        """Write what is waiting, as far as half a second allows, and disconnect."""
        if self._writer is not None:
            await end(self._writer)
            self._writer = None
        if self._due is not None:
            self._due.cancel()
        if self._probe is not None:
            await end(self._probe)
            self._probe = None
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(0.5):
                while self._writes:
                    await self._write_batch()
        with contextlib.suppress(RedisError, OSError):
            await self._connection.disconnect()
            await self._redis.aclose()

    async def _write_behind(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(_GATHER_S)
            self._wake.clear()
            while self._writes:
                if not self.available:
                    # Entries wait (bounded) until the breaker closes.
                    await asyncio.sleep(0.05)
                    continue
                try:
                    async with asyncio.timeout(1.0):
                        await self._write_batch()
                except (RedisError, OSError, TimeoutError) as error:
                    self._failed(type(error).__name__)
                    await asyncio.sleep(0.05)

    async def _write_batch(self) -> None:
        batch = self._next_batch()
        try:
            commands = _commands(self._prefix, batch)
            await self._connection.send_packed_command(b"".join(commands))
            for _ in commands:
                await self._connection.read_response()
        except BaseException:  # whatever it was, nothing of the batch is lost
            self._put_back(batch)
            # Answers that are still to come belong to none of the next commands.
            await self._connection.disconnect(nowait=True)
            raise
        self._failures = 0

    async def _answered(self, asking: Awaitable[Any], deadline_s: float) -> Any:
        """What Redis answers; None, and a failure for the breaker, when it does not in time or at all."""
        try:
            async with asyncio.timeout(deadline_s):
                found = await asking
        except TimeoutError:
            self._failed("timeout")
            return None
        except (RedisError, OSError) as error:
            self._failed(type(error).__name__)
            return None
        self._failures = 0
        return found

    def _failed(self, kind: str) -> None:
        self._on_error(kind)
        self._failures += 1
        if self._failures >= _FAILURES_TO_OPEN and self._probe is None:
            _log.warning("Redis does not answer (%s); going on without it, next try in %.0f s", kind, _OPEN_S)
            self._probe = asyncio.create_task(self._until_it_answers(), name="redis-probe")

    async def _until_it_answers(self) -> None:
        """Close the breaker once Redis answers as fast as a read needs it."""
        while True:
            await asyncio.sleep(_OPEN_S)
            # The first ping may have to connect, which is not what a read waits for.
            if await self.ping() and await self.ping(self._read_timeout_s):
                break
        _log.info("Redis answers again")
        self._failures = 0
        self._probe = None


@dataclass(slots=True)
class _Folder:
    fields: list[Field]
    common: dict[bytes, bytes]
    ttl_s: int


def _commands(prefix: str, batch: Iterable[_Write]) -> list[bytes]:
    """What a batch says, in Redis's protocol: the client's pipelines take twice as long to say it."""
    commands = []
    folders: dict[str, _Folder] = {}
    for key, value, common, ttl_s in batch:
        if isinstance(value, bytes):
            commands.append(_command(b"SET", f"{prefix}:{key}".encode(), value, b"EX", b"%d" % ttl_s))
            continue
        folder = folders.get(key)
        if folder is None:
            folder = folders[key] = _Folder([], {}, ttl_s)
        folder.fields.append(value)
        if common is not None:
            folder.common[common[0]] = common[1]
    for key, folder in folders.items():
        name = f"{prefix}:{key}".encode()
        fields = chain(folder.fields, folder.common.items())
        commands.append(_command(b"HSET", name, *chain.from_iterable(fields)))
        commands.append(_command(b"EXPIRE", name, b"%d" % folder.ttl_s))
    return commands


def _size(write: _Write) -> int:
    value = write[1]
    return len(value) if isinstance(value, bytes) else len(value[1])


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])
