"""A transformer fine-tuned to predict outcomes: Tryage's perceptive router (arXiv 2308.11601) without its heads.

    v = u / |u|,   u = mean over the tokens of the encoder's last layer

Made by `routers/training/fine_tune.py`. Unlike `sentence_transformers`, the artefact holds the weights, the tokenizer
and the configuration, so it means the same everywhere; it needs torch where it is served. Weights are float16 on disk
and in memory and multiply in float32, so that a saved encoder embeds exactly as it did before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.embed.clip import clip_text
from pointsman.routers.errors import EmbedderError
from pointsman.routers.types import FloatArray

#: Tensor names in an artefact.
PREFIX = "embed.encoder."

#: Characters that are tokenised per token that is read: English text has four to five.
CHARS_PER_TOKEN = 5

_BATCH = 64


class FineTunedEmbedder:
    """Embed with a transformer whose weights the artefact holds.

    Args:
        config: The encoder's transformers configuration, with `model_type`.
        weights: Its parameters by their transformers names; kept as float16.
        tokenizer_json: The tokenizer as the `tokenizers` library writes it.
        max_tokens: Tokens read of a text; longer texts keep head and tail (`clip_text`).
        name: What it was fine-tuned from and on.
        device: torch device; None for a GPU where there is one.

    Raises:
        EmbedderError: torch or transformers is not installed, or weights and configuration disagree.
    """

    kind = "fine_tuned"
    slow = True

    def __init__(
        self,
        config: Mapping[str, Any],
        weights: Mapping[str, npt.NDArray[Any]],
        tokenizer_json: str,
        *,
        max_tokens: int,
        name: str,
        device: str | None = None,
    ) -> None:
        self._config = dict(config)
        self._weights = {key: value.astype(np.float16) for key, value in weights.items()}
        self._tokenizer_json = tokenizer_json
        self._max_tokens = max_tokens
        self.name = name
        self._tokenizer = encoder_tokenizer(tokenizer_json, max_tokens)
        self._encoder = build_encoder(self._config, self._weights, device)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self._config["hidden_size"])

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Embed texts; rows of unit length, float32, shape (n, dim)."""
        import torch

        encodings = tokenize(self._tokenizer, texts, self._max_tokens)
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        # Texts of like length together, so that little of a batch is padding.
        order = np.argsort([len(ids) for ids in encodings], kind="stable")
        with torch.inference_mode():
            for start in range(0, len(order), _BATCH):
                rows = order[start : start + _BATCH]
                ids, mask = padded([encodings[row] for row in rows], self._encoder.device)
                hidden = self._encoder(input_ids=ids, attention_mask=mask).last_hidden_state
                out[rows] = unit_mean(hidden, mask).float().cpu().numpy()
        return out

    def spec(self) -> Mapping[str, Any]:
        """What a manifest says of this embedder."""
        return {
            "kind": self.kind,
            "name": self.name,
            "dim": self.dim,
            "max_tokens": self._max_tokens,
            "config": self._config,
        }

    def tensors(self) -> Mapping[str, npt.NDArray[Any]]:
        """What an artefact stores of this embedder."""
        return {PREFIX + key: value for key, value in self._weights.items()}

    def tokenizer_json(self) -> str:
        """The tokenizer as it was given."""
        return self._tokenizer_json

    @classmethod
    def from_parts(
        cls, spec: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]], tokenizer_json: str
    ) -> FineTunedEmbedder:
        """The inverse of `spec`, `tensors` and `tokenizer_json`."""
        weights = {key.removeprefix(PREFIX): value for key, value in tensors.items() if key.startswith(PREFIX)}
        return cls(spec["config"], weights, tokenizer_json, max_tokens=int(spec["max_tokens"]), name=str(spec["name"]))


def encoder_tokenizer(tokenizer_json: str, max_tokens: int) -> Any:
    """The tokenizer, cutting at `max_tokens` and never padding."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.enable_truncation(max_tokens)
    tokenizer.no_padding()
    return tokenizer


def tokenize(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Token ids, special ones included, of texts clipped to what `max_tokens` can hold."""
    clipped = [clip_text(text, max_tokens * CHARS_PER_TOKEN) for text in texts]
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(clipped)]


def padded(encodings: Sequence[Sequence[int]], device: Any) -> tuple[Any, Any]:
    """Ids and attention mask as tensors of shape (n, longest)."""
    import torch

    longest = max(map(len, encodings))
    ids = torch.zeros((len(encodings), longest), dtype=torch.long)
    mask = torch.zeros((len(encodings), longest), dtype=torch.long)
    for row, tokens in enumerate(encodings):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return ids.to(device), mask.to(device)


def unit_mean(hidden: Any, mask: Any) -> Any:
    """Mean over the unpadded tokens, brought to unit length; (n, t, dim) and (n, t) to (n, dim)."""
    import torch

    weight = mask.unsqueeze(-1).to(hidden.dtype)
    return torch.nn.functional.normalize((hidden * weight).sum(dim=1) / weight.sum(dim=1), dim=-1)


def build_encoder(config: Mapping[str, Any], weights: Mapping[str, npt.NDArray[Any]], device: str | None) -> Any:
    """The transformer, in evaluation mode, in float32.

    Raises:
        EmbedderError: torch or transformers is not installed, or weights and configuration disagree.
    """
    try:
        import torch
        from transformers import AutoConfig, AutoModel
    except ImportError as error:
        raise EmbedderError(
            "the embedder 'fine_tuned' needs the extra 'train': pip install 'pointsman[train]'"
        ) from error
    try:
        model: Any = AutoModel
        encoder = model.from_config(AutoConfig.for_model(**config), add_pooling_layer=False)
        encoder.load_state_dict({key: torch.from_numpy(value.astype(np.float32)) for key, value in weights.items()})
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        raise EmbedderError(f"the encoder's weights do not fit its configuration: {error}") from error
    return encoder.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
