"""Read uniform outcome tables and labelled prompts from parquet."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.errors import TrainingError

PROMPTS = "prompts.parquet"
OUTCOMES = "outcomes.parquet"


@dataclass(frozen=True, slots=True)
class PromptTable:
    """The prompts of a table: columns as lists, and what the table is.

    Attributes:
        name: Folder's name.
        columns: Column name -> values.
        sha256: Of prompts.parquet.
    """

    name: str
    columns: dict[str, list[Any]]
    sha256: str

    def __len__(self) -> int:
        return len(self.columns["prompt"])


def read_prompts(folder: Path) -> PromptTable:
    """Read a table's prompts.

    Raises:
        TrainingError: The file is absent or lacks a column that every table has.
    """
    import pyarrow.parquet as pq

    path = folder / PROMPTS
    if not path.is_file():
        raise TrainingError(f"no {PROMPTS} in {folder}")
    columns: dict[str, list[Any]] = pq.read_table(path).to_pydict()
    missing = {"prompt_id", "prompt", "category", "split"} - set(columns)
    if missing:
        raise TrainingError(f"{path} lacks the columns {', '.join(sorted(missing))}")
    return PromptTable(folder.name, columns, _sha256(path))


def read_scores(folder: Path, prompt_ids: Sequence[str]) -> tuple[tuple[str, ...], npt.NDArray[np.float64], str]:
    """Read a table's scores.

    Returns:
        Experts in order of name, scores of shape (n, m) with NaN where absent, and the SHA-256 of outcomes.parquet.

    Raises:
        TrainingError: The file is absent.
    """
    import pyarrow.parquet as pq

    path = folder / OUTCOMES
    if not path.is_file():
        raise TrainingError(f"no {OUTCOMES} in {folder}")
    columns = pq.read_table(path, columns=["prompt_id", "model", "score"]).to_pydict()
    experts = tuple(sorted(set(columns["model"])))
    column = {name: index for index, name in enumerate(experts)}
    row = {prompt_id: index for index, prompt_id in enumerate(prompt_ids)}
    scores = np.full((len(row), len(experts)), np.nan)
    for prompt_id, model, score in zip(columns["prompt_id"], columns["model"], columns["score"], strict=True):
        if prompt_id in row and score is not None:
            scores[row[prompt_id], column[model]] = score
    return experts, scores, _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
