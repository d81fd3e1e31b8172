"""Recorded answers, found by their prompt and told at their pace."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from pointsman.experts.backends.replay import RecordedAnswer, ReplayExpert, prompt_key, read_jsonl, read_table
from pointsman.experts.errors import ExpertMisconfigured
from pointsman.experts.protocols import Endpoint, ExpertCall
from pointsman.experts.spec import ExpertSpec, Usage
from tests.unit.experts.calls import chat, read, text

SPEC = ExpertSpec("old", "replay", "some-model")


def expert_of(source: Any, **options: Any) -> ReplayExpert:
    return ReplayExpert(SPEC, source, time_s=lambda: 1_700_000_000.0, **options)


async def test_the_latest_user_message_is_what_is_looked_up() -> None:
    expert = expert_of({prompt_key("two"): RecordedAnswer("second"), prompt_key("one"): RecordedAnswer("first")})
    messages = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "first"},
        {"role": "user", "content": [{"type": "text", "text": "two"}]},
        {"role": "assistant", "content": "and"},
    ]
    assert await text(expert, chat(messages=messages)) == "second"
    payload = {"prompt": "one"}
    status, body = await read(expert, ExpertCall("r", Endpoint.COMPLETIONS, b"", payload, stream=False))
    assert (status, orjson.loads(body)["choices"][0]["text"]) == (200, "first")


@pytest.mark.parametrize("stream", [True, False])
async def test_an_unknown_prompt_is_not_found(stream: bool) -> None:
    status, body = await read(expert_of({}), chat("never asked", stream=stream))
    error = orjson.loads(body)["error"]
    assert (status, error["code"], error["type"]) == (404, "prompt_not_recorded", "invalid_request_error")


async def test_unknown_usage_is_null_and_not_zero() -> None:
    expert = expert_of({prompt_key("hello"): RecordedAnswer("a")})
    _, body = await read(expert, chat())
    assert orjson.loads(body)["usage"] is None
    _, stream = await read(expert, chat(stream=True, stream_options={"include_usage": True}))
    assert b"total_tokens" not in stream
    assert stream.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("words", ["plain", "", " ", "a b\n\n c ", "  lead", "naïve 言葉 🙂"])
async def test_a_stream_is_the_text_to_the_letter(words: str) -> None:
    _, stream = await read(expert_of({prompt_key("hello"): RecordedAnswer(words)}), chat(stream=True))
    events = [json.loads(frame[6:]) for frame in stream.decode().split("\n\n")[:-2]]
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events) == words


@pytest.mark.parametrize(("scale", "first_s", "last_s"), [(1.0, 0.1, 0.5), (0.5, 0.05, 0.25), (0.0, 0.0, 0.0)])
async def test_the_recorded_pace_and_its_scale(scale: float, first_s: float, last_s: float) -> None:
    expert = expert_of({}, time_scale=scale)
    record = RecordedAnswer("a b c d e", ttft_ms=100, latency_ms=500)
    plan = expert._plan(record, Endpoint.CHAT, {"stream": True}, "x")
    assert plan.head_after_s == pytest.approx(first_s)
    dues = [due for due, _ in plan.pieces]
    assert dues == sorted(dues)
    assert dues[1:6] == pytest.approx([first_s + (last_s - first_s) * share for share in (0, 0.25, 0.5, 0.75, 1)])
    assert expert._plan(record, Endpoint.CHAT, {}, "x").head_after_s == pytest.approx(last_s)
    with pytest.raises(ValueError, match="time_scale"):
        expert_of({}, time_scale=-1)


def test_records_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    digest = hashlib.sha256("grüße".encode()).hexdigest()
    path.write_text(
        json.dumps({"prompt_sha256": digest, "text": "a", "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
        + "\n\n"
        + json.dumps({"prompt": "b", "text": "", "finish_reason": "length", "ttft_ms": 4, "latency_ms": 9.5})
        + "\n"
    )
    assert read_jsonl(path) == {
        prompt_key("grüße"): RecordedAnswer("a", usage=Usage(7, 3)),
        prompt_key("b"): RecordedAnswer("", "length", None, 4.0, 9.5),
    }


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 2"),
        ("[1]", "line 2"),
        ('{"text": "a"}', "lacks 'prompt'"),
        ('{"prompt": "a"}', "lacks 'text'"),
        ('{"prompt": "a", "text": 3}', "text is no string"),
        ('{"prompt_sha256": "abc", "text": "a"}', "SHA-256"),
        ('{"prompt": "a", "text": "a", "ttft_ms": -1}', "negative"),
        ('{"prompt": "a", "text": "a", "latency_ms": "soon"}', "line 2"),
    ],
)
async def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"prompt": "ok", "text": "ok"}\n' + line + "\n")
    with pytest.raises(ValueError, match=problem) as caught:
        read_jsonl(path)
    assert "records.jsonl, line 2" in str(caught.value)
    expert = expert_of(path)
    with pytest.raises(ExpertMisconfigured, match="line 2"):
        await expert.start()
    assert "line 2" in (await expert.probe() or "")


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ExpertMisconfigured, match="nowhere"):
        await expert_of(tmp_path / "nowhere.jsonl").start()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    prompts = {"prompt_id": ["p/1", "p/2", "p/3"], "prompt": ["one", "two", "three"]}
    outcomes = {
        "prompt_id": ["p/1", "p/2", "p/3", "p/1", "p/9"],
        "model": ["some-model", "some-model", "some-model", "other", "some-model"],
        "answer": ["A", None, "", "B", "C"],
        "prompt_tokens": [5, 5, 5, 5, 5],
        "completion_tokens": [2, 2, 2, None, 2],
    }
    parquet.write_table(pyarrow.table(prompts), tmp_path / "prompts.parquet")
    parquet.write_table(pyarrow.table(outcomes), tmp_path / "outcomes.parquet")
    return tmp_path


async def test_answers_of_an_outcome_table(table: Path) -> None:
    assert read_table(table, "some-model") == {prompt_key("one"): RecordedAnswer("A", usage=Usage(5, 2))}
    assert read_table(table, "other") == {prompt_key("one"): RecordedAnswer("B")}
    assert await text(expert_of(table), chat("one")) == "A"
    with pytest.raises(ValueError, match="nobody"):
        read_table(table, "nobody")


def test_a_table_without_answers(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"prompt_id": ["1"], "prompt": ["one"]}), tmp_path / "prompts.parquet")
    parquet.write_table(
        pyarrow.table({"prompt_id": ["1"], "model": ["m"], "score": [1.0]}), tmp_path / "outcomes.parquet"
    )
    with pytest.raises(ValueError, match="no answers, only scores"):
        read_table(tmp_path, "m")


@pytest.mark.shared
def test_answers_of_a_real_outcome_table(shared_data: Path) -> None:
    pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    outcomes = pq.read_table(shared_data / "mmlu_pro/outcomes.parquet", columns=["model", "answer"])
    model = outcomes["model"][0].as_py()
    records = read_table(shared_data / "mmlu_pro", model)
    answered = sum(
        1
        for row_model, answer in zip(outcomes["model"].to_pylist(), outcomes["answer"].to_pylist(), strict=True)
        if row_model == model and answer
    )
    # Two prompts of one text have one record.
    assert 0.95 * answered < len(records) <= answered
    assert {len(record.text) for record in records.values()} == {1}, "the letter of an option"
