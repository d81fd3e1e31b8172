"""The training model: Qwen3 and Qwen3-MoE in plain torch, with fused projections that compile well on a CPU.

The mathematics is that of `Qwen3ForCausalLM` and `Qwen3MoeForCausalLM` (transformers); `checkpoint.py` writes the
weights under their names, and a test compares the logits. The experts of a mixture are computed as one wide
feed-forward whose unselected slices are multiplied by zero: the same function as sparse dispatch, and faster on a CPU
at this size.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812  (the name everybody uses)
from torch import Tensor, nn

from pointsman.experts.nano.training.recipe import Shape

#: Up to this window the attention is written out: oneDNN's bf16 products beat the fused CPU kernel there.
_WRITTEN_OUT_WINDOW = 256


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Root-mean-square norm computed in float32, as Qwen3 does."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype) * weight.to(x.dtype)


class Block(nn.Module):
    """One pre-norm decoder layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.intermediate * max(1, shape.experts)
        self.input_norm = nn.Parameter(torch.ones(shape.hidden))
        self.post_norm = nn.Parameter(torch.ones(shape.hidden))
        self.q_norm = nn.Parameter(torch.ones(shape.head_dim))
        self.k_norm = nn.Parameter(torch.ones(shape.head_dim))
        self.qkv = nn.Linear(shape.hidden, (shape.heads + 2 * shape.kv_heads) * shape.head_dim, bias=False)
        self.out = nn.Linear(shape.heads * shape.head_dim, shape.hidden, bias=False)
        self.gate_up = nn.Linear(shape.hidden, 2 * width, bias=False)
        self.down = nn.Linear(width, shape.hidden, bias=False)
        if shape.experts:
            self.router = nn.Linear(shape.hidden, shape.experts, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        residual = 1.0 / math.sqrt(2 * self.shape.layers)
        for layer in (self.qkv, self.gate_up):
            nn.init.normal_(layer.weight, std=self.shape.hidden**-0.5)
        nn.init.normal_(self.out.weight, std=residual * self.out.in_features**-0.5)
        nn.init.normal_(self.down.weight, std=residual * self.shape.intermediate**-0.5)
        if self.shape.experts:
            nn.init.normal_(self.router.weight, std=0.02)

    def attend(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Causal grouped-query attention with normed queries and keys and rotary positions; [B, T, D] -> [B, T, D]."""
        shape, (batch, window, _) = self.shape, x.shape
        heads = self.qkv(x).view(batch, window, -1, shape.head_dim)
        q, k, v = heads.split([shape.heads, shape.kv_heads, shape.kv_heads], dim=2)
        q, k = rms_norm(q, self.q_norm, shape.norm_eps), rms_norm(k, self.k_norm, shape.norm_eps)
        q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
        groups = shape.heads // shape.kv_heads
        q = q.transpose(1, 2)
        k = k.transpose(1, 2).repeat_interleave(groups, 1)
        v = v.transpose(1, 2).repeat_interleave(groups, 1)
        if window > _WRITTEN_OUT_WINDOW or x.is_cuda:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            flat = (batch * shape.heads, window, shape.head_dim)
            scores = torch.bmm(q.reshape(flat), k.reshape(flat).transpose(1, 2)) * shape.head_dim**-0.5
            causal = torch.ones(window, window, dtype=torch.bool, device=x.device).tril()
            weights = torch.where(causal, scores.float(), -1e9).softmax(-1).to(v.dtype)
            mixed = torch.bmm(weights, v.reshape(flat)).view(batch, shape.heads, window, shape.head_dim)
        merged: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, window, -1))
        return merged

    def feed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """SwiGLU, or the mixture of SwiGLU experts; with the load-balance loss (0 for a dense layer)."""
        shape = self.shape
        gate, up = self.gate_up(x).chunk(2, -1)
        inner = F.silu(gate) * up
        if not shape.experts:
            return self.down(inner), torch.zeros((), device=x.device)
        probabilities = self.router(x).float().softmax(-1)
        threshold = probabilities.topk(shape.experts_per_token, dim=-1).values[..., -1:]
        chosen = (probabilities >= threshold).float()
        weights = probabilities * chosen
        weights = (weights / weights.sum(-1, keepdim=True)).to(inner.dtype)
        wide = inner.unflatten(-1, (shape.experts, shape.intermediate)) * weights.unsqueeze(-1)
        # Switch Transformer's balance loss (arXiv 2101.03961, eq. 4), over all selected experts.
        load = chosen.mean((0, 1)) / shape.experts_per_token
        balance = shape.experts * (load * probabilities.mean((0, 1))).sum()
        return self.down(wide.flatten(-2)), balance

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, D] -> ([B, T, D], load-balance loss)."""
        x = x + self.attend(rms_norm(x, self.input_norm, self.shape.norm_eps), cos, sin)
        fed, balance = self.feed(rms_norm(x, self.post_norm, self.shape.norm_eps))
        return x + fed, balance


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


class NanoModel(nn.Module):
    """A decoder with tied embeddings."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.hidden)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.final_norm = nn.Parameter(torch.ones(shape.hidden))
        frequencies = shape.rope_theta ** -(torch.arange(0, shape.head_dim, 2) / shape.head_dim)
        angles = torch.arange(shape.context_tokens)[:, None] * frequencies
        self.cos: Tensor
        self.sin: Tensor
        self.register_buffer("cos", angles.cos()[:, None], persistent=False)
        self.register_buffer("sin", angles.sin()[:, None], persistent=False)

    @property
    def layers(self) -> list[Block]:
        """The decoder layers in order."""
        return [cast("Block", block) for block in self.blocks]

    def forward(self, tokens: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """[B, T] token ids -> ([B, T, V] logits, load-balance loss). `dtype` is that of the residual stream."""
        window = tokens.shape[1]
        x = self.embedding(tokens).to(dtype)
        cos, sin = self.cos[:window].to(dtype), self.sin[:window].to(dtype)
        balance = torch.zeros((), device=x.device)
        for block in self.blocks:
            x, layer_balance = block(x, cos, sin)
            balance = balance + layer_balance
        x = rms_norm(x, self.final_norm, self.shape.norm_eps)
        return F.linear(x, self.embedding.weight.to(dtype)), balance / len(self.blocks)

    def loss(self, tokens: Tensor, targets: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy in nats per token, and the load-balance loss."""
        logits, balance = self(tokens, dtype)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten()), balance
