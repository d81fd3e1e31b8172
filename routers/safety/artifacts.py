"""The safety model on disk: safetensors and a manifest, read once and before any decision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import load, save

from pointsman.routers.artifacts import read_json, reading
from pointsman.routers.errors import ArtifactError
from pointsman.routers.protocols import Embedder
from pointsman.routers.safety.scorer import SafetyScorer
from pointsman.routers.safety.signs import SIGNS

SHIPPED: Final = Path(__file__).parent / "model"
_MANIFEST: Final = "manifest.json"
_WEIGHTS: Final = "weights.safetensors"


def save_scorer(scorer: SafetyScorer, folder: Path, fitted: Mapping[str, Any]) -> None:
    """Write a model.

    Args:
        scorer: The fitted score.
        folder: Made where it is not there.
        fitted: What the manifest says of how it was fitted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bias = np.array([scorer.bias], dtype=np.float32)
    weights = save({"embedding": scorer.embedding, "wording": scorer.wording, "bias": bias})
    manifest = {"kind": "safety", "signs": list(SIGNS), "sha256": _hash(weights), "fitted": dict(fitted)}
    (folder / _WEIGHTS).write_bytes(weights)
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def load_scorer(folder: Path, embedder: Embedder) -> SafetyScorer:
    """The inverse of `save_scorer`.

    Raises:
        ArtifactError: It was fitted with another embedder or other signs, was changed since, or cannot be read.
    """
    with reading(folder):
        manifest = read_json(folder / _MANIFEST)
        weights = (folder / _WEIGHTS).read_bytes()
        if not isinstance(manifest, dict) or manifest.get("kind") != "safety" or manifest.get("signs") != list(SIGNS):
            raise ArtifactError(f"the safety model in {folder} was fitted with other signs")
        if manifest.get("sha256") != _hash(weights):
            raise ArtifactError(f"the weights in {folder} are not those that its manifest names")
        tensors = load(weights)
        return SafetyScorer(embedder, tensors["embedding"], tensors["wording"], float(tensors["bias"][0]))


def _hash(weights: bytes) -> str:
    return hashlib.sha256(weights).hexdigest()
