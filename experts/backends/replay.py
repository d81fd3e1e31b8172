"""Answers from a table of recorded outcomes: what a model really said once, at the pace it said it, without the model.

A record is found by the text of the latest user message (or of the prompt of a completion), exactly. Two sources:

- A JSON-lines file, one record a line:
  `{"prompt_sha256": ..., "text": ..., "finish_reason": "stop", "usage": {"prompt_tokens": 7, "completion_tokens": 3},
  "ttft_ms": 41.0, "latency_ms": 310.0}`. `prompt` may stand in place of `prompt_sha256` (hex digest of its UTF-8
  bytes); everything after `text` may be left out. What is unknown stays unknown: usage is null then, delays are none.
- A folder with `prompts.parquet` and `outcomes.parquet` (the uniform outcome table) and the name of a model in it: the
  `answer` column, where it exists and is not empty. Reading it needs pyarrow.

A request's limits (`max_tokens`, `stop`, `temperature`) do not change what was recorded.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import Field

from pointsman.experts.backend_spec import BackendOptions, BackendSetup, BackendSpec
from pointsman.experts.backends.openai_wire import (
    DONE,
    JSON_HEADERS,
    SSE_HEADERS,
    AnswerWriter,
    error_body,
    last_user_text,
    wants_usage_chunk,
)
from pointsman.experts.backends.planned import PlannedReply, ReplyPlan, Stats, play
from pointsman.experts.errors import ExpertMisconfigured
from pointsman.experts.protocols import Endpoint, ExpertCall, Headers
from pointsman.experts.spec import ExpertSpec, Usage

_PIECE = re.compile(r"\s*\S+|\s+$")


class ReplayOptions(BackendOptions):
    """Options of `replay`."""

    source: Path
    """Recorded answers: a JSON-lines file, or a folder with an outcome table; relative to the settings file."""
    time_scale: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """How slowly to replay recorded latency: 1 as recorded, 0 at once."""


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """One recorded answer.

    Attributes:
        text: What the model said.
        finish_reason: Why it stopped.
        usage: Tokens, None when nobody noted them.
        ttft_ms: Time to first token, None when nobody measured it.
        latency_ms: Time to the last token, None when nobody measured it.
    """

    text: str
    finish_reason: str = "stop"
    usage: Usage | None = None
    ttft_ms: float | None = None
    latency_ms: float | None = None


def prompt_key(text: str) -> str:
    """SHA-256 of a prompt's UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read_jsonl(path: Path) -> dict[str, RecordedAnswer]:
    """Read records from a JSON-lines file.

    Raises:
        OSError: It cannot be read.
        ValueError: A line is no record; the message names the line.
    """
    records: dict[str, RecordedAnswer] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
            key = row["prompt_sha256"] if "prompt_sha256" in row else prompt_key(row["prompt"])
            if not re.fullmatch("[0-9a-f]{64}", key):
                raise ValueError("prompt_sha256 is no SHA-256 in hex")
            records[key] = _record(row)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            problem = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{path.name}, line {number}: {problem}") from error
    return records


