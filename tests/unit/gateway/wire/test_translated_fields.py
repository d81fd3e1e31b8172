"""What becomes of the top-level fields of Messages and Responses requests."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.request import Inbound, parse_inbound
from pointsman.gateway.wire.stateful_fields import THREAD
from pointsman.gateway.wire.translated_fields import DROPPED, SAME, TRANSLATED

LEAST: dict[Endpoint, dict[str, Any]] = {
    Endpoint.MESSAGES: {"max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]},
    Endpoint.RESPONSES: {"input": "hi"},
}
APIS = list(LEAST)


def read(endpoint: Endpoint, **fields: Any) -> Inbound:
    return parse_inbound(endpoint, orjson.dumps({"model": "m", **LEAST[endpoint], **fields}))


@pytest.mark.parametrize("endpoint", APIS)
def test_each_field_has_one_fate(endpoint: Endpoint) -> None:
    fates = (SAME, DROPPED[endpoint], TRANSLATED[endpoint])
    assert sum(map(len, fates)) == len(frozenset().union(*fates))


@pytest.mark.parametrize("endpoint", APIS)
def test_what_is_harmless_is_dropped(endpoint: Endpoint) -> None:
    request = read(endpoint, **{name: {"x": "y"} for name in DROPPED[endpoint] - {"include", THREAD}})
    assert request.translated is not None
    assert request.translated.native_only is None
    assert not DROPPED[endpoint].intersection(request.payload)


@pytest.mark.parametrize("endpoint", APIS)
@pytest.mark.parametrize("name", ["unheard_of", "guided_json", "response_format", "logprobs", "modalities"])
def test_any_other_field_needs_an_expert_with_the_api(endpoint: Endpoint, name: str) -> None:
    for value in (1, {"a": 1}):
        if name == "logprobs" and value != 1:
            continue
        request = read(endpoint, **{name: value})
        assert request.translated is not None
        assert request.translated.native_only == name
        assert endpoint.capability in request.required
        assert name not in request.payload


@pytest.mark.parametrize("endpoint", APIS)
@pytest.mark.parametrize("value", [None, False, [], {}, ""])
def test_a_field_that_says_nothing_is_dropped(endpoint: Endpoint, value: object) -> None:
    request = read(endpoint, unheard_of=value)
    assert request.translated is not None
    assert request.translated.native_only is None
    assert "unheard_of" not in request.payload


@pytest.mark.parametrize("place", [None, "global", "us"])
def test_where_it_is_answered_is_a_promise(place: str | None) -> None:
    translated = read(Endpoint.MESSAGES, inference_geo=place).translated
    assert translated is not None
    assert translated.native_only == ("inference_geo" if place == "us" else None)
