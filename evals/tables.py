"""The outcome table: prompt x expert -> quality, cost, tokens. Dense matrices with NaN where nothing was observed.

A table is a folder in the uniform form:

- `prompts.parquet`: `prompt_id`, `prompt`, `split`; optional `dataset`, `category`, `prompt_tokens` or
  `prompt_tokens_cl100k`, `contaminated` (true rows are dropped: they leaked into somebody's training data).
- `outcomes.parquet`, or a folder `outcomes` of such files: `prompt_id`, `model`, `score` in [0, 1]; optional
  `cost_usd`, `prompt_tokens`, `completion_tokens` or `completion_tokens_cl100k`, and `answer`, what the expert said.

An absent row, or a null score, is a cell nobody scored: NaN here, and never 0 anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pointsman.evals.errors import TableError
from pointsman.evals.table_io import file_hashes, read_outcomes, read_prompts

if TYPE_CHECKING:
    import polars as pl

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: What `category` and `dataset` read where the table does not say.
UNLABELLED = "unlabelled"


@dataclass(frozen=True, slots=True, eq=False)
class OutcomeTable:
    """Real outcomes of every expert on every prompt, n prompts by m experts.

    Attributes:
        name: Name of the folder; never a path.
        prompt_ids: Unique ids, length n.
        prompts: The texts, length n.
        datasets: Where each prompt is from, length n.
        categories: Its label, length n.
        splits: `train`, `test` or another name, length n.
        experts: The columns' names, length m.
        scores: Quality in [0, 1], shape (n, m); NaN where nobody scored.
        cost_usd: US dollars of the call, shape (n, m); NaN where unknown.
        prompt_tokens: Shape (n, m); NaN where unknown.
        completion_tokens: Shape (n, m); NaN where unknown.
        cost_basis: Where `cost_usd` comes from, for people.
        left_out: Expert -> why it is not among the columns.
        sha256: File name -> hash of the bytes read.
        notes: What a reader of the results must know about the table.
        answers: What each expert said, as codes into `answer_texts`, shape (n, m); -1 where unknown. Two experts gave
            the same answer where their codes are equal. None when the table holds no answers.
        answer_texts: Distinct answers in sorted order.
    """

    name: str
    prompt_ids: tuple[str, ...]
    prompts: tuple[str, ...]
    datasets: tuple[str, ...]
    categories: tuple[str, ...]
    splits: tuple[str, ...]
    experts: tuple[str, ...]
    scores: Floats
    cost_usd: Floats
    prompt_tokens: Floats
    completion_tokens: Floats
    cost_basis: str = "none"
    left_out: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    sha256: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()
    answers: npt.NDArray[np.int32] | None = None
    answer_texts: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.prompt_ids)

    @property
    def scored(self) -> Bools:
        """Which cells carry a score, shape (n, m)."""
        return np.isfinite(self.scores)

    @property
    def priced(self) -> Bools:
        """Which experts have a known cost wherever they have a score, shape (m,)."""
        known = np.isfinite(self.cost_usd) | ~self.scored
        return np.asarray(known.all(axis=0) & self.scored.any(axis=0))

    def rows(self, keep: npt.NDArray[Any]) -> OutcomeTable:
        """The table of the prompts for which `keep` (a mask or indices) holds, in order."""
        index = np.flatnonzero(keep) if keep.dtype == np.bool_ else keep

        def take(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[i] for i in index)

        return replace(
            self,
            prompt_ids=take(self.prompt_ids),
            prompts=take(self.prompts),
            datasets=take(self.datasets),
            categories=take(self.categories),
            splits=take(self.splits),
            scores=self.scores[index],
            cost_usd=self.cost_usd[index],
            prompt_tokens=self.prompt_tokens[index],
            completion_tokens=self.completion_tokens[index],
            answers=None if self.answers is None else self.answers[index],
        )

    def split(self, name: str) -> OutcomeTable:
        """The prompts of one split (possibly none)."""
        return self.rows(np.array([split == name for split in self.splits], dtype=np.bool_))

    def pool(self, experts: Sequence[str], reason: str = "not asked for") -> OutcomeTable:
        """The table of the named experts, in the order given.

        Args:
            experts: Names of columns.
            reason: Recorded in `left_out` for the others.

        Raises:
            TableError: A name is not a column, or stands twice, or none is given.
        """
        if unknown := [name for name in experts if name not in self.experts]:
            raise TableError(
                f"{self.name} has no expert named {', '.join(unknown)}; it has {', '.join(sorted(self.experts))}"
            )
        if len(set(experts)) != len(experts):
            raise TableError(f"an expert is named twice: {', '.join(experts)}")
        if not experts:
            raise TableError(f"{self.name}: no expert is left in the pool")
        index = [self.experts.index(name) for name in experts]
        gone = {name: reason for name in self.experts if name not in experts}
        return replace(
            self,
            experts=tuple(experts),
            scores=self.scores[:, index],
            cost_usd=self.cost_usd[:, index],
            prompt_tokens=self.prompt_tokens[:, index],
            completion_tokens=self.completion_tokens[:, index],
            answers=None if self.answers is None else self.answers[:, index],
            left_out=MappingProxyType({**self.left_out, **gone}),
        )

    def covering(self, min_coverage: float) -> OutcomeTable:
        """The table of the experts that are scored on at least this share of the prompts.

        Raises:
            TableError: No expert is.
        """
        coverage = self.scored.mean(axis=0)
        keep = [name for name, share in zip(self.experts, coverage, strict=True) if share >= min_coverage]
        if not keep:
            raise TableError(
                f"{self.name}: no expert is scored on {min_coverage:.0%} of the prompts; the best covered has "
                f"{coverage.max():.1%}. Lower --min-coverage, and see --prompts any for sparse tables"
            )
        if len(keep) == len(self.experts):
            return self
        low = {
            name: f"scored on {share:.1%} of the prompts, less than {min_coverage:.0%}"
            for name, share in zip(self.experts, coverage, strict=True)
            if share < min_coverage
        }
        table = self.pool(keep)
        return replace(table, left_out=MappingProxyType({**self.left_out, **low}))

    def common(self) -> OutcomeTable:
        """The prompts on which every expert is scored: the fair ground on which all of them can be compared."""
        return self.rows(np.asarray(self.scored.all(axis=1)))


def load_table(folder: Path) -> OutcomeTable:
    """Read a uniform table; the outcomes are streamed, so that memory holds the matrices and little else.

    Args:
        folder: Holds `prompts.parquet` and `outcomes.parquet` (or a folder `outcomes` of Parquet files).

    Raises:
        TableError: A file or column is missing, an id is repeated or unknown, a score is outside [0, 1], a cost or a
            token count is negative.
    """
    prompts = read_prompts(folder)
    ids = _strings(prompts, "prompt_id")
    _refuse_repeated(ids)
    outcomes = read_outcomes(
        folder, ids, ("score", "cost_usd", "prompt_tokens", "completion_tokens", "completion_tokens_cl100k")
    )
    figures, experts = outcomes.figures, outcomes.experts
    shape = (len(ids), len(experts))
    scores = figures["score"]
    _refuse_out_of_range(scores, ids, experts)
    answer_tokens = figures.get("completion_tokens", figures.get("completion_tokens_cl100k"))
    cost = figures.get("cost_usd")
    table = OutcomeTable(
        name=folder.resolve().name,
        prompt_ids=tuple(ids),
        prompts=tuple(_strings(prompts, "prompt")),
        datasets=_labels(prompts, "dataset"),
        categories=_labels(prompts, "category"),
        splits=tuple(_strings(prompts, "split")),
        experts=experts,
        scores=scores,
        cost_usd=_not_negative(_or_unknown(cost, shape), "cost_usd"),
        prompt_tokens=_not_negative(_prompt_tokens(prompts, figures.get("prompt_tokens"), shape), "prompt tokens"),
        completion_tokens=_not_negative(_or_unknown(answer_tokens, shape), "completion tokens"),
        cost_basis="none" if cost is None else "the table's own cost_usd",
        sha256=MappingProxyType(file_hashes(folder)),
        answers=outcomes.answers,
        answer_texts=outcomes.answer_texts,
    )
    return _without_contaminated(table, prompts)


def _prompt_tokens(prompts: pl.DataFrame, exact: Floats | None, shape: tuple[int, int]) -> Floats:
    """What the expert's own tokenizer counted where the table says so, else the count of the prompt."""
    own = next((name for name in ("prompt_tokens", "prompt_tokens_cl100k") if name in prompts.columns), None)
    if own is None:
        return _or_unknown(exact, shape)
    counted = np.broadcast_to(_numbers(prompts, own)[:, None], shape)
    return counted.copy() if exact is None else np.where(np.isfinite(exact), exact, counted)


