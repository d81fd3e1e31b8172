"""What routing reads of a body, and the body an expert gets."""

import contextlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import Capability
from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.wire.flags import take_flags
from pointsman.gateway.wire.request import expert_body, parse_inbound, strip_routing
from pointsman.routers.selection.flags import EITHER_END
from pointsman.routers.types import Budget


def chat(**fields: object) -> bytes:
    return orjson.dumps({"model": "auto", "messages": [{"role": "user", "content": "hi"}], **fields})


def test_the_latest_user_turn_is_classified() -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": [{"type": "text", "text": "second"}, {"type": "text", "text": "part"}]},
    ]
    inbound = parse_inbound(Endpoint.CHAT, chat(messages=messages))
    assert inbound.text == "second\npart"


@pytest.mark.parametrize(
    ("fields", "capability"),
    [
        ({"tools": [{"type": "function"}]}, Capability.TOOLS),
        ({"logprobs": True}, Capability.LOGPROBS),
        ({"response_format": {"type": "json_schema"}}, Capability.JSON_SCHEMA),
        ({"stream": True}, Capability.STREAMING),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            Capability.VISION,
        ),
    ],
)
def test_what_a_request_needs_is_seen(fields: dict[str, object], capability: Capability) -> None:
    assert capability in parse_inbound(Endpoint.CHAT, chat(**fields)).required
    assert capability not in parse_inbound(Endpoint.CHAT, chat()).required


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"{", Code.INVALID_JSON, None),
        (b"[1]", Code.INVALID_JSON, None),
        (b"null", Code.INVALID_JSON, None),
        (b'"\xff"', Code.INVALID_JSON, None),
        (orjson.dumps({"messages": []}), Code.MISSING_FIELD, "model"),
        (chat(model=3), Code.INVALID_VALUE, "model"),
        (chat(messages=None), Code.MISSING_FIELD, "messages"),
        (chat(messages=[]), Code.INVALID_VALUE, "messages"),
        (chat(messages=["hi"]), Code.INVALID_VALUE, "messages[0]"),
        (chat(messages=[{"content": "hi"}]), Code.INVALID_VALUE, "messages[0].role"),
        (chat(messages=[{"role": "user", "content": 5}]), Code.INVALID_VALUE, "messages[0].content"),
        (chat(messages=[{"role": "user", "content": [7]}]), Code.INVALID_VALUE, "messages[0].content[0]"),
        (chat(n=0), Code.INVALID_VALUE, "n"),
        (chat(top_logprobs="9"), Code.INVALID_VALUE, "top_logprobs"),
        (chat(stream="yes"), Code.INVALID_VALUE, "stream"),
    ],
)
def test_bad_input_is_refused_and_the_field_named(body: bytes, code: Code, param: str | None) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse_inbound(Endpoint.CHAT, body)
    assert (refused.value.code, refused.value.param) == (code, param)
    assert refused.value.status == 400


@pytest.mark.parametrize("prompt", ["text", ["a", "b"], [1, 2, 3], [[1], [2, 3]]])
def test_every_form_of_prompt_is_accepted(prompt: object) -> None:
    inbound = parse_inbound(Endpoint.COMPLETIONS, orjson.dumps({"model": "auto", "prompt": prompt}))
    assert inbound.prompt_tokens > 0


def test_a_prompt_counts_by_its_bytes_and_with_its_tools() -> None:
    def tokens(content: str, **fields: object) -> int:
        return parse_inbound(
            Endpoint.CHAT, chat(messages=[{"role": "user", "content": content}], **fields)
        ).prompt_tokens

    assert tokens("語" * 600) == pytest.approx(3 * tokens("w" * 600), rel=0.02)
    tool = {"type": "function", "function": {"name": "f", "description": "w" * 600, "parameters": {}}}
    assert tokens("hello", tools=[tool]) > tokens("w" * 600)


