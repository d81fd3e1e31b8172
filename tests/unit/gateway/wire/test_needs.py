"""What a request needs of an expert beyond text, in the words of each API."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import Capability
from pointsman.gateway.wire.request import parse_inbound

_PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
CHAT: list[tuple[dict[str, Any], Capability]] = [
    ({"type": "image_url", "image_url": {"url": "data:,"}}, Capability.VISION),
    ({"type": "image_embeds", "image_embeds": "AA=="}, Capability.VISION),
    ({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}, Capability.AUDIO),
    ({"input_audio": {"data": "AA", "format": "wav"}}, Capability.AUDIO),
    ({"type": "audio_url", "audio_url": {"url": "http://x/a"}}, Capability.AUDIO),
    ({"type": "video_url", "video_url": {"url": "http://x/v"}}, Capability.VIDEO),
    ({"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}}, Capability.FILES),
    ({"type": "file", "file": {"file_id": "file-1"}}, Capability.FILES),
]
MESSAGES: list[tuple[dict[str, Any], Capability]] = [
    ({"type": "image", "source": {"type": "url", "url": "http://x/p"}}, Capability.VISION),
    ({"type": "document", "source": _PDF}, Capability.FILES),
    ({"type": "document", "source": {"type": "file", "file_id": "file_1"}}, Capability.FILES),
    ({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "document", "source": _PDF}]}, Capability.FILES),
]
RESPONSES: list[tuple[dict[str, Any], Capability]] = [
    ({"type": "input_image", "image_url": "data:,"}, Capability.VISION),
    ({"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}, Capability.FILES),
    ({"type": "input_file", "file_url": "http://x/a.pdf"}, Capability.FILES),
    ({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}, Capability.AUDIO),
]
_MEDIA = {Capability.VISION, Capability.AUDIO, Capability.VIDEO, Capability.FILES}


@pytest.mark.parametrize(
    ("endpoint", "part", "need"),
    [
        *((Endpoint.CHAT, *case) for case in CHAT),
        *((Endpoint.MESSAGES, *case) for case in MESSAGES),
        *((Endpoint.RESPONSES, *case) for case in RESPONSES),
    ],
)
def test_a_part_that_is_no_text_is_a_need_of_its_kind_alone(
    endpoint: Endpoint, part: dict[str, Any], need: Capability
) -> None:
    assert _needs(endpoint, [part]) == {need}
    text = {"type": "input_text" if endpoint is Endpoint.RESPONSES else "text", "text": "what is this?"}
    assert _needs(endpoint, [text, part]) == {need}


@pytest.mark.parametrize(
    ("endpoint", "content"),
    [
        (Endpoint.CHAT, "an input_audio, a file and a document"),
        (Endpoint.CHAT, [{"type": "text", "text": "image_url"}]),
        (
            Endpoint.MESSAGES,
            [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}],
        ),
        (Endpoint.MESSAGES, [{"type": "tool_result", "tool_use_id": "t", "content": "file"}]),
        (Endpoint.RESPONSES, [{"type": "input_text", "text": "input_file"}]),
    ],
)
def test_text_needs_nothing_beyond_text(endpoint: Endpoint, content: object) -> None:
    assert _needs(endpoint, content) == set()


def test_parts_of_earlier_turns_and_an_answer_in_sound_are_needs_too() -> None:
    turns = [
        {"role": "user", "content": [CHAT[2][0]]},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "and now?"},
    ]
    body = {"model": "auto", "messages": turns}
    assert Capability.AUDIO in parse_inbound(Endpoint.CHAT, orjson.dumps(body)).required
    body = {"model": "auto", "messages": turns[2:], "modalities": ["text", "audio"], "audio": {"voice": "a"}}
    assert Capability.AUDIO in parse_inbound(Endpoint.CHAT, orjson.dumps(body)).required
    assert Capability.AUDIO not in parse_inbound(Endpoint.CHAT, orjson.dumps(body | {"modalities": ["text"]})).required


def _needs(endpoint: Endpoint, content: object) -> set[Capability]:
    turns = [{"role": "user", "content": content}]
    body = {"model": "auto", "max_tokens": 9, "input" if endpoint is Endpoint.RESPONSES else "messages": turns}
    return parse_inbound(endpoint, orjson.dumps(body)).required & _MEDIA