def _or_unknown(figures: Floats | None, shape: tuple[int, int]) -> Floats:
    return np.full(shape, np.nan) if figures is None else figures


def _strings(table: pl.DataFrame, column: str) -> list[str]:
    import polars as pl

    values: list[str | None] = table[column].cast(pl.String).to_list()
    if None in values:
        raise TableError(f"column {column}: row {values.index(None)} is empty")
    return [value for value in values if value is not None]


def _labels(table: pl.DataFrame, column: str) -> tuple[str, ...]:
    import polars as pl

    if column not in table.columns:
        return (UNLABELLED,) * len(table)
    return tuple(label or UNLABELLED for label in table[column].cast(pl.String).to_list())


def _numbers(table: pl.DataFrame, column: str) -> Floats:
    import polars as pl

    try:
        return table[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    except pl.exceptions.PolarsError as error:
        raise TableError(f"column {column}: not numeric ({error})") from error


def _refuse_repeated(ids: Sequence[str]) -> None:
    if len(set(ids)) == len(ids):
        return
    seen: set[str] = set()
    again = next(name for name in ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    raise TableError(f"prompts.parquet: prompt_id {again!r} stands twice")


def _refuse_out_of_range(scores: Floats, ids: Sequence[str], experts: Sequence[str]) -> None:
    wrong = np.argwhere((scores < 0) | (scores > 1) | np.isinf(scores))
    if len(wrong):
        i, j = wrong[0]
        raise TableError(
            f"outcomes.parquet: score {scores[i, j]:g} of {experts[j]} on {ids[i]!r} is outside [0, 1] "
            f"({len(wrong)} such cells)"
        )


def _not_negative(values: Floats, what: str) -> Floats:
    if (values < 0).any() or np.isinf(values).any():
        raise TableError(f"{what}: negative or infinite values")
    return values


def _without_contaminated(table: OutcomeTable, prompts: pl.DataFrame) -> OutcomeTable:
    if "contaminated" not in prompts.columns:
        return table
    dirty = np.array([bool(value) for value in prompts["contaminated"].to_list()])
    if not dirty.any():
        return table
    note = f"{int(dirty.sum())} prompts marked contaminated were dropped"
    return replace(table.rows(~dirty), notes=(*table.notes, note))
