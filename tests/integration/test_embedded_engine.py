"""The embedded experts as the gateway uses them: a real engine process behind a real socket."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from pointsman.experts.backends.embedded import EmbeddedExpert
from pointsman.experts.errors import ExpertError, ExpertMisconfigured, ExpertStreamBroken
from pointsman.experts.nano import GENERALIST, MODELS_DIR
from pointsman.experts.protocols import TEXT_ENDPOINTS, Endpoint, ExpertCall, ExpertReply
from pointsman.experts.spec import ExpertSpec

Json = dict[str, Any]
CODE = "def read_lines(path):"


@pytest.fixture
def socket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Not `tmp_path`: a test's name would make the socket's address too long.
    return tmp_path_factory.mktemp("e") / "e.sock"


def expert_on(socket: Path, model: str = "nano-code", **options: Any) -> EmbeddedExpert:
    return EmbeddedExpert(ExpertSpec(model, "embedded", model), socket=socket, **options)


@pytest.fixture
async def expert(socket: Path) -> AsyncIterator[EmbeddedExpert]:
    expert = expert_on(socket)
    await expert.start()
    yield expert
    await expert.aclose()


def asked(endpoint: Endpoint = Endpoint.CHAT, model: str = "nano-code", **fields: Any) -> ExpertCall:
    prompt = {"messages": [{"role": "user", "content": CODE}]} if endpoint is Endpoint.CHAT else {"prompt": CODE}
    payload = {"model": model, **prompt, **fields}
    return ExpertCall("r-1", endpoint, orjson.dumps(payload), payload, bool(fields.get("stream")))


async def read(reply: ExpertReply) -> bytes:
    try:
        return b"".join([piece async for piece in reply])
    finally:
        await reply.aclose()


async def answer(expert: EmbeddedExpert, endpoint: Endpoint = Endpoint.CHAT, status: int = 200, **fields: Any) -> Json:
    reply = await expert.call(asked(endpoint, **fields))
    body: Json = orjson.loads(await read(reply))
    assert reply.status == status, body
    return body


async def events(expert: EmbeddedExpert, endpoint: Endpoint = Endpoint.CHAT, **fields: Any) -> list[Json]:
    reply = await expert.call(asked(endpoint, stream=True, **fields))
    frames = (await read(reply)).split(b"\n\n")
    assert frames[-2:] == [b"data: [DONE]", b""]
    return [orjson.loads(frame.removeprefix(b"data: ")) for frame in frames[:-2]]


def text_of(body: Json) -> str:
    choice = body["choices"][0]
    text: str = choice["message"]["content"] if "message" in choice else choice["text"]
    return text


def streamed_text(chunks: list[Json]) -> str:
    choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    return "".join(choice["delta"].get("content", "") if "delta" in choice else choice["text"] for choice in choices)


@pytest.mark.parametrize("endpoint", TEXT_ENDPOINTS)
@pytest.mark.parametrize("model", ["nano-code", GENERALIST])
async def test_a_stream_says_what_the_whole_answer_says(expert: EmbeddedExpert, endpoint: Endpoint, model: str) -> None:
    fields = {"model": model, "seed": 11, "max_tokens": 40, "temperature": 0.9, "top_p": 0.95, "ignore_eos": True}
    whole = await answer(expert, endpoint, **fields)
    chunks = await events(expert, endpoint, **fields, stream_options={"include_usage": True})
    assert streamed_text(chunks) == text_of(whole)
    assert len(chunks) > 10
    assert chunks[-1]["usage"] == whole["usage"]
    assert chunks[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert whole["model"] == chunks[0]["model"] == model


async def test_the_same_seed_writes_the_same_and_another_does_not(expert: EmbeddedExpert) -> None:
    texts = [text_of(await answer(expert, seed=seed, max_tokens=30, temperature=1.0)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


async def test_temperature_zero_needs_no_seed(expert: EmbeddedExpert) -> None:
    texts = {text_of(await answer(expert, max_tokens=20, temperature=0)) for _ in range(3)}
    assert len(texts) == 1


async def test_usage_counts_the_tokens_truly_used(expert: EmbeddedExpert) -> None:
    ids = [10, 20, 30]
    body = await answer(expert, Endpoint.COMPLETIONS, prompt=ids, max_tokens=7, ignore_eos=True)
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 7, "total_tokens": 10}
    assert body["choices"][0]["finish_reason"] == "length"


async def test_a_stop_string_ends_the_answer_and_does_not_show(expert: EmbeddedExpert) -> None:
    fields: Json = {"temperature": 0, "max_tokens": 60, "ignore_eos": True}
    plain = text_of(await answer(expert, **fields))
    stop = plain[10:14]
    cut = plain[: plain.index(stop)]
    body = await answer(expert, **fields, stop=[stop, "never in there"])
    assert text_of(body) == cut
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["completion_tokens"] < 60
    chunks = await events(expert, **fields, stop=stop)
    assert streamed_text(chunks) == cut


async def test_a_prompt_longer_than_the_context_is_refused_in_openai_s_words(expert: EmbeddedExpert) -> None:
    body = await answer(expert, Endpoint.COMPLETIONS, 400, prompt="word " * 3000)
    assert body["error"]["code"] == "context_length_exceeded"
    assert body["error"]["type"] == "invalid_request_error"


async def test_an_unknown_model_is_not_found(expert: EmbeddedExpert) -> None:
    for name in ("nano-none", "../nano/models/nano-code", ""):
        body = await answer(expert, status=404, model=name)
        assert body["error"]["code"] == "model_not_found"


async def test_answers_are_written_side_by_side(expert: EmbeddedExpert) -> None:
    fields: Json = {"max_tokens": 80, "ignore_eos": True, "seed": 3}
    await answer(expert, max_tokens=1)
    long = asyncio.create_task(answer(expert, **{**fields, "max_tokens": 800}))
    await asyncio.sleep(0.1)
    models = ("nano-code", GENERALIST) * 3
    await asyncio.gather(*(answer(expert, model=model, **fields) for model in models))
    assert not long.done(), "six short answers wait for a long one"
    assert (await long)["usage"]["completion_tokens"] == 800


async def sequences(expert: EmbeddedExpert) -> int:
    reader, writer = await asyncio.open_unix_connection(str(expert.engine.socket))
    writer.write(b"GET /health HTTP/1.1\r\nhost: e\r\nconnection: close\r\n\r\n")
    body = (await reader.read()).partition(b"\r\n\r\n")[2]
    writer.close()
    return sum(orjson.loads(body)["sequences"].values())


@pytest.mark.parametrize("stream", [True, False])
async def test_it_stops_when_the_caller_leaves(expert: EmbeddedExpert, stream: bool) -> None:
    call = asked(max_tokens=900, ignore_eos=True, stream=stream)
    if stream:
        reply = await expert.call(call)
        await anext(aiter(reply))
        assert await sequences(expert) == 1
        await reply.aclose()
    else:
        task = asyncio.create_task(expert.call(call))
        while await sequences(expert) == 0:
            await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    left = time.monotonic()
    while await sequences(expert):
        assert time.monotonic() - left < 1.2, "it goes on without a caller"
        await asyncio.sleep(0.005)


async def test_a_crash_breaks_the_stream_and_the_next_call_finds_a_new_engine(expert: EmbeddedExpert) -> None:
    reply = await expert.call(asked(max_tokens=900, ignore_eos=True, stream=True))
    pieces = aiter(reply)
    seen = await anext(pieces)
    first = expert.engine.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)

    async def rest() -> None:
        nonlocal seen
        async for piece in pieces:
            seen += piece

    with pytest.raises(ExpertStreamBroken):
        await rest()
    await reply.aclose()
    assert b"[DONE]" not in seen
    # The kernel closes a killed process's sockets one by one; a call in that moment would still reach the old one.
    while expert.engine.pid is not None:
        await asyncio.sleep(0.01)
    assert (await answer(expert, max_tokens=3))["usage"]["completion_tokens"] == 3
    assert expert.engine.pid not in (None, first)


async def test_a_crash_before_the_head_is_an_error_not_an_answer(expert: EmbeddedExpert) -> None:
    waiting = asyncio.create_task(expert.call(asked(max_tokens=900, ignore_eos=True)))
    while await sequences(expert) == 0:
        await asyncio.sleep(0.005)
    assert expert.engine.pid is not None
    os.kill(expert.engine.pid, signal.SIGKILL)
    with pytest.raises(ExpertError):
        await waiting
    while expert.engine.pid is not None:
        await asyncio.sleep(0.01)
    assert await expert.probe() is None


async def test_experts_share_one_engine(expert: EmbeddedExpert, socket: Path) -> None:
    other = expert_on(socket, GENERALIST)
    await other.start()
    try:
        assert await answer(other, model=GENERALIST, max_tokens=2)
        assert other.engine.pid is None
        assert expert.engine.pid is not None
    finally:
        await other.aclose()
    assert await expert.probe() is None


async def test_experts_that_start_at_once_start_one_engine(socket: Path) -> None:
    experts = [expert_on(socket) for _ in range(5)]
    await asyncio.gather(*(expert.start() for expert in experts))
    assert sum(expert.engine.pid is not None for expert in experts) == 1
    for expert in experts:
        await expert.aclose()


async def test_a_checkpoint_of_ones_own(socket: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for file in (MODELS_DIR / "nano-math").iterdir():
        (own / file.name).symlink_to(file)
    expert = expert_on(socket, "mine", model_dir=own)
    await expert.start()
    try:
        assert (await answer(expert, model="mine", max_tokens=2))["model"] == "mine"
        assert await expert.probe() is None
    finally:
        await expert.aclose()


async def test_a_missing_checkpoint_is_the_operator_s_fault(socket: Path, tmp_path: Path) -> None:
    with pytest.raises(ExpertMisconfigured, match="no checkpoint"):
        await expert_on(socket, "nano-none").start()
    with pytest.raises(ExpertMisconfigured, match="no checkpoint"):
        await expert_on(socket, model_dir=tmp_path).start()


def alive(pid: int) -> bool:
    try:
        # A process that ended and was not yet waited for still has a number.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def owner_source(socket: Path) -> str:
    return (
        "import asyncio\nfrom pathlib import Path\n"
        "from pointsman.experts.backends.embedded_engine import EngineProcess\n"
        f"async def main():\n    engine = EngineProcess(Path({str(socket)!r}))\n    await engine.ensure()\n"
        "    print(engine.pid, flush=True)\n    await asyncio.sleep(60)\nasyncio.run(main())\n"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_the_engine_ends_with_a_killed_owner(owner_source: str, root: Path) -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", owner_source, stdout=asyncio.subprocess.PIPE, cwd=root
    )
    assert owner.stdout is not None
    engine = int(await owner.stdout.readline())
    assert alive(engine)
    owner.kill()
    await owner.wait()
    for _ in range(300):
        if not alive(engine):
            return
        await asyncio.sleep(0.01)
    os.kill(engine, signal.SIGKILL)
    pytest.fail("the engine outlived its owner")
