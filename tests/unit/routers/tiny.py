"""A tiny static embedder and tiny training data, real in every part."""

from __future__ import annotations

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

from pointsman.routers.embed.static import StaticEmbedder, quantise_rows
from pointsman.routers.training.data import TrainingData

TOPICS = {
    "code": ("python", "function", "loop", "bug", "class", "import"),
    "math": ("plus", "sum", "number", "equation", "divide", "percent"),
    "food": ("soup", "bread", "recipe", "oven", "taste", "salt"),
}
FILLERS = ("please", "show", "me", "the", "a", "how", "what", "is", "to", "with")
EXPERTS = ("coder", "solver", "allround")
#: Mean quality of each expert on each topic.
TRUTH = {"coder": (0.9, 0.2, 0.2), "solver": (0.2, 0.9, 0.2), "allround": (0.6, 0.6, 0.6)}


def tiny_embedder(dim: int = 8, seed: int = 0) -> StaticEmbedder:
    """Words of one topic lie near each other."""
    rng = np.random.default_rng(seed)
    words = ["[UNK]", *FILLERS, *(word for topic in TOPICS.values() for word in topic)]
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    matrix = rng.normal(size=(len(words), dim)).astype(np.float32) * 0.3
    for number, topic in enumerate(TOPICS.values()):
        for word in topic:
            matrix[words.index(word), number] += 1.0
    matrix[0] = 0.0
    rows, scales = quantise_rows(matrix)
    return StaticEmbedder(tokenizer, rows, scales, name="tiny")


def tiny_data(count: int = 360, seed: int = 0, *, labelled: bool = True, noise: float = 0.1) -> TrainingData:
    """Prompts of three topics; each expert is good at its own."""
    rng = np.random.default_rng(seed)
    names = list(TOPICS)
    texts, categories, scores = [], [], np.zeros((count, len(EXPERTS)))
    for index in range(count):
        topic = index % len(names)
        words = [*rng.choice(TOPICS[names[topic]], 3), *rng.choice(FILLERS, 3), str(index)]
        rng.shuffle(words)
        texts.append(" ".join(words))
        categories.append(names[topic] if labelled else None)
        scores[index] = [TRUTH[expert][topic] for expert in EXPERTS]
    scores = np.clip(scores + rng.normal(size=scores.shape) * noise, 0.0, 1.0)
    tokens = np.where(np.isfinite(scores), 50.0 + 100.0 * rng.random(scores.shape), np.nan)
    return TrainingData(texts, categories, EXPERTS, scores, completion_tokens=tokens)
