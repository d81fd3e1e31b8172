"""The nano pool as a table: what every one of the five tiny experts pays for every prompt, measured here and now.

The loss is bits per UTF-8 byte, not per token: experts with other tokenizers could stand beside these, and none is
favoured for cutting text into fewer pieces. The score of the table is 2^-loss, the geometric mean probability of a
byte.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from pointsman.evals.near_duplicates import near_duplicate_clusters
from pointsman.evals.policies import Trial
from pointsman.evals.tables import OutcomeTable
from pointsman.experts.nano import MODEL_NAMES
from pointsman.experts.nano.training.corpora import load_documents
from pointsman.experts.nano.training.outcomes import NanoPrompt, draw_prompts
from pointsman.experts.nano.training.scoring import quality, score_answers, score_texts
from pointsman.experts.spec import EnergyModel, ExpertSpec, LatencyModel, Price, Source

#: The pool as it is served when no other is named; read as data, for its cards, sizes and estimates.
SERVED = Path(__file__).parents[2] / "gateway" / "default.yaml"


def served_specs() -> tuple[ExpertSpec, ...]:
    """The five experts as the default pool states them, in the order of `MODEL_NAMES`."""
    stated = {row["name"]: row for row in yaml.safe_load(SERVED.read_text("utf-8"))["pool"]["experts"]}
    return tuple(_spec(stated[name]) for name in MODEL_NAMES)


def _spec(row: dict[str, Any]) -> ExpertSpec:
    latency = {**row["latency"], "source": Source(row["latency"]["source"])}
    energy = {**row["energy"], "source": Source(row["energy"]["source"])}
    return ExpertSpec(
        name=row["name"],
        backend=row["backend"],
        model=row["model"],
        card=row["card"],
        context_window_tokens=row["context_window_tokens"],
        default_max_tokens=row["default_max_tokens"],
        params_total_b=row["params_total_b"],
        params_active_b=row["params_active_b"],
        price=Price(**row["price"]),
        latency=LatencyModel(**latency),
        energy=EnergyModel(**energy),
        generalist=row.get("generalist", False),
        local=row["local"],
    )


def measure(data: Path, train: int, test: int, progress: Callable[[float], None]) -> Trial:
    """Score every nano expert on prompts of every domain.

    Args:
        data: Folder that holds `corpora`.
        train: Prompts per domain from documents the experts may have seen.
        test: Prompts per domain from held-out documents; near-duplicates of training prompts are dropped.
        progress: Told the share that is done, in [0, 1].

    Returns:
        A trial without costs; half of its prompts are pieces of documents, scored on themselves, half are questions,
        scored on their reference answers.
    """
    prompts = draw_prompts(load_documents(data.parent), train, test)
    table = _table(prompts, _bits(prompts, progress))
    trained, tested = table.split("train"), table.split("test")
    nobody = np.array([], dtype=np.int64)
    clusters = near_duplicate_clusters((*tested.prompts, *trained.prompts))
    fresh = ~np.isin(clusters[: len(tested)], clusters[len(tested) :])
    tested = tested.rows(fresh)
    return Trial(
        train=trained,
        test=tested,
        priced=tested.rows(nobody),
        priced_rows=nobody,
        priced_experts=nobody,
        clusters=clusters[: len(fresh)][fresh],
    )


def _bits(prompts: list[NanoPrompt], progress: Callable[[float], None]) -> npt.NDArray[np.float64]:
    """Bits per byte, shape (prompts, experts)."""
    bits = np.full((len(prompts), len(MODEL_NAMES)), np.nan)
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done / bits.size)

    questions = [row for row, prompt in enumerate(prompts) if prompt.answer]
    fragments = [row for row, prompt in enumerate(prompts) if not prompt.answer]
    texts = [prompts[row].text for row in fragments]
    pairs = [(prompts[row].text, prompts[row].answer) for row in questions]
    by_text, by_answer = score_texts(texts, advance=advance), score_answers(pairs, advance=advance)
    for column, name in enumerate(MODEL_NAMES):
        bits[fragments, column], bits[questions, column] = by_text[name], by_answer[name]
    return bits


def _table(prompts: list[NanoPrompt], bits: npt.NDArray[np.float64]) -> OutcomeTable:
    unknown = np.full(bits.shape, np.nan)
    return OutcomeTable(
        name="nano",
        prompt_ids=tuple(prompt.prompt_id for prompt in prompts),
        prompts=tuple(prompt.text for prompt in prompts),
        datasets=tuple(prompt.source for prompt in prompts),
        categories=tuple(prompt.domain for prompt in prompts),
        splits=tuple(prompt.split for prompt in prompts),
        experts=tuple(MODEL_NAMES),
        scores=quality(bits),
        cost_usd=unknown,
        prompt_tokens=unknown,
        completion_tokens=unknown,
    )


def bits_per_byte(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The loss behind a score: `-log2 score`."""
    return np.asarray(-np.log2(scores))
