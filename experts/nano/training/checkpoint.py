"""Write and read a training model as a standard Hugging Face checkpoint (Qwen3, Qwen3-MoE) in bfloat16."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from pointsman.experts.nano.training.model import NanoModel
from pointsman.experts.nano.training.recipe import Shape

if TYPE_CHECKING:
    from torch import Tensor


def config_of(shape: Shape) -> dict[str, Any]:
    """`config.json` of a shape. Older and newer names stand side by side, for every reader's version."""
    moe = shape.experts > 0
    config: dict[str, Any] = {
        "architectures": ["Qwen3MoeForCausalLM" if moe else "Qwen3ForCausalLM"],
        "model_type": "qwen3_moe" if moe else "qwen3",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "dtype": "bfloat16",
        "torch_dtype": "bfloat16",
        "eos_token_id": 2,
        "pad_token_id": 0,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.intermediate,
        "max_position_embeddings": shape.context_tokens,
        "max_window_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": shape.norm_eps,
        "rope_parameters": {"rope_theta": shape.rope_theta, "rope_type": "default"},
        "rope_scaling": None,
        "rope_theta": shape.rope_theta,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": shape.vocabulary,
    }
    if moe:
        config |= {
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "moe_intermediate_size": shape.intermediate,
            "norm_topk_prob": True,
            "num_experts": shape.experts,
            "num_experts_per_tok": shape.experts_per_token,
            "output_router_logits": False,
            "router_aux_loss_coef": 0.01,
        }
    return config


def export_weights(model: NanoModel) -> dict[str, Tensor]:
    """The weights under Hugging Face's names, in bfloat16."""
    shape = model.shape
    weights: dict[str, Tensor] = {
        "model.embed_tokens.weight": model.embedding.weight,
        "model.norm.weight": model.final_norm,
    }
    for index, block in enumerate(model.layers):
        prefix = f"model.layers.{index}."
        q, k, v = torch.split(
            block.qkv.weight,
            [shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim, shape.kv_heads * shape.head_dim],
        )
        weights |= {
            prefix + "input_layernorm.weight": block.input_norm,
            prefix + "post_attention_layernorm.weight": block.post_norm,
            prefix + "self_attn.q_norm.weight": block.q_norm,
            prefix + "self_attn.k_norm.weight": block.k_norm,
            prefix + "self_attn.q_proj.weight": q,
            prefix + "self_attn.k_proj.weight": k,
            prefix + "self_attn.v_proj.weight": v,
            prefix + "self_attn.o_proj.weight": block.out.weight,
        }
        gate, up = block.gate_up.weight.chunk(2)
        slices = [("mlp.", gate, up, block.down.weight)]
        if shape.experts:
            weights[prefix + "mlp.gate.weight"] = block.router.weight
            slices = [
                (f"mlp.experts.{e}.", g, u, d)
                for e, (g, u, d) in enumerate(
                    zip(
                        gate.chunk(shape.experts),
                        up.chunk(shape.experts),
                        block.down.weight.chunk(shape.experts, dim=1),
                        strict=True,
                    )
                )
            ]
        for part, g, u, d in slices:
            weights[prefix + part + "gate_proj.weight"] = g
            weights[prefix + part + "up_proj.weight"] = u
            weights[prefix + part + "down_proj.weight"] = d
    return {name: tensor.detach().to("cpu", torch.bfloat16).contiguous().clone() for name, tensor in weights.items()}


def write_checkpoint(model: NanoModel, folder: Path) -> None:
    """Write `model.safetensors`, `config.json` and `generation_config.json` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(export_weights(model), folder / "model.safetensors", metadata={"format": "pt"})
    generation = {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "eos_token_id": [2, 0], "pad_token_id": 0}
    for name, content in (("config.json", config_of(model.shape)), ("generation_config.json", generation)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_checkpoint(folder: Path, shape: Shape) -> NanoModel:
    """The training model of a written checkpoint, in float32."""
    stored = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}
    model = NanoModel(shape)
    with torch.no_grad():
        model.embedding.weight.copy_(stored["model.embed_tokens.weight"])
        model.final_norm.copy_(stored["model.norm.weight"])
        for index, block in enumerate(model.layers):
            _read_block(block, stored, f"model.layers.{index}.", shape)
    return model


def _read_block(block: Any, stored: dict[str, Tensor], prefix: str, shape: Shape) -> None:
    block.input_norm.copy_(stored[prefix + "input_layernorm.weight"])
    block.post_norm.copy_(stored[prefix + "post_attention_layernorm.weight"])
    block.q_norm.copy_(stored[prefix + "self_attn.q_norm.weight"])
    block.k_norm.copy_(stored[prefix + "self_attn.k_norm.weight"])
    block.qkv.weight.copy_(torch.cat([stored[f"{prefix}self_attn.{part}_proj.weight"] for part in "qkv"]))
    block.out.weight.copy_(stored[prefix + "self_attn.o_proj.weight"])
    parts = [f"{prefix}mlp.experts.{e}." for e in range(shape.experts)] or [f"{prefix}mlp."]
    gates = [stored[part + "gate_proj.weight"] for part in parts]
    ups = [stored[part + "up_proj.weight"] for part in parts]
    block.gate_up.weight.copy_(torch.cat(gates + ups))
    block.down.weight.copy_(torch.cat([stored[part + "down_proj.weight"] for part in parts], dim=1))
    if shape.experts:
        block.router.weight.copy_(stored[prefix + "mlp.gate.weight"])
