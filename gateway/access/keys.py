"""API keys: how they are made, and how they are stored. Only a hash under a secret pepper is stored, never the key.

A key of the gateway has 256 random bits, so one keyed BLAKE2b is enough: a slow hash protects only keys that can be
guessed. Without the pepper, nobody can test a guess against a stolen hash.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

#: Of every hash in the settings; the number is that of the scheme.
_HASH_PREFIX: Final = "pmh1:"
#: Of every key, so that scanners of code and logs can recognise one.
_KEY_PREFIX: Final = "pmk-"


class Pepper:
    """Hashes keys.

    Args:
        secret: Of any length; the same secret makes the same hashes.
    """

    __slots__ = ("_key",)

    def __init__(self, secret: bytes) -> None:
        self._key = hashlib.blake2b(secret, digest_size=64, person=b"pointsman-pepper").digest()

    def digest(self, key: bytes) -> bytes:
        """32 bytes that stand for a key."""
        return hashlib.blake2b(key, key=self._key, digest_size=32).digest()

    def written(self, key: str) -> str:
        """The hash as settings have it."""
        return _HASH_PREFIX + self.digest(key.encode()).hex()


def digest_of(written: str) -> bytes:
    """A hash from the settings as bytes."""
    return bytes.fromhex(written.removeprefix(_HASH_PREFIX))


def new_key() -> str:
    """A key nobody has seen."""
    return _KEY_PREFIX + secrets.token_urlsafe(32)
