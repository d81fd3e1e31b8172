"""Make what lies in this folder: the nano experts' outcomes on 640 questions, and ten minutes' arrivals.

    .venv/bin/python examples/data/make.py

It needs the corpora and Azure's trace in `POINTSMAN_SHARED` (default `../shared`), the extra `evals`, and some minutes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pointsman.experts.embedded.requests import read_generation
from pointsman.experts.embedded.runner import ModelRunner
from pointsman.experts.nano import MODEL_NAMES, MODELS_DIR
from pointsman.experts.nano.training.corpora import load_documents, shared_root
from pointsman.experts.nano.training.outcomes import NanoPrompt, draw_prompts, prompt_columns
from pointsman.experts.nano.training.scoring import quality, score_answers
from pointsman.experts.protocols import Endpoint

HERE = Path(__file__).parent
TRAIN_PER_DOMAIN, TEST_PER_DOMAIN = 120, 40
MAX_TOKENS = 64
#: Sequences that a runner takes at once without refusing any.
AT_ONCE = 48
#: The nano experts read 1,024 tokens, so longer requests of the trace cannot be theirs.
LONGEST_PROMPT_TOKENS, MINUTES = 768, 10


def questions() -> list[NanoPrompt]:
    """As many of each domain; of the clinical documents only what their authors ask, never a piece of an abstract."""
    documents = load_documents()
    titles = {
        document.text.removeprefix("Question: ").partition("\n")[0]
        for document in documents
        if document.domain == "clinical"
    }
    drawn = [
        prompt
        for prompt in draw_prompts(documents, 12 * TRAIN_PER_DOMAIN, 12 * TEST_PER_DOMAIN)
        if prompt.answer and (prompt.domain != "clinical" or prompt.text in titles)
    ]
    chosen: list[NanoPrompt] = []
    for domain in sorted({prompt.domain for prompt in drawn}):
        for split, count in (("train", TRAIN_PER_DOMAIN), ("test", TEST_PER_DOMAIN)):
            chosen += [prompt for prompt in drawn if (prompt.domain, prompt.split) == (domain, split)][:count]
    return chosen


def answers(name: str, prompts: Sequence[NanoPrompt]) -> list[tuple[str, int, int]]:
    """What an expert says to each prompt, the likeliest token at each step: text, prompt tokens, completion tokens."""
    runner = ModelRunner(MODELS_DIR / name)
    said = []
    for begin in range(0, len(prompts), AT_ONCE):
        sequences = []
        for prompt in prompts[begin : begin + AT_ONCE]:
            body = {"messages": [{"role": "user", "content": prompt.text}], "max_tokens": MAX_TOKENS, "temperature": 0}
            sequences.append(runner.submit(read_generation(Endpoint.CHAT, body, runner.codec, runner.config)))
        while runner.busy:
            runner.step()
        for sequence in sequences:
            text = "".join(sequence.pieces.get_nowait().text for _ in range(sequence.pieces.qsize()))
            said.append((text, len(sequence.generation.prompt), sequence.completion_tokens))
    return said


def write_table(out: Path) -> None:
    """The outcome table."""
    prompts = questions()
    pairs = [(prompt.text, prompt.answer) for prompt in prompts]
    columns: dict[str, list[object]] = {
        name: []
        for name in (
            "prompt_id",
            "model",
            "score",
            "bits_per_byte",
            "prompt_tokens",
            "completion_tokens",
            "cost_usd",
            "answer",
        )
    }
    for name in MODEL_NAMES:
        bits = score_answers(pairs, names=[name])[name]
        for prompt, value, (text, read, written) in zip(prompts, bits, answers(name, prompts), strict=True):
            # Rounded to what two runs agree on; the experts cost nothing.
            row = (prompt.prompt_id, name, round(float(quality(value)), 4), round(float(value), 4), read, written, 0.0)
            for column, cell in zip(columns.values(), (*row, text), strict=True):
                column.append(cell)
    out.mkdir(exist_ok=True)
    pq.write_table(
        pa.table(prompt_columns(prompts)),
        out / "prompts.parquet",
        compression="zstd",
    )
    pq.write_table(pa.table(columns), out / "outcomes.parquet", compression="zstd")
    counts = {split: sum(prompt.split == split for prompt in prompts) for split in ("train", "test")}
    print(json.dumps(counts))  # noqa: T201


def write_arrivals(trace: Path, out: Path) -> None:
    """The first minutes of Azure's trace, without the requests that are too long for the nano experts."""
    table = pq.read_table(trace, columns=["timestamp", "prompt_tokens"]).sort_by("timestamp")
    ends = table["timestamp"][0].as_py() + timedelta(minutes=MINUTES)
    kept = pc.and_(
        pc.less(table["timestamp"], pa.scalar(ends, table.schema.field("timestamp").type)),
        pc.less_equal(table["prompt_tokens"], LONGEST_PROMPT_TOKENS),
    )
    table = table.filter(kept).replace_schema_metadata(None)
    pq.write_table(table, out, compression="zstd")


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    write_arrivals(shared_root() / "data/energy_latency/azure_llm_trace_2023.parquet", HERE / "arrivals.parquet")
    write_table(HERE / "nano")
