"""`python -m pointsman.routers.training.shipped.safety_score`: refit the safety score that ships.

Harm, and what merely sounds like it, are told apart on sentences written for the purpose
(`routers/safety/examples.json`); ordinary prompts of the tables' train splits say how rare harm is in traffic. Their
texts are not kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import numpy as np

from pointsman.routers.artifacts import load_router
from pointsman.routers.embed import plain_embedder
from pointsman.routers.null_experts.examples import unit
from pointsman.routers.protocols import Embedder
from pointsman.routers.safety.artifacts import SHIPPED, save_scorer
from pointsman.routers.safety.scorer import SafetyScorer
from pointsman.routers.safety.signs import signs

EXAMPLES: Final = Path(__file__).parents[2] / "safety" / "examples.json"
#: Tables of ordinary prompts, and how many of each are read. Routerbench's and RouteLLM's are kept for evaluation.
_ORDINARY: Final = {"clinc150": 1_000, "mmlu_pro": 1_000, "ulab9": 500}
#: Weight of an ordinary prompt beside one of the examples.
_ORDINARY_WEIGHT: Final = 0.1
#: Inverses of the ridge penalty that are tried.
_CS: Final = (0.1, 0.3, 1.0, 3.0, 10.0)
_FOLDS: Final = 10


@click.command()
@click.option("--data", type=click.Path(path_type=Path), default=None, help="Folder of the tables; ../shared/data.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=SHIPPED, show_default="the shipped one", help="Where to."
)
def main(data: Path | None, out: Path) -> None:
    """Refit the safety score."""
    root = data or Path(os.environ.get("POINTSMAN_SHARED", "../shared")) / "data"
    examples = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    harmful, benign = ([text for texts in examples[kind].values() for text in texts] for kind in ("harmful", "benign"))
    ordinary = {name: ordinary_prompts(root / name, "train", count) for name, count in _ORDINARY.items()}
    flat = [text for texts in ordinary.values() for text in texts]
    router = load_router("default")
    scorer, c = fit(plain_embedder(router.embedder), harmful, benign, flat)
    fitted = {
        "examples": {"harmful": len(harmful), "benign": len(benign), "source": "written for this project"},
        "ordinary": {name: len(texts) for name, texts in ordinary.items()},
        "ordinary_weight": _ORDINARY_WEIGHT,
        "c": c,
        "embedder_of": router.artifact_hash,
    }
    save_scorer(scorer, out, fitted)
    click.echo(f"{out}: C = {c:g}; {len(harmful)} harmful, {len(benign)} benign and {len(flat)} ordinary prompts")


def fit(
    embedder: Embedder, harmful: Sequence[str], benign: Sequence[str], ordinary: Sequence[str]
) -> tuple[SafetyScorer, float]:
    """A logistic regression with a ridge, of embedding and signs together.

    Returns:
        The score, and the inverse of the penalty, which has the least log loss over ten folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    texts = [*harmful, *benign, *ordinary]
    columns = np.hstack([unit(embedder.embed(texts)), np.array([signs(text) for text in texts], dtype=np.float32)])
    labels = np.repeat([1, 0], [len(harmful), len(benign) + len(ordinary)])
    weights = np.repeat([1.0, _ORDINARY_WEIGHT], [len(harmful) + len(benign), len(ordinary)])
    folds = list(StratifiedKFold(_FOLDS, shuffle=True, random_state=0).split(columns, labels))

    def loss(c: float) -> float:
        total = 0.0
        for train, test in folds:
            model = LogisticRegression(C=c, max_iter=5_000).fit(columns[train], labels[train], weights[train])
            right = model.predict_proba(columns[test])[np.arange(len(test)), labels[test]]
            total -= float(weights[test] @ np.log(np.maximum(right, 1e-12)))
        return total

    c = min(_CS, key=loss)
    model = LogisticRegression(C=c, max_iter=5_000).fit(columns, labels, weights)
    found, dim = model.coef_[0].astype(np.float32), embedder.dim
    return SafetyScorer(embedder, found[:dim].copy(), found[dim:].copy(), float(model.intercept_[0])), c


def ordinary_prompts(table: Path, split: str, count: int) -> list[str]:
    """Prompts of a table's split, drawn with a fixed seed."""
    import polars

    prompts = polars.read_parquet(table / "prompts.parquet").filter(polars.col("split") == split)["prompt"]
    drawn: list[str] = prompts.sample(min(count, len(prompts)), seed=0).to_list()
    return drawn


if __name__ == "__main__":
    main()
