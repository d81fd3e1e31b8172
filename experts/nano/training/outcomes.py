"""The nano experts' own outcome table, in the uniform form: prompts of all domains and what each expert pays for them.

Two kinds of prompts. A `fragment` is a piece of a document; its outcome is the loss on itself. A `question` is the
user turn of a conversation; its outcome is the loss on the reference answer. Prompts of the split `test` come from
held-out documents alone; those of `train` from documents the models were trained or validated on.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from pointsman.experts.nano import MODEL_NAMES, SPECIALISTS
from pointsman.experts.nano.training.conversations import conversations_of
from pointsman.experts.nano.training.corpora import DOMAINS, CorpusDocument, Split, load_documents
from pointsman.experts.nano.training.recipe import SEED
from pointsman.experts.nano.training.scoring import quality, score_answers, score_texts

_FRAGMENT_CHARS = (50, 700)
_QUESTION_CHARS = (12, 700)


@dataclass(frozen=True, slots=True)
class NanoPrompt:
    """A prompt of the table; `answer` is empty for a fragment."""

    prompt_id: str
    text: str
    answer: str
    domain: str
    source: str
    split: str

    @property
    def kind(self) -> str:
        """`fragment` or `question`."""
        return "question" if self.answer else "fragment"


def draw_prompts(
    documents: Sequence[CorpusDocument], train_per_domain: int, test_per_domain: int, seed: int = SEED
) -> list[NanoPrompt]:
    """Half fragments, half questions, without duplicates within or between splits; the same for the same seed."""
    prompts: list[NanoPrompt] = []
    for domain in DOMAINS:
        for split, count in (("train", train_per_domain), ("test", test_per_domain)):
            held = split == "test"
            pool = [d for d in documents if d.domain == domain and (d.split is Split.HELDOUT) == held]
            drawn = _draw(pool, count, split, random.Random(f"{seed}:{domain}:{split}"))
            # Different documents may hold the same short text; what was trained on is not tested on.
            known = {prompt.prompt_id for prompt in prompts}
            prompts.extend(prompt for prompt in drawn if prompt.prompt_id not in known)
    return prompts


def _draw(pool: Sequence[CorpusDocument], count: int, split: str, rng: random.Random) -> list[NanoPrompt]:
    drawn: dict[str, NanoPrompt] = {}
    # Bounded, so that a pool too small for the count ends in fewer prompts rather than never.
    for attempt in range(20 * count):
        if len(drawn) >= count or not pool:
            break
        document = rng.choice(pool)
        text, answer = _fragment(document, rng) if attempt % 2 else _question(document, rng)
        if text and text not in drawn:
            digest = hashlib.sha256(f"{document.domain}\0{text}".encode()).hexdigest()[:12]
            drawn[text] = NanoPrompt(
                f"nano/{document.domain}/{digest}", text, answer, document.domain, document.source, split
            )
    return list(drawn.values())


def _fragment(document: CorpusDocument, rng: random.Random) -> tuple[str, str]:
    shortest, longest = _FRAGMENT_CHARS
    if len(document.text) < shortest:
        return "", ""
    length = round(shortest * (longest / shortest) ** rng.random())
    start = rng.randrange(max(1, len(document.text) - length))
    # Begin where a line or a word does.
    boundary = max(document.text.rfind("\n", 0, start), document.text.rfind(" ", 0, start)) + 1
    piece = document.text[boundary : boundary + length].strip()
    return (piece, "") if len(piece) >= shortest else ("", "")


def _question(document: CorpusDocument, rng: random.Random) -> tuple[str, str]:
    shortest, longest = _QUESTION_CHARS
    fitting = [
        (user, answer)
        for user, answer in conversations_of(document, SEED)
        if shortest <= len(user) <= longest and answer.strip()
    ]
    return rng.choice(fitting) if fitting else ("", "")


def write_outcomes(out: Path, models: Path, train_per_domain: int, test_per_domain: int) -> None:
    """Draw the prompts, score them, write `prompts.parquet`, `outcomes.parquet` and `summary.json` into `out`.

    Raises:
        FileNotFoundError: The corpora are not there.
        CheckpointError: A checkpoint is missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    prompts = draw_prompts(load_documents(), train_per_domain, test_per_domain)
    bits = _bits(prompts, models)
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table(
            {
                **prompt_columns(prompts),
                "kind": [prompt.kind for prompt in prompts],
            }
        ),
        out / "prompts.parquet",
    )
    pq.write_table(
        pa.table(
            {
                "prompt_id": [prompt.prompt_id for prompt in prompts for _ in MODEL_NAMES],
                "model": [name for _ in prompts for name in MODEL_NAMES],
                "score": quality(bits).ravel(),
                "bits_per_byte": bits.ravel(),
            }
        ),
        out / "outcomes.parquet",
    )
    summary = _summary(prompts, bits)
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    Console().print_json(data=summary)


def prompt_columns(prompts: Sequence[NanoPrompt]) -> dict[str, list[str]]:
    """What an outcome table says of its prompts, by column."""
    return {
        "prompt_id": [prompt.prompt_id for prompt in prompts],
        "prompt": [prompt.text for prompt in prompts],
        "dataset": [prompt.source if prompt.domain != "code" else "stdlib" for prompt in prompts],
        "category": [prompt.domain for prompt in prompts],
        "split": [prompt.split for prompt in prompts],
    }


def _bits(prompts: Sequence[NanoPrompt], models: Path) -> Any:
    """[prompts, models] bits per byte."""
    bits = np.full((len(prompts), len(MODEL_NAMES)), np.nan)
    questions = [index for index, prompt in enumerate(prompts) if prompt.answer]
    fragments = [index for index, prompt in enumerate(prompts) if not prompt.answer]
    with Progress(console=Console(stderr=True)) as progress:
        for column, name in enumerate(MODEL_NAMES):
            task = progress.add_task(name, total=len(prompts))

            def advance(count: int, task: Any = task) -> None:
                progress.advance(task, count)

            texts = [prompts[index].text for index in fragments]
            bits[fragments, column] = score_texts(texts, models, [name], advance)[name]
            pairs = [(prompts[index].text, prompts[index].answer) for index in questions]
            bits[questions, column] = score_answers(pairs, models, [name], advance)[name]
    return bits


def _summary(prompts: Sequence[NanoPrompt], bits: Any) -> dict[str, Any]:
    """Counts, and how often each domain's specialist is the truly best expert on the test split."""
    best = np.array(MODEL_NAMES)[bits.argmin(axis=1)]
    own = {}
    for domain in DOMAINS:
        rows = [i for i, prompt in enumerate(prompts) if prompt.domain == domain and prompt.split == "test"]
        own[domain] = round(float(np.mean(best[rows] == SPECIALISTS[domain])), 4) if rows else None
    counts: dict[str, int] = {}
    for prompt in prompts:
        key = f"{prompt.split}/{prompt.domain}/{prompt.kind}"
        counts[key] = counts.get(key, 0) + 1
    return {"prompts": counts, "test_share_where_own_specialist_is_best": own}
