"""Reading tables: what is absent stays absent, and what is wrong is refused with a sentence."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pointsman.evals.errors import TableError
from pointsman.evals.prices import find_prices, fitted_prices, read_prices, with_prices
from pointsman.evals.tables import OutcomeTable, load_table

Writer = Callable[..., Path]
PROMPTS = {"prompt_id": ["p0", "p1"], "prompt": ["one", "two"], "split": ["train", "test"]}
OUTCOMES = {"prompt_id": ["p0", "p1", "p1"], "model": ["b", "a", "b"], "score": [1.0, 0.5, None]}


def test_absent_and_null_cells_are_nan(write_table: Writer) -> None:
    table = load_table(write_table(PROMPTS, OUTCOMES))
    assert table.name == "small"
    assert table.experts == ("a", "b")
    assert np.isnan(table.scores[0, 0])
    assert np.isnan(table.scores[1, 1])
    assert table.scores[0, 1] == 1.0
    assert table.scores[1, 0] == 0.5
    assert np.isnan(table.cost_usd).all()
    assert set(table.categories) == {"unlabelled"}
    assert set(table.sha256) == {"prompts.parquet", "outcomes.parquet"}


@pytest.mark.parametrize(
    ("prompts", "outcomes", "sentence"),
    [
        ({k: v for k, v in PROMPTS.items() if k != "split"}, OUTCOMES, "column split is missing"),
        (PROMPTS, {k: v for k, v in OUTCOMES.items() if k != "score"}, "column score is missing"),
        ({**PROMPTS, "prompt_id": ["p0", "p0"]}, OUTCOMES, "'p0' stands twice"),
        (PROMPTS, {**OUTCOMES, "prompt_id": ["p0", "p1", "p9"]}, "'p9' is not in prompts"),
        (PROMPTS, {**OUTCOMES, "model": ["b", "a", "a"]}, "'p1' with model 'a' stands twice"),
        (PROMPTS, {**OUTCOMES, "score": [1.0, 0.5, 1.5]}, "score 1.5 of b on 'p1' is outside"),
        (PROMPTS, {**OUTCOMES, "score": [1.0, float("inf"), 0.0]}, "outside"),
        (PROMPTS, {**OUTCOMES, "score": ["x", "y", "z"]}, "not numeric"),
        (PROMPTS, {**OUTCOMES, "cost_usd": [1.0, -1.0, 0.0]}, "cost_usd: negative"),
        ({**PROMPTS, "prompt": ["one", None]}, OUTCOMES, "column prompt: row 1 is empty"),
    ],
)
def test_what_is_wrong_is_refused(
    write_table: Writer, prompts: dict[str, Any], outcomes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(TableError, match=sentence):
        load_table(write_table(prompts, outcomes))


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no such file"):
        load_table(tmp_path)
    (tmp_path / "prompts.parquet").write_text("not parquet")
    with pytest.raises(TableError, match="not a parquet file"):
        load_table(tmp_path)


def test_contaminated_prompts_are_dropped_and_said(write_table: Writer) -> None:
    table = load_table(write_table({**PROMPTS, "contaminated": [True, False]}, OUTCOMES))
    assert table.prompt_ids == ("p1",)
    assert "1 prompts marked contaminated" in table.notes[0]


def test_pool_keeps_the_order_given_and_records_the_rest(table: OutcomeTable) -> None:
    pool = table.pool(["reckoner", "coder"])
    assert pool.experts == ("reckoner", "coder")
    assert (pool.scores[:, 1] == table.scores[:, table.experts.index("coder")]).all()
    assert pool.left_out == {"lawyer": "not asked for"}
    with pytest.raises(TableError, match="no expert named ghost"):
        table.pool(["ghost"])
    with pytest.raises(TableError, match="named twice"):
        table.pool(["coder", "coder"])


def test_thin_experts_are_left_out_with_the_reason(write_table: Writer, rows_of: Callable[..., Any]) -> None:
    scores = np.ones((10, 2))
    scores[:4, 1] = np.nan
    prompts = {"prompt_id": [f"p{i}" for i in range(10)], "prompt": ["x"] * 10, "split": ["test"] * 10}
    table = load_table(write_table(prompts, rows_of(scores, ["full", "thin"])))
    assert table.covering(0.5) is table
    kept = table.covering(0.7)
    assert kept.experts == ("full",)
    assert kept.left_out["thin"] == "scored on 60.0% of the prompts, less than 70%"
    assert len(table.common()) == 6
    with pytest.raises(TableError, match="no expert is scored on"):
        table.pool(["thin"]).covering(0.9)


def test_prices_by_hand(table: OutcomeTable, tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text(
        "data_set,model,input_usd_per_m,output_usd_per_m\nsmall,coder,2,4\nsmall,lawyer,1,2\nother,coder,9,9\n"
    )
    priced = with_prices(table, file)
    coder, reckoner = priced.experts.index("coder"), priced.experts.index("reckoner")
    by_hand = (table.prompt_tokens[0, coder] * 2 + table.completion_tokens[0, coder] * 4) / 1e6
    assert priced.cost_usd[0, coder] == pytest.approx(by_hand)
    assert np.isnan(priced.cost_usd[:, reckoner]).all()
    assert priced.priced.tolist() == [True, True, False]
    assert "prices.csv" in priced.sha256
    found = fitted_prices(priced)
    assert (found["coder"].input_usd_per_mtok, found["coder"].output_usd_per_mtok) == pytest.approx((2, 4))
    assert "reckoner" not in found


def test_prices_without_tokens_leave_costs_unknown_and_say_so(table: OutcomeTable, tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("model,input_usd_per_m,output_usd_per_m\ncoder,2,4\n")
    bare = replace(table, completion_tokens=np.full(table.scores.shape, np.nan), cost_usd=table.cost_usd * np.nan)
    priced = with_prices(bare, file)
    assert np.isnan(priced.cost_usd).all()
    assert "does not count the tokens" in priced.notes[-1]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("coder,2\n", "price of coder"),
        ("coder,-1,2\n", "negative"),
        ("coder,nan,2\n", "negative or not finite"),
        ("coder,1,2\ncoder,1,3\n", "two prices"),
    ],
)
def test_wrong_prices_are_refused(tmp_path: Path, rows: str, sentence: str) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("model,input_usd_per_m,output_usd_per_m\n" + rows)
    with pytest.raises(TableError, match=sentence):
        read_prices(file, "small")


def test_a_price_list_for_other_models_is_refused(table: OutcomeTable, tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("model,input_usd_per_m,output_usd_per_m\nghost,1,1\n")
    with pytest.raises(TableError, match="no price for any expert"):
        with_prices(table, file)


def test_prices_are_found_in_the_folder_and_beside_it(tmp_path: Path) -> None:
    folder, beside = tmp_path / "set", tmp_path / "prices"
    folder.mkdir()
    assert find_prices(folder) is None
    beside.mkdir()
    (beside / "prices.csv").touch()
    assert find_prices(folder) == beside / "prices.csv"
    (folder / "prices.csv").touch()
    assert find_prices(folder) == folder / "prices.csv"


def test_prices_fitted_without_answer_tokens_explain_the_mean_cost(write_table: Writer) -> None:
    prompts = {**PROMPTS, "prompt_tokens_cl100k": [100, 300]}
    outcomes = {"prompt_id": ["p0", "p1"], "model": ["a", "a"], "score": [1.0, 1.0], "cost_usd": [0.001, 0.003]}
    price = fitted_prices(load_table(write_table(prompts, outcomes)))["a"]
    assert price.cost_usd(200, 0) == pytest.approx(0.002)


def test_answers_are_codes_and_absent_ones_minus_one(write_table: Writer) -> None:
    table = load_table(write_table(PROMPTS, {**OUTCOMES, "answer": ["B", None, "A"]}))
    assert table.answer_texts == ("A", "B")
    assert table.answers is not None
    assert table.answers.tolist() == [[-1, 1], [-1, 0]]
    assert table.rows(np.array([1])).pool(["b"]).answers.tolist() == [[0]]  # type: ignore[union-attr]


def test_a_folder_of_parts_is_the_same_table(write_table: Writer, synthetic: Callable[..., Any]) -> None:
    prompts, outcomes = synthetic(60)
    whole = load_table(write_table(prompts, outcomes, "whole"))
    folder = write_table(prompts, outcomes, "parts")
    rows = pq.read_table(folder / "outcomes.parquet")
    (folder / "outcomes.parquet").unlink()
    for at in range(3):
        part = folder / "outcomes" / f"part-{at}.parquet"
        part.parent.mkdir(exist_ok=True)
        pq.write_table(rows.slice(at * 70, 70), part)
    parts = load_table(folder)
    assert parts.experts == whole.experts
    for name in ("scores", "cost_usd", "prompt_tokens", "completion_tokens"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    assert [name for name in parts.sha256 if "part-" in name] == [f"outcomes/part-{at}.parquet" for at in range(3)]
