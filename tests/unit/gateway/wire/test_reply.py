"""An expert's bytes on their way to the client."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pointsman.experts.spec import Usage
from pointsman.gateway.wire.reply import EventStream, usage_in, with_model

EVENTS = (
    b": a comment\n\n"
    b'data: {"id":"1","model":"code","choices":[{"delta":{"content":"h\xc3\xa9llo \\"model\\":\\"x\\""}}]}\n\n'
    b'data: {"id":"1","model":"code","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'
    b"data: [DONE]\n\n"
)


@given(st.lists(st.integers(0, len(EVENTS)), max_size=8))
def test_however_the_bytes_are_split_they_come_out_the_same(cuts: list[int]) -> None:
    stream = EventStream("code")
    edges = [0, *sorted(cuts), len(EVENTS)]
    out = [stream.feed(EVENTS[a:b]) for a, b in pairwise(edges)]
    assert b"".join(out) + stream.finish() == EVENTS
    assert stream.usage == Usage(7, 3)
    assert stream.done


@given(st.lists(st.integers(0, len(EVENTS)), max_size=8))
def test_only_whole_events_leave(cuts: list[int]) -> None:
    stream = EventStream("code")
    edges = [0, *sorted(cuts), len(EVENTS)]
    for a, b in pairwise(edges):
        piece = stream.feed(EVENTS[a:b])
        assert piece == b"" or piece.endswith(b"\n\n")


def test_the_model_names_the_expert_in_every_event() -> None:
    stream = EventStream("nano-code")
    out = stream.feed(EVENTS)
    assert out.count(b'"model":"nano-code"') == 2
    assert out.replace(b'"model":"nano-code"', b'"model":"code"') == EVENTS


@given(
    st.lists(st.integers(1, 400), max_size=20), st.sampled_from([b'"model":"%b"', b'"model" : "%b"', b'"model":  "%b"'])
)
def test_nothing_but_the_name_changes_in_a_long_stream(cuts: list[int], field: bytes) -> None:
    def events(name: bytes) -> bytes:
        model = field % name
        plain = b"".join(
            b'data: {"id":"1",%b,"choices":[{"delta":{"content":"%d"}}]}\n\n' % (model, i) for i in range(9)
        )
        nested = b'data: {%b,"of":{%b}}\n\n' % (model, field % b"inner")
        return plain + nested + b": a comment\n\n" + plain + b"data: [DONE]\n\n"

    stream, theirs, out = EventStream("nano-code"), events(b"code"), b""
    for start, end in pairwise([0, *sorted({min(cut, len(theirs)) for cut in cuts}), len(theirs)]):
        out += stream.feed(theirs[start:end])
    assert out + stream.finish() == events(b"nano-code")


def test_carriage_returns_are_boundaries_too() -> None:
    stream = EventStream("m")
    assert stream.feed(b"data: 1\r\n\r\ndata: 2") == b"data: 1\r\n\r\n"
    assert stream.feed(b"\r\n\r\n") == b"data: 2\r\n\r\n"


def test_a_missing_last_blank_line_loses_nothing() -> None:
    stream = EventStream("m")
    assert stream.feed(b"data: [DONE]") == b""
    assert stream.finish() == b"data: [DONE]"
    assert stream.done


def test_done_inside_an_answer_is_not_the_end() -> None:
    stream = EventStream("m")
    stream.feed(b'data: {"model":"m","choices":[{"delta":{"content":"data: [DONE]"}}]}\n\n')
    assert not stream.done


def test_a_document_that_names_the_expert_already_is_untouched() -> None:
    body = b'{"id":"1", "model" : "code", "choices":[]}'
    assert with_model(body, "code") is body
    assert with_model(body, "x") == b'{"id":"1", "model" : "x", "choices":[]}'


def test_usage_that_is_not_there_is_none() -> None:
    assert usage_in(b"{}") is None
    assert usage_in(b"nonsense") is None
    assert usage_in(b'{"usage":null}') is None
    assert usage_in(b'{"usage":{"prompt_tokens":2}}') == Usage(2, 0)


def test_only_the_answers_own_model_is_renamed() -> None:
    nested = b'{"choices":[{"message":{"tool_calls":[{"function":{"arguments":{"model":"T"}}}]}}],"model":"up"}'
    assert with_model(nested, "x") == nested.replace(b'"up"', b'"x"')
    assert with_model(nested.replace(b',"model":"up"', b""), "x") == nested.replace(b',"model":"up"', b"")
    said = b'{"choices":[{"message":{"content":"\\"model\\":\\"T\\""}}],"model":"up"}'
    assert with_model(said, "x") == said.replace(b'"up"', b'"x"')


def test_every_event_is_renamed_where_it_names_the_model() -> None:
    events = [
        b'data: {"type":"message_start","message":{"content":[],"model":"up","usage":{}}}',
        b'data: {"type":"content_block_start","content_block":{"type":"tool_use","input":{"model":"T"}}}',
        b'data: {"type":"response.created","response":{"metadata":{"model":"T"},"model":"up"}}',
        b'data: {"choices":[{"delta":{"content":"a"}}],"model":"up"}',
        b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":{"model":"T"}}}]}}]}',
        b'data: {"model":"up","choices":[]}',
        b"",
    ]
    data = b"\n\n".join(events)
    assert EventStream("x").feed(data) == data.replace(b'"up"', b'"x"')
