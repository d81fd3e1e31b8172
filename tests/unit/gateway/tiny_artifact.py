"""A router artefact of a dozen words, for tests that need a real one and not a good one."""

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

from pointsman.routers.artifacts import RouterParts, save_router
from pointsman.routers.classifiers.linear import LinearClassifier
from pointsman.routers.classifiers.uncertainty import Thresholds
from pointsman.routers.embed.static import StaticEmbedder
from pointsman.routers.estimators.quality import BlendedQuality, BlendWeights

_WORDS = {"math": ("plus", "sum", "number", "equation"), "code": ("python", "function", "loop", "bug")}


def save_tiny_artifact(folder: Path) -> Path:
    """An artefact that knows `math` and `code` by four words each, and no expert by name."""
    vocabulary = {word: index for index, word in enumerate(["[unk]", *_WORDS["math"], *_WORDS["code"]])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[unk]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    rows = np.zeros((len(vocabulary), 2), dtype=np.int8)
    rows[1:5, 0] = 100
    rows[5:9, 1] = 100
    categories = tuple(_WORDS)
    classifier = LinearClassifier(
        categories,
        np.array([[8, 0], [0, 8]], dtype=np.float32),
        np.zeros(2, dtype=np.float32),
        np.array([0, 1]),
        temperature=1.0,
        thresholds=Thresholds(max_entropy=0.5, min_scope=0.6),
    )
    quality = BlendedQuality((), categories, np.zeros(0, dtype=np.float32), BlendWeights())
    embedder = StaticEmbedder(tokenizer, rows, np.full(len(vocabulary), 0.01, dtype=np.float32))
    save_router(folder, RouterParts(name="tiny", embedder=embedder, classifier=classifier, quality=quality))
    return folder
