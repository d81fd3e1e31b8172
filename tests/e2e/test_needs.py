"""What a request needs beyond text, under `auto` and by name, with settings as people write them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.e2e.running import running
from tests.e2e.test_endpoints_messages import ask
from tests.e2e.upstream import Says, upstream

WHOLE = orjson.dumps(
    {
        "model": "inner",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "t"}, "finish_reason": "stop"}],
    }
)
SOUND = {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}
FILE = {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
TEXT = ["chat", "streaming"]


def chat(model: str, *parts: dict[str, Any], **fields: Any) -> bytes:
    content = [{"type": "text", "text": "what is this?"}, *parts]
    return orjson.dumps({"model": model, "messages": [{"role": "user", "content": content}], **fields})


@pytest.mark.parametrize(("need", "part"), [("audio", SOUND), ("files", FILE)])
async def test_auto_asks_who_is_said_to_be_able_and_a_name_asks_who_is_named(need: str, part: dict[str, Any]) -> None:
    async with upstream(chat__completions=Says(WHOLE)) as server:
        free = {"price": {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}}
        pool = [server.expert("text", *TEXT, prior=0.9, **free), server.expert("able", *TEXT, need, **free)]
        async with running({"pool": {"experts": pool}}) as gateway:
            for model, routing, answers in (
                ("auto", {}, "able"),
                ("text", {}, "text"),
                # Beside a budget, which is held against a named expert too.
                ("text", {"max_cost_usd": 1}, "text"),
                ("able", {"weights": {"cost": 1}}, "able"),
            ):
                body = chat(model, part, **({"routing": routing} if routing else {}))
                status, _, headers = await ask(gateway.url, "/v1/chat/completions", body)
                assert (status, headers["x-pointsman-expert"]) == (200, answers)


async def test_a_need_that_nobody_can_meet_is_refused_with_its_reason() -> None:
    async with upstream(chat__completions=Says(WHOLE)) as server:
        async with running({"pool": {"experts": [server.expert("text", *TEXT)]}}) as gateway:
            status, body, headers = await ask(gateway.url, "/v1/chat/completions", chat("auto", SOUND))
            assert (status, headers["x-pointsman-reason"]) == (422, "capability")
            assert "it lacks audio" in orjson.loads(body)["error"]["message"]
        assert not server.asked


async def test_experts_of_whose_capabilities_nothing_is_said_are_asked_for_tools() -> None:
    async with upstream(chat__completions=Says(WHOLE)) as server:
        silent = server.expert("silent")
        del silent["capabilities"]
        async with running({"pool": {"experts": [silent, server.expert("text", *TEXT, prior=0.9)]}}) as gateway:
            for parts, fields in (
                ((), {"tools": [TOOL]}),
                ((SOUND,), {}),
                ((), {"response_format": {"type": "json_object"}}),
            ):
                status, _, headers = await ask(gateway.url, "/v1/chat/completions", chat("auto", *parts, **fields))
                assert (status, headers["x-pointsman-expert"]) == (200, "silent")
            status, _, headers = await ask(gateway.url, "/v1/chat/completions", chat("auto"))
            assert (status, headers["x-pointsman-expert"]) == (200, "text")
