"""The outcome table: prompt x expert -> quality, cost, tokens. Dense matrices with NaN where nothing was observed.

A table is a folder with two parquet files in the uniform form:

- `prompts.parquet`: `prompt_id`, `prompt`, `split`; optional `dataset`, `category`, `prompt_tokens` or
  `prompt_tokens_cl100k`, `contaminated` (true rows are dropped: they leaked into somebody's training data).
- `outcomes.parquet`: `prompt_id`, `model`, `score` in [0, 1]; optional `cost_usd`, `prompt_tokens`,
  `completion_tokens` or `completion_tokens_cl100k`.

An absent row, or a null score, is a cell nobody scored: NaN here, and never 0 anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evals.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa

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
    """Read a uniform table.

    Args:
        folder: Holds `prompts.parquet` and `outcomes.parquet`.

    Raises:
        TableError: A file or column is missing, an id is repeated or unknown, a score is outside [0, 1], a cost or a
            token count is negative.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise TableError("reading tables needs pyarrow: pip install 'pointsman[evals]'") from error
    prompts, prompts_hash = _read(folder / "prompts.parquet", ("prompt_id", "prompt", "split"))
    outcomes, outcomes_hash = _read(folder / "outcomes.parquet", ("prompt_id", "model", "score"))
    ids = _strings(prompts, "prompt_id")
    _refuse_repeated(ids)
    row, column, experts = _cells(ids, outcomes, folder.name)
    shape = (len(ids), len(experts))

    def matrix(name: str) -> Floats:
        values = np.full(shape, np.nan)
        values[row, column] = _numbers(outcomes, name)
        return values

    scores = matrix("score")
    _refuse_out_of_range(scores, ids, experts)
    own_tokens = next((name for name in ("prompt_tokens", "prompt_tokens_cl100k") if name in prompts.column_names), "")
    tokens = (
        np.repeat(_numbers(prompts, own_tokens)[:, None], len(experts), axis=1)
        if own_tokens
        else np.full(shape, np.nan)
    )
    if "prompt_tokens" in outcomes.column_names:
        exact = matrix("prompt_tokens")
        tokens = np.where(np.isfinite(exact), exact, tokens)
    answer_tokens = next(
        (name for name in ("completion_tokens", "completion_tokens_cl100k") if name in outcomes.column_names), ""
    )
    has_cost = "cost_usd" in outcomes.column_names
    table = OutcomeTable(
        name=folder.resolve().name,
        prompt_ids=tuple(ids),
        prompts=tuple(_strings(prompts, "prompt")),
        datasets=_labels(prompts, "dataset"),
        categories=_labels(prompts, "category"),
        splits=tuple(_strings(prompts, "split")),
        experts=tuple(experts),
        scores=scores,
        cost_usd=_not_negative(matrix("cost_usd"), "cost_usd") if has_cost else np.full(shape, np.nan),
        prompt_tokens=_not_negative(tokens, "prompt tokens"),
        completion_tokens=_not_negative(matrix(answer_tokens), answer_tokens)
        if answer_tokens
        else np.full(shape, np.nan),
        cost_basis="the table's own cost_usd" if has_cost else "none",
        sha256=MappingProxyType({"prompts.parquet": prompts_hash, "outcomes.parquet": outcomes_hash}),
    )
    return _without_contaminated(table, prompts)


def _read(path: Path, required: Sequence[str]) -> tuple[pa.Table, str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise TableError(f"{path}: no such file; a table is a folder with prompts.parquet and outcomes.parquet")
    data = path.read_bytes()
    try:
        table = pq.read_table(pa.BufferReader(data))
    except pa.ArrowInvalid as error:
        raise TableError(f"{path}: not a parquet file ({error})") from error
    if missing := [name for name in required if name not in table.column_names]:
        raise TableError(
            f"{path}: column {', '.join(missing)} is missing; the file has {', '.join(table.column_names)}"
        )
    return table, hashlib.sha256(data).hexdigest()


def _strings(table: pa.Table, column: str) -> list[str]:
    import pyarrow as pa

    values: list[str | None] = table[column].cast(pa.string()).to_pylist()
    if None in values:
        raise TableError(f"column {column}: row {values.index(None)} is empty")
    return [value for value in values if value is not None]


def _labels(table: pa.Table, column: str) -> tuple[str, ...]:
    import pyarrow as pa

    if column not in table.column_names:
        return (UNLABELLED,) * int(table.num_rows)
    labels: list[str | None] = table[column].cast(pa.string()).to_pylist()
    return tuple(label or UNLABELLED for label in labels)


def _numbers(table: pa.Table, column: str) -> Floats:
    import pyarrow as pa

    try:
        return np.asarray(table[column].cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    except pa.ArrowInvalid as error:
        raise TableError(f"column {column}: not numeric ({error})") from error


def _refuse_repeated(ids: Sequence[str]) -> None:
    if len(set(ids)) == len(ids):
        return
    seen: set[str] = set()
    again = next(name for name in ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    raise TableError(f"prompts.parquet: prompt_id {again!r} stands twice")


def _cells(
    ids: Sequence[str], outcomes: pa.Table, name: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], list[str]]:
    """Row and column of every outcome, and the experts' names in sorted order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not outcomes.num_rows:
        raise TableError(f"{name}: outcomes.parquet is empty")
    experts = sorted(set(_strings(outcomes, "model")))
    where = pc.index_in(outcomes["prompt_id"].cast(pa.string()), value_set=pa.array(ids, pa.string()))
    if where.null_count:
        stray = outcomes["prompt_id"].filter(pc.is_null(where))[0].as_py()
        raise TableError(f"outcomes.parquet: prompt_id {stray!r} is not in prompts.parquet")
    row = where.to_numpy().astype(np.int64)
    column = pc.index_in(outcomes["model"].cast(pa.string()), value_set=pa.array(experts, pa.string()))
    columns = column.to_numpy().astype(np.int64)
    cell = row * len(experts) + columns
    unique, first = np.unique(cell, return_index=True)
    if len(unique) != len(cell):
        again = int(np.setdiff1d(np.arange(len(cell)), first)[0])
        raise TableError(
            f"outcomes.parquet: prompt_id {ids[row[again]]!r} with model {experts[columns[again]]!r} stands twice"
        )
    return row, columns, experts


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


def _without_contaminated(table: OutcomeTable, prompts: pa.Table) -> OutcomeTable:
    if "contaminated" not in prompts.column_names:
        return table
    dirty = np.array([bool(value) for value in prompts["contaminated"].to_pylist()])
    if not dirty.any():
        return table
    note = f"{int(dirty.sum())} prompts marked contaminated were dropped"
    return replace(table.rows(~dirty), notes=(*table.notes, note))
