"""List prices joined to an outcome table: tokens times dollars per million tokens."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from pointsman.evals.errors import TableError
from pointsman.evals.importers.reading import read_csv
from pointsman.evals.tables import OutcomeTable
from pointsman.experts.spec import Price

_COLUMNS = ("model", "input_usd_per_m", "output_usd_per_m")


def read_prices(path: Path, table: str) -> dict[str, Price]:
    """Read a price list.

    Args:
        path: CSV with `model`, `input_usd_per_m`, `output_usd_per_m` (US dollars per million tokens), and perhaps
            `data_set`: then rows of `table` are taken, and without any of those, rows of all data sets.
        table: Name of the table to price.

    Returns:
        Model -> price. A model without a row is absent: its price is unknown, not zero.

    Raises:
        TableError: A column is missing, a price is not a number or negative, or a model has two prices.
    """
    try:
        rows = list(read_csv(path))
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error})") from error
    for at, row in enumerate(rows, 2):
        if missing := [name for name in _COLUMNS if name not in row]:
            what = f"price of {row['model']}: " if "model" in row else ""
            raise TableError(f"{path}, row {at}: {what}column {', '.join(missing)} is missing")
    mine = [row for row in rows if row.get("data_set") == table]
    prices: dict[str, Price] = {}
    for row in mine or rows:
        try:
            price = Price(float(row["input_usd_per_m"]), float(row["output_usd_per_m"]))
        except (TypeError, ValueError) as error:
            raise TableError(f"{path}: price of {row['model']}: {error}") from error
        if not (0 <= price.input_usd_per_mtok < np.inf and 0 <= price.output_usd_per_mtok < np.inf):
            raise TableError(f"{path}: price of {row['model']} is negative or not finite")
        if prices.setdefault(row["model"], price) != price:
            raise TableError(f"{path}: {row['model']} has two prices, and no row says data_set {table}")
    return prices


def find_prices(folder: Path) -> Path | None:
    """A `prices.csv` in the table's own folder, or in a folder `prices` beside it."""
    here = folder.resolve()
    return next((path for path in (here / "prices.csv", here.parent / "prices" / "prices.csv") if path.is_file()), None)


def with_prices(table: OutcomeTable, path: Path) -> OutcomeTable:
    """The table with its cost replaced by tokens times list price; NaN where price or tokens are unknown.

    Where the table counts no tokens at all, it comes back as it was, with a note.

    Raises:
        TableError: The list cannot be read, or prices none of the table's experts.
    """
    prices = read_prices(path, table.name)
    cost = np.full(table.scores.shape, np.nan)
    for j, name in enumerate(table.experts):
        if name in prices:
            price = prices[name]
            cost[:, j] = (
                table.prompt_tokens[:, j] * price.input_usd_per_mtok
                + table.completion_tokens[:, j] * price.output_usd_per_mtok
            ) / 1e6
    if not any(name in prices for name in table.experts):
        raise TableError(f"{path}: no price for any expert of {table.name}")
    # The token count of a call nobody scored says nothing about that call.
    cost[~table.scored] = np.nan
    if not np.isfinite(cost).any():
        note = (
            f"{path.name} has prices, but the table does not count the tokens to multiply them with: costs are unknown"
        )
        return replace(table, notes=(*table.notes, note))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    basis = f"list prices of {path.name} times tokens of the table"
    return replace(table, cost_usd=cost, cost_basis=basis, sha256=MappingProxyType({**table.sha256, path.name: digest}))


def fitted_prices(table: OutcomeTable) -> dict[str, Price]:
    """Prices per million tokens that best explain the table's costs, for an expert's spec.

    Non-negative least squares of cost on (prompt tokens, completion tokens), per expert. Without completion tokens the
    whole cost is laid on the prompt tokens (the ratio of the means). Experts without a known cost are absent.

    Args:
        table: Usually the train split, so that nothing of the evaluated prompts leaks into the specs.
    """
    from scipy.optimize import nnls

    found: dict[str, Price] = {}
    for j, name in enumerate(table.experts):
        cost, given = table.cost_usd[:, j], table.prompt_tokens[:, j]
        answered = table.completion_tokens[:, j]
        known = np.isfinite(cost) & np.isfinite(given)
        both = known & np.isfinite(answered)
        if both.sum() >= 2:
            (price_in, price_out), _ = nnls(np.stack([given[both], answered[both]], axis=1), cost[both] * 1e6)
            found[name] = Price(float(price_in), float(price_out))
        elif known.any() and given[known].sum() > 0:
            found[name] = Price(float(cost[known].sum() / given[known].sum() * 1e6), 0.0)
    return found
