"""The files of an outcome table, read as a stream: ten million outcomes never stand in memory as rows.

Polars scans the Parquet files batch by batch; identifiers become integer codes inside the scan, so that what grows with
the table is only the matrices themselves (docs/design/0020-outcome-tables.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pointsman.evals.errors import TableError

if TYPE_CHECKING:
    import polars as pl

Floats = npt.NDArray[np.float64]

PROMPTS = "prompts.parquet"
OUTCOMES = "outcomes.parquet"
#: A folder of any number of Parquet files may stand in for `outcomes.parquet`.
PARTS = "outcomes"

_BATCH_ROWS = 262_144


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """The cells of a table, n prompts by m experts.

    Attributes:
        experts: Names of the columns in sorted order, length m.
        figures: Column of the file -> matrix of shape (n, m), NaN where the file says nothing.
        answers: Codes into `answer_texts`, shape (n, m), -1 where no answer is known; None without such a column.
        answer_texts: Distinct answers in sorted order.
    """

    experts: tuple[str, ...]
    figures: Mapping[str, Floats]
    answers: npt.NDArray[np.int32] | None
    answer_texts: tuple[str, ...]


def read_prompts(folder: Path) -> pl.DataFrame:
    """Read `prompts.parquet`.

    Raises:
        TableError: Polars is not installed, or the file or a column is missing or broken.
    """
    frame = _scan([folder / PROMPTS], PROMPTS, ("prompt_id", "prompt", "split"))
    return frame.collect()


def read_outcomes(folder: Path, ids: Sequence[str], wanted: Sequence[str]) -> Outcomes:
    """Read `outcomes.parquet`, or every Parquet file of the folder `outcomes`, as a stream.

    Args:
        folder: Of the table.
        ids: Prompt ids in the order of the rows.
        wanted: Numeric columns to read where they exist; `score` must exist.

    Raises:
        TableError: A file or column is missing or broken, an id is unknown, or a cell stands twice.
    """
    import polars as pl

    frame = _scan(outcome_files(folder), OUTCOMES, ("prompt_id", "model", "score"))
    schema = frame.collect_schema()
    columns = [name for name in wanted if name in schema]
    for name in columns:
        if not (schema[name].is_numeric() or schema[name] in (pl.Boolean, pl.Null)):
            raise TableError(f"column {name}: not numeric but {schema[name]}")
    experts = _vocabulary(frame, "model")
    if not experts:
        raise TableError(f"{folder.name}: {OUTCOMES} is empty")
    if experts[0] is None:
        raise TableError("column model: a row is empty")
    texts = [text for text in _vocabulary(frame, "answer") if text] if "answer" in schema else []
    codes = [_code("prompt_id", ids), _code("model", experts), *([_code("answer", texts)] if texts else [])]
    shape = (len(ids), len(experts))
    figures = {name: np.full(shape, np.nan) for name in columns}
    answers = np.full(shape, -1, dtype=np.int32) if texts else None
    seen = np.zeros(shape, dtype=np.bool_)
    rows = 0
    for batch in _batches(frame.select(*codes, *(pl.col(name).cast(pl.Float64) for name in columns))):
        if batch["prompt_id"].null_count():
            raise TableError(f"{OUTCOMES}: {_stray(frame, ids)}")
        at = (batch["prompt_id"].to_numpy(), batch["model"].to_numpy())
        for name in columns:
            figures[name][at] = batch[name].fill_null(float("nan")).to_numpy()
        if answers is not None:
            answers[at] = batch["answer"].cast(pl.Int32).fill_null(-1).to_numpy()
        seen[at] = True
        rows += len(batch)
    if int(seen.sum()) != rows:
        raise TableError(f"{OUTCOMES}: {_repeated(frame)}")
    return Outcomes(tuple(experts), figures, answers, tuple(texts))


def outcome_files(folder: Path) -> list[Path]:
    """The files that hold the outcomes, in the order of their names."""
    parts = sorted((folder / PARTS).glob("**/*.parquet"))
    return parts if parts and not (folder / OUTCOMES).exists() else [folder / OUTCOMES]


def file_hashes(folder: Path) -> dict[str, str]:
    """File name -> sha256 of every file of the table."""
    hashes = {}
    for path in (folder / PROMPTS, *outcome_files(folder)):
        with path.open("rb") as file:
            hashes[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def _scan(paths: Sequence[Path], name: str, required: Sequence[str]) -> pl.LazyFrame:
    try:
        import polars as pl
    except ImportError as error:
        raise TableError("reading tables needs polars: pip install 'pointsman[evals]'") from error
    for path in paths:
        if not path.is_file():
            raise TableError(f"{path}: no such file; a table is a folder with {PROMPTS} and {OUTCOMES} (or {PARTS}/)")
    try:
        frame = pl.scan_parquet(list(paths))
        columns = frame.collect_schema().names()
    except pl.exceptions.PolarsError as error:
        raise TableError(f"{paths[0].parent / name}: not a parquet file ({error})") from error
    if missing := [column for column in required if column not in columns]:
        raise TableError(
            f"{paths[0].parent / name}: column {', '.join(missing)} is missing; the file has {', '.join(columns)}"
        )
    return frame


def _code(column: str, names: Sequence[str]) -> pl.Expr:
    """Position of each value among `names`; null where it is not one of them."""
    import polars as pl

    return pl.col(column).cast(pl.String).cast(pl.Enum(names), strict=False).to_physical()


def _batches(frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    import polars as pl

    try:
        yield from frame.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=False)
    except pl.exceptions.PolarsError as error:
        raise TableError(f"{OUTCOMES}: {error}") from error


def _vocabulary(frame: pl.LazyFrame, column: str) -> list[str]:
    """Distinct values in sorted order, an empty one first."""
    import polars as pl

    values = frame.select(pl.col(column).cast(pl.String).unique()).collect(engine="streaming")
    found: list[str] = values[column].sort(nulls_last=False).to_list()
    return found


def _stray(frame: pl.LazyFrame, ids: Sequence[str]) -> str:
    import polars as pl

    name = pl.col("prompt_id").cast(pl.String)
    stray = frame.filter(name.is_in(list(ids)).not_() | name.is_null()).select(name).head(1).collect()
    return f"prompt_id {stray.item()!r} is not in {PROMPTS}"


def _repeated(frame: pl.LazyFrame) -> str:
    import polars as pl

    cell = [pl.col(name).cast(pl.String) for name in ("prompt_id", "model")]
    again = frame.group_by(cell).len().filter(pl.col("len") > 1).sort("prompt_id", "model").head(1).collect()
    return f"prompt_id {again['prompt_id'][0]!r} with model {again['model'][0]!r} stands twice"
