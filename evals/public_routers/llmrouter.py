"""LLMRouter's kNN, SVM, MLP and matrix factorisation (UIUC, `llmrouter-lib` 0.4.0, MIT).

The library's own classes read the data, make the labels and fit; only its text encoder (Longformer, to be downloaded)
is replaced by the features given, which it takes for its precomputed embeddings. Its `route_batch` would embed with
Longformer and call the experts, so the fitted model is asked directly, as `route_single` does.

Its label is ONE expert per prompt, the first of the best; with right-or-wrong scores most prompts tie, and the order of
the experts decides. They are listed best first on the train split: the kindest order there is.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.evals.policies import Trial
from pointsman.evals.text_features import TextFeatures

Ints = npt.NDArray[np.int64]

TIE_BREAK = "learns one label per prompt, the first best expert; experts are listed best first on the train split"

#: The settings of the library's published configurations; 5 neighbours are scikit-learn's default, as there.
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "knn": {"n_neighbors": 5},
    "svm": {"kernel": "rbf", "C": 1.0, "gamma": "scale"},
    "mlp": {"hidden_layer_sizes": [128, 64], "activation": "relu", "lr": 0.001, "epochs": 100, "batch_size": 32}
    | {"alpha": 0.0001},
    "mf": {"latent_dim": 128, "lr": 0.001, "epochs": 5, "noise_alpha": 0.0},
}


def choose(kind: str, trial: Trial, features: TextFeatures, seed: int = 0) -> Ints:
    """Fit one of the library's routers on the train split and let it choose for the test split.

    Args:
        kind: `knn`, `svm`, `mlp` or `mf`.
        trial: The ground.
        features: Of its prompts.
        seed: Of the library's random numbers.

    Returns:
        Column of the choice per test prompt, shape (n,).

    Raises:
        ImportError: The package is not installed.
    """
    # Without it an import of the package fetches a price list.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import torch
    from llmrouter import models

    routers: dict[str, tuple[Callable[[str], Any], Callable[[Any], Any]]] = {
        "knn": (models.KNNRouter, models.KNNRouterTrainer),
        "svm": (models.SVMRouter, models.SVMRouterTrainer),
        "mlp": (models.MLPRouter, _mlp_trainer()),
        "mf": (models.MFRouter, models.MFRouterTrainer),
    }
    make, trainer_of = routers[kind]
    columns = {name: j for j, name in enumerate(trial.test.experts)}
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(), contextlib.redirect_stdout(io.StringIO()):
        torch.manual_seed(seed)
        router = _with(make, features)(str(_write(Path(folder), kind, trial, features.train.shape[1])))
        trainer = trainer_of(router)
        trainer.train()
        given = features.test.astype(np.float32)
        if kind in {"knn", "svm"}:
            names = trainer.model.predict(given).tolist()
        else:
            names = [router.idx_to_model[i] for i in _asked(kind, trainer.model, torch.from_numpy(given))]
    return np.array([columns[name] for name in names], dtype=np.int64)


def _with(router: Any, features: TextFeatures) -> Any:
    """The router's class with the features where it would load embeddings from a pickled file."""
    import torch

    given = torch.from_numpy(features.train.astype(np.float32))
    loaded = property(lambda _: given, lambda _, __: None)
    return type(router.__name__, (router,), {"query_embedding_data": loaded})


def _asked(kind: str, model: Any, given: Any) -> list[int]:
    import torch

    if kind == "mlp":
        found: list[int] = model.predict(given).tolist()
        return found
    with torch.no_grad():
        return [int(torch.argmax(model.score_all(one))) for one in model.project_text(given)]


def _mlp_trainer() -> Callable[[Any], Any]:
    from llmrouter.models.mlprouter.trainer import MLPTrainer

    trainer: Callable[[Any], Any] = MLPTrainer
    return trainer


def _write(folder: Path, kind: str, trial: Trial, width: int) -> Path:
    """The train split in the library's own form; gives its configuration file (JSON is YAML)."""
    means = np.nanmean(trial.train.scores, axis=0)
    best_first = np.argsort(-means, kind="stable")
    with (folder / "routing.jsonl").open("w", encoding="utf-8") as file:
        for i in range(len(trial.train)):
            for j in best_first:
                score = trial.train.scores[i, j]
                if np.isfinite(score):
                    row = {"query": f"{i:09d}", "embedding_id": i, "model_name": trial.train.experts[j]}
                    file.write(json.dumps({**row, "performance": float(score)}) + "\n")
    settings = dict(_SETTINGS[kind])
    if kind == "mf":
        settings["text_dim"] = width
    saved = str(folder / "model.pkl")
    config = {
        "data_path": {"routing_data_train": str(folder / "routing.jsonl")},
        "model_path": {"ini_model_path": "", "save_model_path": saved, "load_model_path": saved},
        "hparam": settings,
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps(config), "utf-8")
    return path
