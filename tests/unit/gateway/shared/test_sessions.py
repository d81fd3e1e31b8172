"""Sessions are remembered per tenant, for a while, and no two of them share anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.gateway.errors import RequestRefused
from pointsman.gateway.shared.sessions import Sessions
from pointsman.gateway.wire.budget import parse_session


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def sessions(now):
    return Sessions(entries=2, ttl_s=10, store=None, clock=lambda: now[0])


async def test_the_last_expert_is_remembered_until_it_is_old(sessions, now):
    key = sessions.key("acme", "chat-1")
    assert await sessions.previous(key) is None
    sessions.put(key, "code")
    sessions.put(key, "math")
    assert await sessions.previous(key) == "math"
    now[0] = 10.5
    assert await sessions.previous(key) is None


async def test_only_so_many_are_kept(sessions):
    keys = [sessions.key("acme", name) for name in ("one", "two", "three")]
    for key in keys:
        sessions.put(key, "code")
    assert [await sessions.previous(key) for key in keys] == [None, "code", "code"]


texts = st.text(max_size=8)


@given(texts, texts, texts, texts)
def test_two_sessions_share_a_key_only_when_they_are_one(tenant, session, other_tenant, other_session):
    same = (tenant, session) == (other_tenant, other_session)
    assert (Sessions.key(tenant, session) == Sessions.key(other_tenant, other_session)) is same


def test_the_body_names_the_session_before_the_header():
    headers = {b"x-pointsman-session": b"from-header"}
    assert parse_session({"session": "from-body"}, headers) == "from-body"
    assert parse_session({}, headers) == "from-header"
    assert parse_session(None, {}) is None


@pytest.mark.parametrize("session", ["", "x" * 257, 7, ["a"]])
def test_a_session_that_is_no_name_is_refused(session):
    with pytest.raises(RequestRefused) as refused:
        parse_session({"session": session}, {})
    assert refused.value.param == "routing.session"
