"""The salt of vLLM's prefix cache: one for each tenant, whatever a client writes."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.gateway.wire.cache_salt import salted

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def read(body: bytes) -> dict[str, Any]:
    """A body that every reader takes for the same."""
    pairs: list[str] = []

    def seen(found: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs.extend(name for name, _ in found if name == "cache_salt")
        return dict(found)

    document: dict[str, Any] = json.loads(body, object_pairs_hook=seen)
    assert pairs.count("cache_salt") == 1
    return document


@given(st.dictionaries(TEXT.filter(lambda name: name != "cache_salt"), TEXT, min_size=1), TEXT, TEXT)
def test_a_tenant_has_one_and_the_rest_stays(fields: dict[str, str], one: str, other: str) -> None:
    body = orjson.dumps(fields)
    first, again, second = (read(salted(body, tenant)) for tenant in (one, one, other))
    assert first == again
    assert (first["cache_salt"] == second["cache_salt"]) == (one == other)
    assert {name: value for name, value in first.items() if name != "cache_salt"} == fields


@pytest.mark.parametrize("name", ["cache_salt", "cache\\u005fsalt", "\\u0063ache_salt"])
def test_a_client_parts_its_own_and_takes_nobody_elses(name: str) -> None:
    theirs = read(salted(b'{"model":"m"}', "a"))["cache_salt"]
    body = f'{{"model":"m","{name}":"{theirs}"}}'.encode()
    found = read(salted(body, "b"))["cache_salt"]
    assert found not in (theirs, read(salted(b'{"model":"m"}', "b"))["cache_salt"])
    assert read(salted(body, "b"))["cache_salt"] == found


def test_blanks_before_the_body() -> None:
    assert read(salted(b' \r\n\t{"model": "m"}', "a"))["model"] == "m"