def test_a_body_too_deep_to_be_written_again_is_refused() -> None:
    deep: object = []
    for _ in range(251):
        deep = [deep]
    fine = parse_inbound(Endpoint.CHAT, chat(metadata=deep))
    fine.rewritten = True
    assert expert_body(fine, "expert")
    body = chat(metadata=0).replace(b'"metadata":0', b'"metadata":' + b"[" * 300 + b"]" * 300)
    with pytest.raises(RequestRefused) as refused:
        parse_inbound(Endpoint.CHAT, body)
    assert refused.value.code is Code.INVALID_JSON


@pytest.mark.parametrize("prompt", [None, [], {}, 5, [1, "a"], [None]])
def test_any_other_prompt_is_refused(prompt: object) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse_inbound(Endpoint.COMPLETIONS, orjson.dumps({"model": "auto", "prompt": prompt}))
    assert refused.value.param == "prompt"


def test_the_body_stays_byte_for_byte_but_for_the_model() -> None:
    body = b'{ "messages":[{"role":"user","content":"say \\"model\\": \\"auto\\""}],  "model" : "auto", "x":1.10 }'
    inbound = parse_inbound(Endpoint.CHAT, body)
    assert expert_body(inbound, "big") == body.replace(b'"model" : "auto"', b'"model":"big"')


def test_the_client_s_own_bytes_are_sent_when_nothing_changes() -> None:
    body = chat(model="nano-code")
    inbound = parse_inbound(Endpoint.CHAT, body)
    assert expert_body(inbound, "nano-code") is body


def test_our_object_is_stripped_and_unknown_fields_stay() -> None:
    inbound = parse_inbound(Endpoint.CHAT, chat(routing={"max_energy_j": 1}, custom={"deep": [1, None]}))
    assert strip_routing(inbound) == {"max_energy_j": 1}
    sent = orjson.loads(expert_body(inbound, "big"))
    assert "routing" not in sent
    assert sent["custom"] == {"deep": [1, None]}
    assert sent["model"] == "big"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), children, max_size=4)
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from(["model", "model2", "extra", "metadata", "a"]), json_values, max_size=4),
    st.booleans(),
)
def test_whatever_else_a_body_holds_only_the_model_changes(extra: dict[str, object], spaced: bool) -> None:
    payload = {"messages": [{"role": "user", "content": "hi"}], "nested": extra, "model": "auto"}
    body = orjson.dumps(payload, option=orjson.OPT_INDENT_2 if spaced else 0)
    sent = expert_body(parse_inbound(Endpoint.CHAT, body), 'a "quoted" \\ name')
    assert orjson.loads(sent) == {**payload, "model": 'a "quoted" \\ name'}


@given(st.binary(max_size=200) | json_values.map(orjson.dumps))
def test_no_body_makes_anything_but_a_refusal_or_a_request(body: bytes) -> None:
    for endpoint in Endpoint:
        with contextlib.suppress(RequestRefused):
            parse_inbound(endpoint, body)


def test_flags_are_stripped_from_every_turn_and_read_from_the_latest() -> None:
    messages = [
        {"role": "user", "content": "[Flag: fastest] one"},
        {"role": "assistant", "content": "[Flag: fastest] quoted"},
        {"role": "user", "content": [{"type": "text", "text": "two [flag: Smallest  Model]"}]},
    ]
    inbound = parse_inbound(Endpoint.CHAT, chat(messages=messages))
    budget = take_flags(inbound, Budget(), EITHER_END)
    assert budget.weights.size > 0
    assert budget.weights.latency == 0
    assert inbound.text == "two"
    sent = orjson.loads(expert_body(inbound, "m"))["messages"]
    assert [sent[0]["content"], sent[1]["content"], sent[2]["content"][0]["text"]] == [
        "one",
        "[Flag: fastest] quoted",
        "two",
    ]


def test_an_unknown_flag_is_reported() -> None:
    inbound = parse_inbound(Endpoint.COMPLETIONS, orjson.dumps({"model": "auto", "prompt": "[Flag: loudest] hi"}))
    with pytest.raises(RequestRefused) as refused:
        take_flags(inbound, Budget(), EITHER_END)
    assert refused.value.code is Code.UNKNOWN_FLAG
    assert "loudest" in refused.value.message
