"""How long an answer may get and how many are asked for: every field, what may stand in it, and its neighbours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.errors import RequestRefused
from pointsman.gateway.wire.answer_bounds import read_bounds
from pointsman.gateway.wire.request import Inbound, parse_inbound
from pointsman.gateway.wire.request_fields import ANSWERS, LIMITS, OWN_LIMITS, TOP_TOKENS, WRAPPERS

PROMPTS: dict[Endpoint, dict[str, Any]] = {
    Endpoint.CHAT: {"messages": [{"role": "user", "content": "hi"}]},
    Endpoint.COMPLETIONS: {"prompt": "hi"},
    Endpoint.MESSAGES: {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5},
    Endpoint.RESPONSES: {"input": "hi"},
}
WRITING = tuple(PROMPTS)
#: What is no whole number of at least 1.
NO_NUMBERS = (0, -1, 256.0, "256", "", True, False, [], [256], {}, {"value": 256}, 1e300, 18446744073709551616)


def read(endpoint: Endpoint, **fields: Any) -> Inbound:
    return parse_inbound(endpoint, json.dumps({"model": "auto", **PROMPTS[endpoint], **fields}).encode())


@pytest.mark.parametrize(
    ("endpoint", "fields", "limit", "unread"),
    [
        (Endpoint.CHAT, {}, None, None),
        (Endpoint.CHAT, {"max_tokens": 800}, 800, None),
        (Endpoint.CHAT, {"max_completion_tokens": 800}, 800, None),
        (Endpoint.CHAT, {"max_tokens": 800, "max_completion_tokens": 1}, 800, None),
        (Endpoint.CHAT, {"max_tokens": 1, "max_completion_tokens": 800}, 800, None),
        (Endpoint.CHAT, {"max_tokens": None, "max_completion_tokens": 7}, 7, None),
        (Endpoint.CHAT, {"max_tokens": 1, "max_new_tokens": 800}, 800, None),
        (Endpoint.CHAT, {"max_tokens": 1, "extra_body": {"max_tokens": 800}}, 800, None),
        (Endpoint.CHAT, {"max_tokens": 1, "options": {"num_predict": -1}}, None, "options.num_predict"),
        (Endpoint.CHAT, {"max_output_tokens": 1}, None, "max_output_tokens"),
        (Endpoint.CHAT, {"max_tokens": 800, "max_completion_tokens": "1"}, None, "max_completion_tokens"),
        (Endpoint.COMPLETIONS, {"max_tokens": 800, "max_completion_tokens": 1}, 800, None),
        (Endpoint.COMPLETIONS, {"max_completion_tokens": 1}, None, "max_completion_tokens"),
        (Endpoint.COMPLETIONS, {"max_tokens": 1, "n_predict": 800}, 800, None),
        (Endpoint.MESSAGES, {"max_tokens": 1, "max_completion_tokens": 800}, 800, None),
        (Endpoint.MESSAGES, {"max_tokens": 800, "max_output_tokens": 1}, 800, None),
        (Endpoint.RESPONSES, {"max_output_tokens": 800, "max_completion_tokens": 1}, 800, None),
        (Endpoint.RESPONSES, {"max_output_tokens": 1, "max_tokens": 800}, 800, None),
        (Endpoint.RESPONSES, {"max_tokens": 1}, None, "max_tokens"),
    ],
)
def test_the_largest_limit_counts_and_only_beside_the_endpoint_s_own(
    endpoint: Endpoint, fields: dict[str, Any], limit: int | None, unread: str | None
) -> None:
    request = read(endpoint, **fields)
    assert (request.max_completion_tokens, request.work.unread_limit) == (limit, unread)


@pytest.mark.parametrize("endpoint", [Endpoint.CHAT, Endpoint.COMPLETIONS])
@pytest.mark.parametrize("name", sorted(LIMITS))
@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_a_limit_that_is_no_number_bounds_nothing_and_passes_on(endpoint: Endpoint, name: str, value: object) -> None:
    own = next(iter(OWN_LIMITS[endpoint] - {name}), None)
    for beside in ({}, {} if own is None else {own: 9}):
        request = read(endpoint, **beside, **{name: value})
        assert (request.max_completion_tokens, request.work.unread_limit) == (None, name)
        assert not request.rewritten


@pytest.mark.parametrize("endpoint", WRITING)
@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_what_asks_for_several_answers_is_a_whole_number(endpoint: Endpoint, name: str) -> None:
    assert read(endpoint, **{name: 40}).work.answers == 40
    assert read(endpoint, **{name: 1}).work.answers == read(endpoint, **{name: None}).work.answers == 1
    for wrapper in WRAPPERS:
        assert read(endpoint, **{wrapper: {name: 40}}).work.answers == 40
    for value in NO_NUMBERS:
        for fields, param in (({name: value}, name), ({"extra_body": {name: value}}, f"extra_body.{name}")):
            with pytest.raises(RequestRefused) as refused:
                read(endpoint, **fields)
            assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize("name", sorted(TOP_TOKENS))
def test_figures_beside_each_token_are_whole_numbers(name: str) -> None:
    for value in (None, 0, 5, True, False):
        assert read(Endpoint.COMPLETIONS, **{name: value}).work.answers == 1
    for value in ("5", 5.0, -1, [], {}):
        with pytest.raises(RequestRefused) as refused:
            read(Endpoint.COMPLETIONS, **{name: value})
        assert (refused.value.status, refused.value.param) == (400, name)


def test_the_largest_number_of_answers_counts_once_for_each_prompt() -> None:
    assert read(Endpoint.CHAT, n=2, best_of=5).work.answers == 5
    assert read(Endpoint.COMPLETIONS, prompt=["a", "b", "c"], n=2).work.answers == 6
    assert read(Endpoint.COMPLETIONS, prompt=[[1], [2, 3]]).work.answers == 2
    assert read(Endpoint.COMPLETIONS, prompt=[1, 2, 3]).work.answers == 1
    several = read(Endpoint.COMPLETIONS, prompt=["a" * 3600, "b"]).work
    assert (several.longest_prompt_tokens, several.shortest_prompt_tokens) == (1004, 4)


@pytest.mark.parametrize("prompt", [[["a" * 1000]], [[1, "a"]], [[1], "a"], [True], [1.0], [[None]], [{"a": 1}]])
def test_a_prompt_of_anything_but_texts_and_token_ids_is_refused(prompt: object) -> None:
    with pytest.raises(RequestRefused) as refused:
        read(Endpoint.COMPLETIONS, prompt=prompt)
    assert refused.value.param == "prompt"


@given(
    st.sampled_from(WRITING),
    st.dictionaries(
        st.sampled_from(sorted(LIMITS)),
        st.integers(-2, 10**6) | st.sampled_from([None, "9", 9.0, True]),
        max_size=4,
    ),
)
def test_no_field_lowers_what_another_one_allows(endpoint: Endpoint, fields: dict[str, Any]) -> None:
    """Whichever field an expert goes by, its number is within the bound, or there is no bound."""
    limit, unread, _ = read_bounds(endpoint, fields)
    assert limit is None or unread is None
    if limit is not None:
        assert all(value is None or (type(value) is int and 1 <= value <= limit) for value in fields.values())
    elif unread is None:
        assert all(value is None for value in fields.values())
