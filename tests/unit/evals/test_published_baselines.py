"""The harness on real outcome tables: baselines computed independently must come out again, to four digits."""

from pathlib import Path

import numpy as np
import pytest

from pointsman.evals.baselines import baselines
from pointsman.evals.evaluate import evaluate
from pointsman.evals.policies import Trial, make_trial
from pointsman.evals.prices import with_prices
from pointsman.evals.report import RouterRow
from pointsman.evals.tables import OutcomeTable, load_table

pytestmark = pytest.mark.shared

CLOSE_POOL = (
    "Meta-Llama-3.1-8B-Instruct",
    "Mixtral-8x7B-Instruct-v0.1",
    "Phi-3-mini-4k-instruct",
    "Qwen1.5-72B-Chat",
    "jamba-1.5-large",
    "mathstral-7B",
)


def _rows(ground: OutcomeTable | Trial) -> dict[str, RouterRow]:
    trial = ground if isinstance(ground, Trial) else make_trial(ground)
    return {row.name: row for row in evaluate(trial, baselines(trial), resamples=0).rows}


@pytest.fixture(scope="module")
def mmlu_pro(shared_data: Path) -> OutcomeTable:
    return with_prices(load_table(shared_data / "mmlu_pro"), shared_data / "prices" / "prices.csv")


@pytest.fixture(scope="module")
def dense(mmlu_pro: OutcomeTable) -> Trial:
    return make_trial(mmlu_pro.covering(0.95))


def test_mmlu_pro_with_the_28_dense_models(dense: Trial) -> None:
    assert set(dense.test.left_out) == {"DeepSeek-Coder-V2"}
    rows = _rows(dense)
    assert rows["random"].metrics["quality"] == pytest.approx(0.3949, abs=5e-5)
    assert rows["best_single"].notes == ("always gemini-1.5-pro-002",)
    assert rows["best_single"].metrics["quality"] == pytest.approx(0.6998, abs=5e-5)
    assert rows["category_oracle"].metrics["quality"] == pytest.approx(0.7172, abs=5e-5)
    assert rows["oracle"].metrics["quality"] == pytest.approx(0.9437, abs=5e-5)
    assert rows["zero_router"].metrics["aiq"] == pytest.approx(0.6633, abs=5e-5)
    assert rows["oracle"].metrics["aiq"] == pytest.approx(0.9414, abs=1e-4)
    assert rows["zero_router"].metrics["cost_share_at_95"] == pytest.approx(0.499, abs=5e-4)


def test_mmlu_pro_with_the_close_pool_of_six(mmlu_pro: OutcomeTable) -> None:
    rows = _rows(mmlu_pro.pool(CLOSE_POOL))
    assert rows["random"].metrics["quality"] == pytest.approx(0.4432, abs=5e-5)
    assert rows["best_single"].notes == ("always jamba-1.5-large",)
    assert rows["best_single"].metrics["quality"] == pytest.approx(0.4954, abs=5e-5)
    assert rows["category_oracle"].metrics["quality"] == pytest.approx(0.5273, abs=5e-5)
    assert rows["oracle"].metrics["quality"] == pytest.approx(0.7914, abs=5e-5)
    assert rows["zero_router"].metrics["aiq"] == pytest.approx(0.4689, abs=5e-5)
    assert rows["oracle"].metrics["aiq"] == pytest.approx(0.7852, abs=1e-4)
    assert rows["zero_router"].metrics["cost_share_at_95"] == pytest.approx(0.445, abs=5e-4)


def test_routerbench_with_true_costs(shared_data: Path) -> None:
    rows = _rows(load_table(shared_data / "routerbench_part"))
    assert rows["random"].metrics["quality"] == pytest.approx(0.6859, abs=5e-5)
    assert rows["best_single"].notes == ("always gpt-4-1106-preview",)
    assert rows["best_single"].metrics["quality"] == pytest.approx(0.8794, abs=5e-5)
    assert rows["category_oracle"].metrics["quality"] == pytest.approx(0.8794, abs=5e-5)
    assert rows["oracle"].metrics["quality"] == pytest.approx(0.9757, abs=5e-5)
    assert rows["zero_router"].metrics["aiq"] == pytest.approx(0.8226, abs=5e-5)
    assert rows["oracle"].metrics["aiq"] == pytest.approx(0.9745, abs=1e-4)
    assert rows["zero_router"].metrics["cost_share_at_95"] == pytest.approx(0.591, abs=5e-4)


def test_ulab9_with_its_data_sets_as_categories(shared_data: Path) -> None:
    rows = _rows(load_table(shared_data / "ulab9"))
    assert rows["random"].metrics["quality"] == pytest.approx(0.3755, abs=5e-5)
    assert rows["best_single"].metrics["quality"] == pytest.approx(0.5626, abs=5e-5)
    assert rows["dataset_oracle"].metrics["quality"] == pytest.approx(0.5866, abs=5e-5)
    assert rows["oracle"].metrics["quality"] == pytest.approx(0.7434, abs=5e-5)
    assert rows["oracle"].metrics["aiq"] is None


def test_prompt_length_on_routellms_pair_as_published(shared_data: Path) -> None:
    """APGR of prompt length alone, which RouteLLM's own code gives as well: .583 on MMLU, .598 on GSM8K."""
    from pointsman.evals.metrics.deferral import apgr, cpt, deferral_curve

    table = load_table(shared_data / "routellm")
    strong, weak = (
        table.experts.index(name) for name in ("gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1")
    )
    published = {"mmlu": (14037, 0.583, 0.367, 0.693), "gsm8k": (1307, 0.598, 0.369, 0.664)}
    for name, (count, area, half, most) in published.items():
        part = table.rows(np.array([dataset == name for dataset in table.datasets]))
        assert len(part) == count
        length = np.array([len(text) for text in part.prompts], dtype=float)
        good, bad = part.scores[:, strong], part.scores[:, weak]
        share, quality = deferral_curve(length, bad, good)
        limits = float(bad.mean()), float(good.mean())
        assert apgr(share, quality, *limits) == pytest.approx(area, abs=2e-3)
        assert cpt(share, quality, *limits, 0.5) == pytest.approx(half, abs=4e-3)
        assert cpt(share, quality, *limits, 0.8) == pytest.approx(most, abs=4e-3)


def test_a_bootstrap_of_the_full_table_takes_seconds(dense: Trial) -> None:
    import time

    start = time.thread_time()
    evaluate(dense, baselines(dense), resamples=1000)
    assert time.thread_time() - start < 60
