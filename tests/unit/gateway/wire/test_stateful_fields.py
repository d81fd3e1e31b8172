"""Fields that refer to what a server keeps reach no chat expert, where they would be lost."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import Capability
from pointsman.gateway.wire.request import parse_inbound
from pointsman.gateway.wire.stateful_fields import ID_FIELDS, STATEFUL

ASKED: dict[Endpoint, dict[str, Any]] = {
    Endpoint.RESPONSES: {"input": "x"},
    Endpoint.MESSAGES: {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}]},
}


@pytest.mark.parametrize(
    ("endpoint", "field"), [(one, field) for one in ASKED for field in sorted(ID_FIELDS | set(STATEFUL[one]))]
)
def test_a_stateful_field_needs_an_expert_of_its_api(endpoint: Endpoint, field: str) -> None:
    for value in ("something", ["something"], {"id": "something"}):
        inbound = parse_inbound(endpoint, orjson.dumps({"model": "auto", **ASKED[endpoint], field: value}))
        assert inbound.translated is not None
        assert inbound.translated.native_only == field
        assert field not in inbound.payload
        assert endpoint.capability in inbound.required
    for nothing in (None, False, "", []):
        inbound = parse_inbound(endpoint, orjson.dumps({"model": "auto", **ASKED[endpoint], field: nothing}))
        assert inbound.translated is not None
        assert inbound.translated.native_only is None
        assert field not in inbound.payload


def test_a_thread_that_begins_may_be_answered_by_anybody() -> None:
    asked = {"model": "auto", **ASKED[Endpoint.MESSAGES], "thread": {"type": "create"}}
    inbound = parse_inbound(Endpoint.MESSAGES, orjson.dumps(asked))
    assert "thread" not in inbound.payload
    assert Capability.MESSAGES not in inbound.required
    asked["thread"] = {"type": "continue", "previous_message_id": "msg_1"}
    inbound = parse_inbound(Endpoint.MESSAGES, orjson.dumps(asked))
    assert "thread" not in inbound.payload
    assert Capability.MESSAGES in inbound.required
