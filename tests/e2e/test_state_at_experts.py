"""What experts keep of earlier answers: whoever goes on from it is answered by the expert that has it."""

from __future__ import annotations

from typing import Any

import openai
import orjson
import pytest

from tests.e2e.chat_turns import AUTH, CHAT, ask, gateway_before, responses_of
from tests.e2e.upstream import EVENTS, Says, upstream


async def test_a_kept_turn_goes_to_an_expert_of_the_same_api_in_full() -> None:
    native = {"id": "resp_native", "object": "response", "status": "completed", "model": "inner", "output": []}
    async with (
        upstream(responses=Says(orjson.dumps(native))) as speaker,
        upstream() as chat,
        gateway_before(chat.expert("chat", *CHAT), speaker.expert("speaker", *CHAT, "responses"), auth=AUTH) as gateway,
        responses_of(gateway) as client,
    ):
        first = await ask(client, chat, "one", model="chat", input="first")
        await client.responses.create(model="speaker", input="second", previous_response_id=first.id)
        sent = speaker.asked[-1].json
        assert "previous_response_id" not in sent
        assert (sent["input"][0]["role"], sent["input"][0]["content"]) == ("user", "first")
        assert sent["input"][1]["content"][0]["text"] == "one"
        assert all("id" not in item for item in sent["input"]), "the provider has none of them"
        # What the speaker made stays with it, and cannot be read by another.
        await client.responses.create(model="auto", input="third", previous_response_id="resp_native")
        assert speaker.asked[-1].json["previous_response_id"] == "resp_native"
        with pytest.raises(openai.BadRequestError) as gone:
            await client.responses.create(model="chat", input="third", previous_response_id="resp_native")
        assert gone.value.code == "previous_response_not_found"


ITEMS = {
    "id": "resp_7",
    "object": "response",
    "status": "completed",
    "model": "inner",
    "output": [
        {"type": "web_search_call", "id": "ws_7", "status": "completed", "action": {"type": "search", "query": "q"}},
        {"type": "custom_tool_call", "id": "ctc_7", "call_id": "call_7", "name": "t", "input": "x"},
        {"type": "image_generation_call", "id": "ig_7", "status": "completed", "result": "aGk="},
        {"type": "mcp_call", "id": "mcp_7", "name": "t", "arguments": "{}", "server_label": "s", "output": "o"},
        {"type": "message", "id": "msg_7", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
    ],
}
ITEM_EVENTS = b"".join(
    b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))
    for kind, fields in [
        *(("response.output_item.done", {"output_index": n, "item": one}) for n, one in enumerate(ITEMS["output"])),
        ("response.completed", {"response": ITEMS}),
    ]
)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("auth", [None, AUTH])
async def test_items_of_any_kind_lead_to_the_expert_that_made_them(auth: dict[str, Any] | None, stream: bool) -> None:
    says = Says(ITEM_EVENTS, EVENTS) if stream else Says(orjson.dumps(ITEMS))
    other = Says(orjson.dumps(ITEMS).replace(b"_7", b"_8"))
    async with (
        upstream(responses=says) as maker,
        upstream(responses=other) as rival,
        upstream() as chat,
        gateway_before(
            chat.expert("chat", *CHAT, prior=0.9),
            rival.expert("rival", *CHAT, "responses", prior=0.8),
            maker.expert("maker", *CHAT, "responses", prior=0.1),
            auth=auth,
        ) as gateway,
        responses_of(gateway) as client,
    ):
        made = await client.responses.create(model="maker", input="first", stream=stream)
        if stream:
            assert len([event async for event in made]) == len(ITEMS["output"]) + 1  # type: ignore[union-attr]
        for item in ITEMS["output"]:
            maker.answers["/v1/responses"] = Says(orjson.dumps(ITEMS))
            asked = len(maker.asked)
            reference: Any = {"type": "item_reference", "id": item["id"]}
            await client.responses.create(model="auto", input=[reference, {"role": "user", "content": "go on"}])
            assert len(maker.asked) == asked + 1, item["id"]
        if auth is None:
            # One that nobody remembers says nothing against the others.
            both_items: Any = [{"type": "item_reference", "id": "ws_unknown"}, reference]
            await client.responses.create(model="auto", input=both_items)
            assert len(maker.asked) == asked + 2


async def test_one_expert_alone_can_have_made_what_nobody_here_knows() -> None:
    async with (
        upstream(responses=Says(orjson.dumps(ITEMS))) as speaker,
        upstream() as chat,
        gateway_before(
            chat.expert("chat", *CHAT, prior=0.9), speaker.expert("speaker", *CHAT, "responses", prior=0.1)
        ) as gateway,
        responses_of(gateway) as client,
    ):
        reference: Any = [{"type": "item_reference", "id": "ws_9"}, {"role": "user", "content": "go on"}]
        await client.responses.create(model="auto", input=reference)
        assert speaker.asked[-1].json["input"] == reference
        with pytest.raises(openai.NotFoundError) as lost:
            await client.responses.create(model="chat", input=reference)
        assert lost.value.param == "input[0].id"


@pytest.mark.parametrize("auth", [None, AUTH])
async def test_files_and_containers_lead_to_the_expert_that_has_them(auth: dict[str, Any] | None) -> None:
    made = {"id": "resp_5", "object": "response", "status": "completed", "model": "inner"}
    made["output"] = [{"type": "code_interpreter_call", "id": "ci_5", "container_id": "cntr_5", "outputs": []}]
    async with (
        upstream(responses=Says(orjson.dumps(made))) as maker,
        upstream(responses=Says(orjson.dumps(made).replace(b"_5", b"_6"))) as rival,
        gateway_before(
            rival.expert("rival", *CHAT, "responses", prior=0.9),
            maker.expert("maker", *CHAT, "responses", prior=0.1),
            auth=auth,
        ) as gateway,
        responses_of(gateway) as client,
    ):
        await client.responses.create(model="maker", input="first")
        tools: Any = [{"type": "code_interpreter", "container": "cntr_5"}]
        whole: Any = [made["output"][0], {"role": "user", "content": "go on"}]
        for fields in ({"input": "x", "tools": tools}, {"input": whole}):
            asked = len(maker.asked)
            await client.responses.create(model="auto", **fields)
            assert len(maker.asked) == asked + 1
        await client.responses.create(model="auto", input="anything")
        assert len(rival.asked) == 1, "left free, another expert is chosen"


async def test_what_the_gateway_keeps_and_what_an_expert_keeps_go_together() -> None:
    made = {**ITEMS, "output": ITEMS["output"][-1:]}
    async with (
        upstream(responses=Says(orjson.dumps(made))) as speaker,
        upstream() as chat,
        gateway_before(
            chat.expert("chat", *CHAT, prior=0.9), speaker.expert("speaker", *CHAT, "responses", prior=0.1), auth=AUTH
        ) as gateway,
        responses_of(gateway) as client,
    ):
        here = await ask(client, chat, "one", model="chat", input="first")
        there = await client.responses.create(model="speaker", input="second")
        mixed: Any = [
            {"type": "item_reference", "id": here.output[0].id},
            {"type": "item_reference", "id": there.output[0].id},
            {"role": "user", "content": "third"},
        ]
        await client.responses.create(model="auto", input=mixed)
        sent = speaker.asked[-1].json["input"]
        assert (sent[0]["content"][0]["text"], sent[1:]) == ("one", mixed[1:])
        with pytest.raises(openai.NotFoundError) as lost:
            await client.responses.create(model="chat", input=mixed)
        assert lost.value.param == "input[1].id"
