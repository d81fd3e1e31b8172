"""What a token costs at one stated operating point: measured where somebody measured it, else estimated by size.

The point: H100 GPUs, 16 requests in flight, 16-bit weights; one GPU below 36 B parameters, four below 120 B, eight
above. Joules are the GPUs' own, prefill spread over the output tokens; milliseconds are those between output tokens.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import polars as pl

Floats = npt.NDArray[np.float64]

GPU, IN_FLIGHT, IO_LENGTH = "H100", 16, 256


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """ln(y) = β·(1, ln active B, ln total B, ln batch, ln GPUs), by least squares on ML.ENERGY's H100 rows.

    Attributes:
        coefficients: β, shape (5,).
        r2: Share of the variance of ln(y) it explains.
        error: Median relative error when a model's rows are left out of the fit.
        rows: How many rows.
    """

    coefficients: Floats
    r2: float
    error: float
    rows: int

    def at(self, total_b: float, active_b: float) -> float:
        """The fitted y of a model at the operating point."""
        return float(np.exp(_design([active_b], [total_b], [IN_FLIGHT], [gpus(total_b)])[0] @ self.coefficients))


@dataclass(frozen=True, slots=True, eq=False)
class TokenCosts:
    """Costs of an output token of each model, shape (m,), and where each comes from.

    Attributes:
        joules: GPU energy.
        milliseconds: Median time between output tokens.
        tail: Its p95 over its median: measured for two models, their mean for the others.
        joules_from, milliseconds_from: The table that measured it, or `estimated`.
        joules_fit, milliseconds_fit: The formulas behind the estimates.
    """

    joules: Floats
    milliseconds: Floats
    tail: Floats
    joules_from: tuple[str, ...]
    milliseconds_from: tuple[str, ...]
    joules_fit: Fit
    milliseconds_fit: Fit


def gpus(total_b: float) -> int:
    """GPUs that serve a model of this size at the operating point."""
    return 1 if total_b < 36 else 4 if total_b < 120 else 8


def token_costs(folder: Path, models: tuple[str, ...], total_b: Floats, active_b: Floats) -> TokenCosts:
    """Read the measurements and estimate the rest.

    Args:
        folder: Holds the tables of `energy_latency`.
        models: Names as in mmlu_pro, m of them.
        total_b: Parameters in billions, shape (m,).
        active_b: Parameters active per token in billions, shape (m,).
    """
    import polars as pl

    ml = pl.read_parquet(folder / "ml_energy_v3.parquet").filter(
        (pl.col("gpu_model") == GPU) & pl.col("task").is_in(["lm-arena-chat", "gpqa"])
    )
    power = _argonne(pl.read_parquet(folder / "argonne_power.parquet"), None)
    times = _argonne(pl.read_parquet(folder / "argonne_latency.parquet"), IO_LENGTH)
    alias = _aliases(folder / "model_alias.csv")
    joules_fit, ms_fit = _fit(ml, "energy_per_token_joules"), _fit(ml, "median_itl_ms")
    joules, ms, tail = (np.full(len(models), np.nan) for _ in range(3))
    joules_from, ms_from = ["estimated"] * len(models), ["estimated"] * len(models)
    for at, name in enumerate(models):
        size = (float(total_b[at]), float(active_b[at]))
        joules[at], ms[at] = joules_fit.at(*size), ms_fit.at(*size)
        here = (pl.col("num_gpus") == gpus(size[0])) & (pl.col("max_num_seqs") == IN_FLIGHT)
        own = ml.filter(here & (pl.col("model_id") == alias.get((name, "ml_energy_v3"), "")))
        if len(own):
            joules[at], ms[at] = own["energy_per_token_joules"][0], own["median_itl_ms"][0]
            tail[at] = own["p95_itl_ms"][0] / own["median_itl_ms"][0]
            joules_from[at] = ms_from[at] = "ML.ENERGY"
            continue
        used = power.filter(pl.col("model") == alias.get((name, "argonne_power"), ""))
        if len(used):
            joules[at], joules_from[at] = used["energy_per_output_token_j"][0], "Argonne"
        took = times.filter(
            (pl.col("model") == alias.get((name, "argonne_latency"), "")) & (pl.col("num_hardware") == gpus(size[0]))
        )
        if len(took):
            ms[at], ms_from[at] = 1000 * took["latency_s"][0] / IO_LENGTH, "Argonne"
    tail[np.isnan(tail)] = np.nanmean(tail)
    return TokenCosts(joules, ms, tail, tuple(joules_from), tuple(ms_from), joules_fit, ms_fit)


def _argonne(table: pl.DataFrame, io_length: int | None) -> pl.DataFrame:
    import polars as pl

    keep = (
        (pl.col("hardware") == f"Nvidia {GPU} GPU")
        & (pl.col("framework") == "vLLM")
        & (pl.col("batch_size") == IN_FLIGHT)
    )
    return table.filter(keep if io_length is None else keep & (pl.col("io_length") == io_length))


def _aliases(path: Path) -> dict[tuple[str, str], str]:
    """(model of mmlu_pro, table) -> its name there, where it is the same model."""
    with path.open(newline="", encoding="utf-8") as file:
        return {
            (row["model"], row["table"]): row["model_in_table"]
            for row in csv.DictReader(file)
            if row["data_set"] == "mmlu_pro" and row["match"] == "same model"
        }


def _design(active: object, total: object, batch: object, num_gpus: object) -> Floats:
    columns = [np.log(np.asarray(column, dtype=np.float64)) for column in (active, total, batch, num_gpus)]
    return np.column_stack([np.ones(len(columns[0])), *columns])


def _fit(table: pl.DataFrame, column: str) -> Fit:
    names = ("activated_params_billions", "total_params_billions", "avg_batch_size", "num_gpus")
    table = table.drop_nulls([*names, column])
    design = _design(*(table[name].to_numpy() for name in names))
    goal = np.log(table[column].to_numpy())
    coefficients = np.linalg.lstsq(design, goal, rcond=None)[0]
    misses = []
    models = table["model_id"].to_numpy()
    for name in np.unique(models):
        own = models == name
        rest = np.linalg.lstsq(design[~own], goal[~own], rcond=None)[0]
        misses.append(np.abs(np.exp(design[own] @ rest - goal[own]) - 1))
    residual = goal - design @ coefficients
    return Fit(
        coefficients, float(1 - residual.var() / goal.var()), float(np.median(np.concatenate(misses))), len(goal)
    )
