"""Answers of an OpenAI-compatible server without what differs from call to call."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


def timeless(body: bytes) -> dict[str, Any]:
    """A whole answer without its id and time."""
    return {key: value for key, value in json.loads(body).items() if key not in ("id", "created")}


@dataclass(frozen=True)
class Streamed:
    """What a stream of events says. Where its events are cut depends on how busy the server is: that is left out."""

    text: str
    model: str
    object: str
    role: str | None
    finish_reason: str
    usage: dict[str, Any] | None


def streamed(body: bytes) -> Streamed:
    """Read a stream of server-sent events, to its [DONE].

    Raises:
        AssertionError: It is not what OpenAI's streams are.
    """
    frames = body.decode().split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""], frames[-2:]
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in frames[:-2]]
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks}) == 1
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert len(choices) > 2, "hardly a stream"
    assert {choice["index"] for choice in choices} == {0}
    parts = [choice.get("delta") or {"content": choice.get("text")} for choice in choices]
    reasons = [choice["finish_reason"] for choice in choices if choice["finish_reason"] is not None]
    assert reasons == [choices[-1]["finish_reason"]]
    usages = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    assert all(chunk["choices"] == [] for chunk in chunks if chunk.get("usage"))
    return Streamed(
        "".join(part.get("content") or "" for part in parts),
        chunks[0]["model"],
        chunks[0]["object"],
        parts[0].get("role"),
        reasons[0],
        usages[-1] if usages else None,
    )