def read_table(folder: Path, model: str) -> dict[str, RecordedAnswer]:
    """Read the answers of one model from a uniform outcome table.

    Args:
        folder: Holds `prompts.parquet` and `outcomes.parquet`.
        model: Which model of it.

    Raises:
        OSError: A file cannot be read.
        ValueError: pyarrow is missing, the table holds no answers, or none of that model.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ValueError("reading an outcome table needs pyarrow: pip install 'pointsman[evals]'") from error
    outcomes_path = folder / "outcomes.parquet"
    columns = [
        name
        for name in ("prompt_id", "answer", "prompt_tokens", "completion_tokens")
        if name in parquet.read_schema(outcomes_path).names
    ]
    if "answer" not in columns:
        raise ValueError(f"{folder.name} has no answers, only scores")
    prompts = parquet.read_table(folder / "prompts.parquet", columns=["prompt_id", "prompt"])
    texts = dict(zip(prompts["prompt_id"].to_pylist(), prompts["prompt"].to_pylist(), strict=True))
    rows = parquet.read_table(outcomes_path, columns=columns, filters=[("model", "=", model)]).to_pylist()
    records = {
        prompt_key(texts[row["prompt_id"]]): RecordedAnswer(row["answer"], usage=_usage(row))
        for row in rows
        if row["answer"] and row["prompt_id"] in texts
    }
    if not records:
        raise ValueError(f"{folder.name} has no answers of a model called {model!r}")
    return records


class ReplayExpert:
    """An expert that repeats recorded answers.

    Args:
        spec: What it pretends to be; `spec.model` is the model to look for in an outcome table.
        source: A JSON-lines file, a folder with an outcome table, or the records themselves by `prompt_key`.
        time_scale: Factor on recorded delays: 1 for the recorded pace, 0 for at once.
        time_s: Unix time, for the `created` of answers.

    Raises:
        ValueError: `time_scale` is negative.
    """

    def __init__(
        self,
        spec: ExpertSpec,
        source: Path | Mapping[str, RecordedAnswer],
        time_scale: float = 0.0,
        time_s: Callable[[], float] = time.time,
    ) -> None:
        if not time_scale >= 0:
            raise ValueError("time_scale must be at least 0")
        self._spec = spec
        self._source = source
        self._records: Mapping[str, RecordedAnswer] | None = None if isinstance(source, Path) else source
        self._time_scale = time_scale
        self._time_s = time_s
        self.stats = Stats()

    @property
    def spec(self) -> ExpertSpec:
        """What it pretends to be."""
        return self._spec

    async def start(self) -> None:
        """Read the records.

        Raises:
            ExpertMisconfigured: They cannot be read.
        """
        if self._records is None and isinstance(self._source, Path):
            try:
                self._records = await asyncio.to_thread(self._read, self._source)
            except (OSError, ValueError) as error:
                raise ExpertMisconfigured(self._spec.name, f"records: {error}") from error

    def _read(self, source: Path) -> dict[str, RecordedAnswer]:
        return read_table(source, self._spec.model) if source.is_dir() else read_jsonl(source)

    async def call(self, call: ExpertCall) -> PlannedReply:
        """Repeat the recorded answer; a prompt without one gets a 404 in OpenAI's error shape."""
        await self.start()
        assert self._records is not None  # noqa: S101  # start has read them
        number = self.stats.started
        self.stats.started += 1
        record = self._records.get(prompt_key(last_user_text(call.endpoint, call.payload)))
        if record is None:
            body = error_body("no answer to this prompt was recorded", "invalid_request_error", "prompt_not_recorded")
            plan = ReplyPlan(404, _json_headers(body), pieces=((0.0, body),))
        else:
            plan = self._plan(record, call.endpoint, call.payload, f"replay-{number}")
        return await play(self._spec.name, plan, call, self.stats)

    async def probe(self) -> str | None:
        """Whether the records can be read."""
        try:
            await self.start()
        except ExpertMisconfigured as error:
            return error.message
        return None

    async def aclose(self) -> None:
        """Nothing to let go of."""

    def _plan(
        self, record: RecordedAnswer, endpoint: Endpoint, payload: Mapping[str, Any], answer_id: str
    ) -> ReplyPlan:
        stream = payload.get("stream") is True
        with_usage = stream and wants_usage_chunk(payload)
        answer = AnswerWriter(endpoint, answer_id, int(self._time_s()), self._spec.model, with_usage_field=with_usage)
        last_s = self._time_scale * (record.latency_ms or record.ttft_ms or 0.0) / 1000
        if not stream:
            body = answer.whole(record.text, record.finish_reason, record.usage)
            return ReplyPlan(200, _json_headers(body), last_s, ((last_s, body),))
        first_s = min(last_s, self._time_scale * (record.ttft_ms or 0.0) / 1000)
        texts = _PIECE.findall(record.text)
        step_s = (last_s - first_s) / max(1, len(texts) - 1)
        pieces = [(first_s, answer.opening())]
        pieces += [(first_s + index * step_s, answer.piece(text)) for index, text in enumerate(texts)]
        pieces.append((last_s, answer.closing(record.finish_reason)))
        if with_usage and record.usage is not None:
            pieces.append((last_s, answer.usage(record.usage)))
        pieces.append((last_s, DONE))
        return ReplyPlan(200, SSE_HEADERS, first_s, tuple(pieces))


def _json_headers(body: bytes) -> Headers:
    return (*JSON_HEADERS, (b"content-length", str(len(body)).encode()))


def _record(row: Mapping[str, Any]) -> RecordedAnswer:
    text = row["text"]
    if not isinstance(text, str):
        raise TypeError("text is no string")
    delays = {name: None if row.get(name) is None else float(row[name]) for name in ("ttft_ms", "latency_ms")}
    if any(delay is not None and not delay >= 0 for delay in delays.values()):
        raise ValueError("a delay is negative")
    return RecordedAnswer(text, row.get("finish_reason") or "stop", _usage(row.get("usage") or {}), **delays)


def _usage(row: Mapping[str, Any]) -> Usage | None:
    prompt, completion = row.get("prompt_tokens"), row.get("completion_tokens")
    return None if prompt is None or completion is None else Usage(int(prompt), int(completion))


def _build(setup: BackendSetup[ReplayOptions]) -> ReplayExpert:
    return ReplayExpert(setup.spec, setup.options.source, time_scale=setup.options.time_scale)


BACKEND = BackendSpec(
    reaches="recorded answers",
    options=ReplayOptions,
    build=_build,
    answers="as recorded",
    probe="whether the records can be read",
    needs="pyarrow for outcome tables",
)
