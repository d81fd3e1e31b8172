"""The forward pass of Qwen3 and Qwen3-MoE in numpy, with a key-value cache, for several sequences at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pointsman.experts.embedded.cache import KeyValueCache
from pointsman.experts.embedded.weights import CheckpointError, ModelConfig, read_config, read_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Layer:
    """Weights of one layer, transposed for `x @ w`; the weight of each norm is folded into the product after it."""

    qkv: Array
    out: Array
    q_norm: Array
    k_norm: Array
    #: Per expert (one for a dense layer): gate and up side by side [D, 2F], down [F, D].
    gate_up: tuple[Array, ...]
    down: tuple[Array, ...]
    #: [D, E], None for a dense layer.
    router: Array | None


class Decoder:
    """A loaded model. Stateless but for its weights: the sequences live in a `KeyValueCache`."""

    def __init__(self, config: ModelConfig, tensors: dict[str, Array]) -> None:
        self.config = config
        try:
            self._embedding = tensors["model.embed_tokens.weight"]
            head = self._embedding if config.tied_embeddings else tensors["lm_head.weight"]
            self._head = head.T
            self._final_norm = tensors["model.norm.weight"]
            self._layers = [_read_layer(config, tensors, index) for index in range(config.layers)]
        except KeyError as error:
            raise CheckpointError(f"the checkpoint lacks the tensor {error}") from error
        half = np.arange(0, config.head_dim, 2, dtype=np.float32) / np.float32(config.head_dim)
        angles = np.arange(config.context_tokens, dtype=np.float32)[:, None] * (config.rope_theta**-half)[None, :]
        self._cos, self._sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

    @classmethod
    def load(cls, folder: Path) -> Decoder:
        """Read a checkpoint folder.

        Raises:
            CheckpointError: It cannot be run.
        """
        try:
            return cls(read_config(folder), read_tensors(folder / "model.safetensors"))
        except CheckpointError:
            raise
        except Exception as error:
            # Files that anybody may have written: whatever else they break is said as what it is.
            raise CheckpointError(f"{folder} cannot be read: {repr(error)[:200]}") from error

    def new_cache(self) -> KeyValueCache:
        """An empty cache for sequences of this model."""
        config = self.config
        return KeyValueCache(config.layers, config.kv_heads, config.head_dim, config.context_tokens)

    def forward(
        self, tokens: NDArray[np.int64], cache: KeyValueCache, rows: slice, *, all_positions: bool = False
    ) -> Array:
        """Append tokens to sequences and return the logits of what comes next.

        Args:
            tokens: [B, T] ids: a slice of one prompt, one step of several sequences, or whole texts to be scored.
            cache: Holds the sequences; their lengths grow by T.
            rows: Which rows of the cache the B sequences are.
            all_positions: Logits of all T positions instead of the last.

        Returns:
            [B, V] logits, or [B, T, V].
        """
        config = self.config
        batch, steps = tokens.shape
        starts = cache.lengths[rows].copy()
        view = cache.reserve(rows, steps)
        positions = starts[:, None] + np.arange(steps)
        cos, sin = self._cos[positions][:, :, None], self._sin[positions][:, :, None]
        # [B, 1, 1, T, S]: a query may look at every earlier position of its own sequence and at itself.
        hidden_from = np.arange(view.span) > positions[:, :, None]
        mask = np.where(hidden_from, np.float32(-1e30), np.float32(0))[:, None, None]
        x = self._embedding[tokens.reshape(-1)]
        for index, layer in enumerate(self._layers):
            heads = (_unit(x, config.norm_eps) @ layer.qkv).reshape(batch, steps, -1, config.head_dim)
            q = heads[:, :, : config.heads]
            k = heads[:, :, config.heads : config.heads + config.kv_heads]
            v = heads[:, :, config.heads + config.kv_heads :]
            q = _rotate(_unit(q, config.norm_eps) * layer.q_norm, cos, sin)
            k = _rotate(_unit(k, config.norm_eps) * layer.k_norm, cos, sin)
            keys, values = view.write(index, k, v)
            x += _attend(q, keys, values, mask).reshape(batch * steps, -1) @ layer.out
            x += _feed(_unit(x, config.norm_eps), layer, config)
        view.commit()
        if not all_positions:
            x = x.reshape(batch, steps, -1)[:, -1]
        logits: Array = np.matmul(_unit(x, config.norm_eps) * self._final_norm, self._head, dtype=np.float32)
        return logits.reshape(batch, steps, -1) if all_positions else logits


def _read_layer(config: ModelConfig, tensors: dict[str, Array], index: int) -> _Layer:
    prefix = f"model.layers.{index}."
    qkv = np.concatenate([tensors[f"{prefix}self_attn.{part}_proj.weight"] for part in "qkv"])
    qkv = qkv * tensors[prefix + "input_layernorm.weight"]
    norm = tensors[prefix + "post_attention_layernorm.weight"]
    parts = [f"{prefix}mlp.experts.{e}." for e in range(config.experts)] or [prefix + "mlp."]
    gate_up = [
        np.concatenate([tensors[part + "gate_proj.weight"], tensors[part + "up_proj.weight"]]) * norm for part in parts
    ]
    router = tensors[prefix + "mlp.gate.weight"] * norm if config.experts else None
    scale = np.float32(config.head_dim**-0.5)
    return _Layer(
        qkv=qkv.T,
        out=tensors[prefix + "self_attn.o_proj.weight"].T,
        q_norm=tensors[prefix + "self_attn.q_norm.weight"] * scale,
        k_norm=tensors[prefix + "self_attn.k_norm.weight"],
        gate_up=tuple(w.T for w in gate_up),
        down=tuple(tensors[part + "down_proj.weight"].T for part in parts),
        router=None if router is None else router.T,
    )


def _unit(x: Array, eps: float) -> Array:
    """Divide by the root mean square of the last axis."""
    mean = np.einsum("...i,...i->...", x, x)[..., None] / np.float32(x.shape[-1])
    unit: Array = x / np.sqrt(mean + np.float32(eps))
    return unit


def _rotate(x: Array, cos: Array, sin: Array) -> Array:
    half = x.shape[-1] // 2
    rotated = np.empty_like(x)
    first, second = x[..., :half], x[..., half:]
    rotated[..., :half] = first * cos - second * sin
    rotated[..., half:] = second * cos + first * sin
    return rotated


def _attend(q: Array, keys: Array, values: Array, mask: Array) -> Array:
    """Q [B, T, H, d], keys and values [B, K, S, d], mask [B, 1, 1, T, S] -> [B, T, H, d]; H is a multiple of K."""
    batch, steps, heads, dim = q.shape
    kv_heads, span = keys.shape[1], keys.shape[2]
    groups = heads // kv_heads
    grouped = q.transpose(0, 2, 1, 3).reshape(batch, kv_heads, groups * steps, dim)
    scores = np.matmul(grouped, keys.swapaxes(-1, -2)).reshape(batch, kv_heads, groups, steps, span)
    scores += mask
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(-1, keepdims=True)
    mixed = np.matmul(scores.reshape(batch, kv_heads, groups * steps, span), values)
    merged: Array = mixed.reshape(batch, heads, steps, dim).transpose(0, 2, 1, 3)
    return merged


def _feed(x: Array, layer: _Layer, config: ModelConfig) -> Array:
    """SwiGLU, or the weighted sum of the chosen experts' SwiGLU; [N, D] -> [N, D]."""
    if layer.router is None:
        return _swiglu(x, layer.gate_up[0], layer.down[0])
    logits = x @ layer.router
    probabilities = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities /= probabilities.sum(-1, keepdims=True)
    chosen = np.argpartition(probabilities, -config.experts_per_token, axis=-1)[:, -config.experts_per_token :]
    weights = np.take_along_axis(probabilities, chosen, axis=-1)
    if config.renormalise_experts:
        weights /= weights.sum(-1, keepdims=True)
    mixed = np.zeros_like(x)
    if len(x) == 1:
        for expert, weight in zip(chosen[0].tolist(), weights[0], strict=True):
            mixed += weight * _swiglu(x, layer.gate_up[expert], layer.down[expert])
        return mixed
    for expert in np.unique(chosen).tolist():
        rows, places = np.nonzero(chosen == expert)
        mixed[rows] += weights[rows, places, None] * _swiglu(x[rows], layer.gate_up[expert], layer.down[expert])
    return mixed


def _swiglu(x: Array, gate_up: Array, down: Array) -> Array:
    both = x @ gate_up
    width = both.shape[-1] // 2
    gate = both[:, :width]
    # A large negative gate overflows exp to infinity, and gate / infinity is the right limit, 0.
    with np.errstate(over="ignore"):
        gate = gate / (1 + np.exp(-gate))
    product: Array = (gate * both[:, width:]) @ down
    return product
