"""The fields and roles of chats that an expert knows, by its server and model."""

from __future__ import annotations

from typing import Any

import pytest

from pointsman.experts.spec import ExpertSpec, InstructingRole, LimitField
from pointsman.gateway.settings.expert import ExpertSettings

OLD, NEW, EITHER = LimitField.MAX_TOKENS, LimitField.MAX_COMPLETION_TOKENS, LimitField.EITHER


def spec(model: str, base_url: str = "http://127.0.0.1:8000/v1", **fields: Any) -> ExpertSpec:
    return ExpertSettings(name="e", backend="openai_http", model=model, base_url=base_url, **fields).spec()


@pytest.mark.parametrize(
    ("model", "base_url", "known"),
    [
        ("gpt-4o", "https://api.openai.com/v1", NEW),
        ("gpt-4o", "https://eu.api.openai.com/v1", NEW),
        ("mine", "https://x.openai.azure.com/openai/v1", NEW),
        ("gpt-4o", "https://notopenai.com/v1", OLD),
        ("gpt-4o", "https://openai.com.example.org/v1", OLD),
        ("gpt-5", "http://127.0.0.1:8000/v1", NEW),
        ("gpt-5.1-codex-max", "http://127.0.0.1:8000/v1", NEW),
        ("openai/o3-mini", "https://openrouter.ai/api/v1", NEW),
        ("ft:o4-mini-2025-04-16:us::x", "http://127.0.0.1:8000/v1", NEW),
        ("openai/gpt-oss-120b", "http://127.0.0.1:8000/v1", OLD),
        ("o1aw-7b", "http://127.0.0.1:8000/v1", OLD),
        ("olmo-3", "http://127.0.0.1:8000/v1", OLD),
        ("meta-llama/Llama-3.1-8B", "http://127.0.0.1:8000/v1", OLD),
    ],
)
def test_what_is_usual(model: str, base_url: str, known: LimitField) -> None:
    found = spec(model, base_url)
    assert found.limit_field is known
    assert found.instructing_role is (InstructingRole.ANY if known is NEW else InstructingRole.SYSTEM)


@pytest.mark.parametrize("backend", ["fake", "embedded", "litellm"])
def test_backends_that_see_to_it_themselves(backend: str) -> None:
    found = ExpertSettings(name="e", backend=backend, model="openai/gpt-5").spec()
    assert (found.limit_field, found.instructing_role) == (EITHER, InstructingRole.ANY)


@pytest.mark.parametrize(
    ("model", "known"),
    [("gpt-4o", False), ("openai/gpt-4.1", False), ("gpt-3.5-turbo", False), ("gpt-5", True), ("qwen3", True)],
)
def test_effort(model: str, known: bool) -> None:
    assert spec(model).reasoning_effort is known


def test_what_is_stated_holds() -> None:
    found = spec("gpt-5", limit_field="either", instructing_role="first", reasoning_effort=False)
    assert (found.limit_field, found.instructing_role, found.reasoning_effort) == (EITHER, InstructingRole.FIRST, False)
