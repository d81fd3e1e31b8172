"""Pools of experts and parts of tables that the studies share."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pointsman.evals.crossfit import fold_trials
from pointsman.evals.policies import Trial, make_trial
from pointsman.evals.tables import load_table

#: Six experts of `mmlu_pro` of about equal quality: there the prompt decides who is better, not the expert.
CLOSE_POOL = (
    "Meta-Llama-3.1-8B-Instruct",
    "Mixtral-8x7B-Instruct-v0.1",
    "Phi-3-mini-4k-instruct",
    "Qwen1.5-72B-Chat",
    "jamba-1.5-large",
    "mathstral-7B",
)

#: Nine of its instruction-tuned experts, from the cheapest to one that is best by far.
NINE_PRICED = (*CLOSE_POOL, "Meta-Llama-3.1-70B-Instruct", "c4ai-command-r-v01", "gemini-1.5-pro-002")


def routellm_pair(data: Path, dataset: str, seed: int) -> Trial:
    """RouteLLM's two experts on one of its data sets, a third held out.

    All of the table is a test split, so two thirds are fitted on instead, near-duplicates on one side.

    Args:
        data: Folder of the tables.
        dataset: `mmlu`, `gsm8k` or `mt_bench`.
        seed: Of the division.
    """
    table = load_table(data / "routellm")
    part = table.rows(np.array([name == dataset for name in table.datasets])).covering(0.95)
    return fold_trials(make_trial(part), 3, seed)[0].trial
