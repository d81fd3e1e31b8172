"""Write a uniform table from records as they come: outcomes leave memory in parts, only the prompts stay."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pointsman.evals.errors import TableError
from pointsman.evals.importers.records import OutcomeRecord
from pointsman.evals.near_duplicates import near_duplicate_clusters
from pointsman.evals.table_io import OUTCOMES, PARTS, PROMPTS

_PART_ROWS = 1_000_000
_FIGURES = ("score", "cost_usd", "prompt_tokens", "completion_tokens", "latency_ms")


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What came of an import.

    Attributes:
        prompts: Prompts written.
        outcomes: Cells written, scored or not.
        models: Model -> share of the prompts on which it is scored.
        splits: Split -> prompts.
        split_made: Whether the split was made here, because the source has none.
        straddling: Clusters of near-duplicate prompts that the source's own split tears apart.
        dropped: Reason -> rows left out.
    """

    prompts: int
    outcomes: int
    models: Mapping[str, float]
    splits: Mapping[str, int]
    split_made: bool
    straddling: int
    dropped: Mapping[str, int]


@dataclass(slots=True)
class _Cells:
    """Outcomes that are not on disk yet, and which cells have been."""

    rows: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in ("prompt_id", "model", "answer")})
    taken: dict[str, bytearray] = field(default_factory=dict)
    scored: Counter[str] = field(default_factory=Counter)
    count: int = 0
    parts: int = 0

    def take(self, model: str, prompt: int) -> bool:
        """Whether the cell is free; it is taken then."""
        cells = self.taken.setdefault(model, bytearray())
        if len(cells) <= prompt:
            cells.extend(bytes(max(prompt + 1, 2 * len(cells)) - len(cells)))
        free = not cells[prompt]
        cells[prompt] = 1
        return free


def write_table(
    records: Iterable[OutcomeRecord],
    out: Path,
    dropped: Counter[str],
    *,
    test_share: float = 0.3,
    told: Callable[[int], None] = lambda _: None,
) -> ImportSummary:
    """Write the records as a uniform table.

    A prompt without a split of its own goes to `test` or `train` by the hash of its text; near-duplicates go together.

    Args:
        records: One per cell, in any order.
        out: Folder; must not hold a table.
        dropped: Reason -> rows left out so far; more are added.
        test_share: Of the prompts that need a split.
        told: Called with the number of records read, now and then.

    Raises:
        TableError: The folder holds a table or cannot be written, nothing can be used, or a score is outside [0, 1].
    """
    if any((out / name).exists() for name in (PROMPTS, OUTCOMES, PARTS)):
        raise TableError(f"{out}: holds a table already")
    try:
        out.mkdir(parents=True, exist_ok=True)
        return _write(records, out, dropped, test_share, told)
    except OSError as error:
        raise TableError(f"{error.filename or out}: cannot be written ({error.strerror or error})") from error


def _write(
    records: Iterable[OutcomeRecord], out: Path, dropped: Counter[str], test_share: float, told: Callable[[int], None]
) -> ImportSummary:
    import polars as pl

    prompts: dict[str, int] = {}
    about: list[OutcomeRecord] = []
    cells = _Cells()
    for count, one in enumerate(records, 1):
        if count % 10_000 == 0:
            told(count)
        if reason := _unusable(one):
            dropped[reason] += 1
            continue
        at = prompts.setdefault(one.prompt_id, len(prompts))
        if at == len(about):
            about.append(one)
        elif about[at].prompt != one.prompt:
            dropped["another text under the same prompt_id"] += 1
            continue
        if not cells.take(one.model, at):
            dropped["repeated prompt and model: the first counts"] += 1
            continue
        _add(cells, one)
        if len(cells.rows["model"]) >= _PART_ROWS:
            _flush(cells, out / PARTS / f"part-{cells.parts:05d}.parquet")
    if not about or not sum(cells.scored.values()):
        raise TableError(f"nothing to write: no scored outcome ({_reasons(dropped)})")
    _flush(cells, out / PARTS / f"part-{cells.parts:05d}.parquet" if cells.parts else out / OUTCOMES)
    clusters = near_duplicate_clusters([one.prompt for one in about])
    splits = [
        one.split or _split(about[int(cluster)].prompt, test_share)
        for one, cluster in zip(about, clusters, strict=True)
    ]
    frame = pl.DataFrame(
        {
            "prompt_id": [one.prompt_id for one in about],
            "prompt": [one.prompt for one in about],
            "dataset": pl.Series([one.dataset for one in about], dtype=pl.String),
            "category": pl.Series([one.category for one in about], dtype=pl.String),
            "split": splits,
            "contaminated": [one.contaminated for one in about],
        }
    )
    frame.write_parquet(out / PROMPTS)
    sides = pl.DataFrame({"cluster": clusters, "split": splits}).group_by("cluster").agg(pl.col("split").n_unique())
    return ImportSummary(
        prompts=len(about),
        outcomes=cells.count,
        models={name: cells.scored[name] / len(about) for name in sorted(cells.taken)},
        splits=dict(sorted(Counter(splits).items())),
        split_made=any(one.split is None for one in about),
        straddling=int((sides["split"] > 1).sum()),
        dropped=dict(dropped),
    )


def _unusable(one: OutcomeRecord) -> str:
    if not (one.prompt or "").strip():
        return "empty prompt"
    if not (one.model or "").strip():
        return "no model named"
    if one.score is not None and not 0 <= one.score <= 1:
        raise TableError(
            f"{one.where}{': ' if one.where else ''}score {one.score:g} of {one.model} on {one.prompt_id[:80]!r} is "
            "outside [0, 1]: scale it, or choose another metric"
        )
    if any(value is not None and (value < 0 or math.isinf(value)) for value in _amounts(one)):
        return "negative or infinite cost, latency or token count"
    return ""


def _amounts(one: OutcomeRecord) -> tuple[float | None, ...]:
    return one.cost_usd, one.prompt_tokens, one.completion_tokens, one.latency_ms


def _add(cells: _Cells, one: OutcomeRecord) -> None:
    for name in ("prompt_id", "model", "answer", *_FIGURES):
        cells.rows.setdefault(name, []).append(getattr(one, name))
    cells.count += 1
    cells.scored[one.model] += one.score is not None


def _flush(cells: _Cells, path: Path) -> None:
    """Write what is held; a column in which nothing is known is left out of a table of one part."""
    import polars as pl

    if not cells.rows["model"]:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {**dict.fromkeys(("prompt_id", "model", "answer"), pl.String), **dict.fromkeys(_FIGURES, pl.Float64)}
    frame = pl.DataFrame({name: pl.Series(values, dtype=kinds[name]) for name, values in cells.rows.items()})
    if path.name == OUTCOMES:
        frame = frame.select(name for name in frame.columns if name == "score" or frame[name].null_count() < len(frame))
    frame.write_parquet(path)
    cells.parts += 1
    cells.rows = {name: [] for name in cells.rows}


def _split(text: str, test_share: float) -> str:
    drawn = int(hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:8], 16) / 0x1_0000_0000
    return "test" if drawn < test_share else "train"


def _reasons(dropped: Mapping[str, int]) -> str:
    told = "; ".join(f"{count} x {reason}" for reason, count in dropped.items() if count)
    return told or "no row of the source has one"
