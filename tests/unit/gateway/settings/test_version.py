"""What tells two settings apart, or says that two replicas have the same."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from pointsman.gateway.settings import Settings
from pointsman.gateway.settings.version import digest_of

_PROGRAM = """
import json, sys
from pointsman.gateway.settings.version import digest_of
from pointsman.gateway.settings import Settings
print(digest_of(Settings.model_validate_json(sys.stdin.read(), strict=True)))
"""


def settings(**expert: Any) -> Settings:
    capabilities = ["chat", "tools", "json_schema", "vision"]
    fields = {"name": "one", "backend": "fake", "capabilities": capabilities, **expert}
    return Settings.model_validate({"pool": {"experts": [fields]}})


def in_a_process_of_its_own(hash_seed: int) -> str:
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=settings().model_dump_json(),
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_equal_settings_have_equal_digests_in_every_process() -> None:
    assert {in_a_process_of_its_own(seed) for seed in range(4)} == {digest_of(settings())}


def test_any_change_changes_the_digest() -> None:
    digests = {digest_of(settings(**change)) for change in ({}, {"name": "two"}, {"generalist": True}, {"card": "x"})}
    assert len(digests) == 4
