"""Read a Hugging Face checkpoint (config, safetensors, generation defaults) into float32 arrays without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
_ARCHITECTURES = ("Qwen3ForCausalLM", "Qwen3MoeForCausalLM")


class CheckpointError(Exception):
    """The folder holds no checkpoint that this runtime can run."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What `config.json` and `generation_config.json` say, as far as the runtime needs it.

    `experts` is 0 for a dense model; `intermediate` is that of one expert for a mixture.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    context_tokens: int
    norm_eps: float
    rope_theta: float
    tied_embeddings: bool
    experts: int = 0
    experts_per_token: int = 0
    renormalise_experts: bool = True
    eos_ids: frozenset[int] = frozenset()
    temperature: float = 1.0
    top_p: float = 1.0


def read_config(folder: Path) -> ModelConfig:
    """Read the configuration of a checkpoint.

    Raises:
        CheckpointError: A file is missing, or the architecture is not Qwen3 or Qwen3-MoE.
    """
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} has no readable config.json: {error}") from error
    architecture = (config.get("architectures") or ["?"])[0]
    if architecture not in _ARCHITECTURES:
        raise CheckpointError(
            f"{folder.name} is a {architecture}; the embedded runtime runs {' and '.join(_ARCHITECTURES)}"
        )
    moe = architecture == "Qwen3MoeForCausalLM"
    if moe and (config.get("decoder_sparse_step", 1) != 1 or config.get("mlp_only_layers")):
        raise CheckpointError(f"{folder.name} mixes dense and sparse layers, which the embedded runtime does not run")
    rope = config.get("rope_parameters") or {}
    generation: dict[str, Any] = {}
    if (folder / "generation_config.json").is_file():
        generation = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    eos = generation.get("eos_token_id", config.get("eos_token_id"))
    eos_ids = frozenset(eos if isinstance(eos, list) else [] if eos is None else [eos])
    sampled = generation.get("do_sample", True)
    return ModelConfig(
        hidden=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        head_dim=config["head_dim"],
        intermediate=config["moe_intermediate_size"] if moe else config["intermediate_size"],
        vocabulary=config["vocab_size"],
        context_tokens=config["max_position_embeddings"],
        norm_eps=config["rms_norm_eps"],
        rope_theta=float(rope.get("rope_theta", config.get("rope_theta", 10_000.0))),
        tied_embeddings=config.get("tie_word_embeddings", False),
        experts=config["num_experts"] if moe else 0,
        experts_per_token=config["num_experts_per_tok"] if moe else 0,
        renormalise_experts=config.get("norm_topk_prob", False),
        eos_ids=eos_ids,
        temperature=generation.get("temperature", 1.0) if sampled else 0.0,
        top_p=generation.get("top_p", 1.0) if sampled else 1.0,
    )


def read_tensors(path: Path) -> dict[str, Array]:
    """Every tensor of a safetensors file as float32.

    The format is eight bytes of header length, a JSON header of (dtype, shape, offsets), then the raw bytes. numpy has
    no bfloat16; its bits are the upper half of a float32's.

    Raises:
        CheckpointError: The file is missing, cut short, or holds another dtype.
    """
    try:
        raw = np.memmap(path, dtype=np.uint8, mode="r")
        length = int(raw[:8].view("<u8")[0])
        header: dict[str, Any] = json.loads(raw[8 : 8 + length].tobytes())
    except (OSError, ValueError, IndexError) as error:
        raise CheckpointError(f"{path} is no safetensors file: {error}") from error
    tensors: dict[str, Array] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        dtype = _DTYPES.get(entry["dtype"])
        if dtype is None or 8 + length + end > raw.size:
            raise CheckpointError(f"{path}: tensor {name} ({entry['dtype']}) cannot be read")
        # The offset need not be aligned to the item size, so the bytes are copied before they are viewed.
        data = np.frombuffer(raw[8 + length + start : 8 + length + end].tobytes(), dtype=dtype)
        values = (
            (data.astype(np.uint32) << 16).view(np.float32) if entry["dtype"] == "BF16" else data.astype(np.float32)
        )
        tensors[name] = values.reshape(entry["shape"])
    return tensors
