"""Fine-tune a sentence encoder on outcomes: Tryage's perceptive router (arXiv 2308.11601).

    θ* = argmin_θ  mean over scored (x, n) of  BCE(σ(w_n · s v_θ(x) + b_n), y_n(x))

v_θ is the encoder's unit vector, s = 16 a fixed scale, y in [0, 1] the outcome (right or wrong, a graded score, or
2^-loss): the paper's divergence between predicted and true losses is not known, cross-entropy is what is used here.
Every expert has a head (w_n, b_n) of its own and cells nobody scored are left out, so a table may be sparse. Only the
upper layers learn: the lower ones hold what pre-training taught, and not training them halves the time.

What a router takes from here is the encoder. Its heads are fitted again on the frozen vectors by `fit_router`, with the
shrinkage and the blending every other embedder gets, so that an expert can be added later without a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.embed.fine_tuned import FineTunedEmbedder, encoder_tokenizer, padded, tokenize, unit_mean
from pointsman.routers.embed.sentence_transformers import packaged_model
from pointsman.routers.errors import EmbedderError, TrainingError
from pointsman.routers.training.data import TrainingData
from pointsman.routers.types import FloatArray

#: The name under which an embedder is asked for that does not exist yet.
FINE_TUNED = "fine-tuned"

BASE_MODEL = "all-MiniLM-L6-v2"

#: s above: a unit vector times a head of ordinary size spans the logits that matter.
SCALE = 16.0


@dataclass(frozen=True, slots=True)
class FineTuningRecipe:
    """How to fine-tune.

    Attributes:
        base: Encoder to start from: a packaged name or a folder in the transformers format.
        epochs: Passes over the prompts.
        max_tokens: Tokens read of a prompt.
        frozen_layers: Lower layers that stay as they are; the token embedding stays too.
        batch: Prompts per step.
        encoder_rate: Peak learning rate of the encoder.
        head_rate: Peak learning rate of the heads.
        seed: Of shuffling and dropout.
    """

    base: str = BASE_MODEL
    epochs: int = 2
    max_tokens: int = 128
    frozen_layers: int = 3
    batch: int = 32
    encoder_rate: float = 1e-4
    head_rate: float = 1e-2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class FineTunedEncoder:
    """A fine-tuned encoder with the heads it was trained under.

    Attributes:
        embedder: The encoder.
        weights: w, shape (m, dim), the scale multiplied in.
        bias: b, shape (m,).
        losses: Mean training loss of each epoch, in nats per scored cell.
    """

    embedder: FineTunedEmbedder
    weights: FloatArray
    bias: FloatArray
    losses: tuple[float, ...]

    def predict(self, vectors: FloatArray) -> FloatArray:
        """Predicted quality of vectors of shape (n, dim) by the heads of the training; shape (n, m)."""
        return np.asarray(1.0 / (1.0 + np.exp(-(vectors @ self.weights.T + self.bias))), dtype=np.float32)


def fine_tune(
    texts: Sequence[str],
    scores: npt.NDArray[np.float64],
    recipe: FineTuningRecipe = FineTuningRecipe(),
    *,
    name: str = "fine-tuned",
    device: str | None = None,
    on_step: Callable[[float], None] = lambda _: None,
) -> FineTunedEncoder:
    """Fine-tune.

    Args:
        texts: Training prompts, n of them.
        scores: Quality in [0, 1], NaN where unscored, shape (n, m).
        recipe: How.
        name: Of the encoder, in manifests.
        device: torch device; None for a GPU where there is one.
        on_step: Told the share that is done after every step.

    Raises:
        TrainingError: There is no score to learn from.
        EmbedderError: torch, transformers or the base model is missing.
    """
    rows = np.flatnonzero(np.isfinite(scores).any(axis=1)).tolist()
    if not rows:
        raise TrainingError("fine-tuning needs outcomes, and no prompt has any")
    config, encoder, tokenizer_json = _load_base(recipe.base)
    import torch

    torch.manual_seed(recipe.seed)
    encoder.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    encodings = tokenize(
        encoder_tokenizer(tokenizer_json, recipe.max_tokens), [texts[row] for row in rows], recipe.max_tokens
    )
    head = _heads(scores[rows], int(config["hidden_size"])).to(encoder.device)
    losses = _train(encoder, head, encodings, scores[rows], recipe, on_step)
    weights = {key: value.detach().float().cpu().numpy() for key, value in encoder.state_dict().items()}
    return FineTunedEncoder(
        FineTunedEmbedder(
            config,
            weights,
            tokenizer_json,
            max_tokens=recipe.max_tokens,
            name=f"{name} from {recipe.base}",
            device=device,
        ),
        head.weight.detach().cpu().numpy() * np.float32(SCALE),
        head.bias.detach().cpu().numpy(),
        losses,
    )


def tune_encoder(
    data: TrainingData,
    name: str,
    seed: int = 0,
    on_step: Callable[[float], None] = lambda _: None,
) -> tuple[TrainingData, FineTunedEmbedder]:
    """Fine-tune on a router's training data; the data comes back with a note of it in its provenance.

    Raises:
        TrainingError: As `fine_tune`.
        EmbedderError: As `fine_tune`.
    """
    recipe = FineTuningRecipe(seed=seed)
    tuned = fine_tune(data.texts, data.scores, recipe, name=name, on_step=on_step)
    note = {
        "recipe": asdict(recipe),
        "training_losses": list(tuned.losses),
        "note": "the encoder has seen these outcomes: figures out of fold are out of fold for the heads alone",
    }
    return replace(data, provenance={**data.provenance, "encoder": note}), tuned.embedder


def _load_base(base: str) -> tuple[dict[str, Any], Any, str]:
    """Configuration, transformer and tokenizer of the model to start from."""
    try:
        from transformers import AutoModel
    except ImportError as error:
        raise EmbedderError("fine-tuning needs the extra 'train': pip install 'pointsman[train]'") from error
    folder = Path(packaged_model(base))
    try:
        # add_pooling_layer: the pooler reads one token alone, and nothing here uses it.
        encoder = AutoModel.from_pretrained(folder, add_pooling_layer=False, local_files_only=True)
        tokenizer_json = (folder / "tokenizer.json").read_text("utf-8")
    except (OSError, ValueError, TypeError) as error:
        raise EmbedderError(f"cannot fine-tune {base!r}: {error}") from error
    return encoder.config.to_diff_dict() | {"model_type": encoder.config.model_type}, encoder, tokenizer_json


def _heads(scores: npt.NDArray[np.float64], dim: int) -> Any:
    """One logistic head per expert, which starts at the expert's mean score whatever the prompt."""
    import torch

    head = torch.nn.Linear(dim, scores.shape[1])
    mean = torch.from_numpy(np.nan_to_num(np.nanmean(scores, axis=0), nan=0.5)).float().clamp(0.01, 0.99)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.logit(mean))
    return head


def _train(
    encoder: Any,
    head: Any,
    encodings: Sequence[Sequence[int]],
    scores: npt.NDArray[np.float64],
    recipe: FineTuningRecipe,
    on_step: Callable[[float], None],
) -> tuple[float, ...]:
    import torch

    device = encoder.device
    _freeze(encoder, recipe.frozen_layers)
    targets = torch.from_numpy(scores).float()
    learning = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(
        [{"params": learning, "lr": recipe.encoder_rate}, {"params": head.parameters(), "lr": recipe.head_rate}],
        weight_decay=0.01,
    )
    total = recipe.epochs * math.ceil(len(encodings) / recipe.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, total))
    rng = np.random.default_rng(recipe.seed)
    losses: list[float] = []
    done = 0
    encoder.train()
    for _ in range(recipe.epochs):
        summed = cells = 0.0
        for rows in _batches([len(ids) for ids in encodings], recipe.batch, rng):
            ids, mask = padded([encodings[row] for row in rows], device)
            wanted = targets[rows].to(device)
            seen = torch.isfinite(wanted)
            # bfloat16 products are several times as fast where the hardware has them, and need no loss scaling.
            with torch.autocast(device.type, torch.bfloat16):
                hidden = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            logits = head(SCALE * unit_mean(hidden.float(), mask))
            loss: Any = torch.nn.functional.binary_cross_entropy_with_logits(logits[seen], wanted[seen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
            optimiser.step()
            schedule.step()
            summed += float(loss.detach()) * int(seen.sum())
            cells += int(seen.sum())
            done += 1
            on_step(done / total)
        losses.append(summed / cells)
    encoder.eval()
    return tuple(losses)


def _freeze(encoder: Any, layers: int) -> None:
    """Keep the token embedding and the first layers as they are."""
    for module in (encoder.embeddings, *encoder.encoder.layer[:layers]):
        module.requires_grad_(False)


def _rate(step: int, total: int) -> float:
    """Share of the peak learning rate: up over a tenth of the steps, then down to nothing, both straight."""
    warm = max(1, total // 10)
    return min((step + 1) / warm, (total - step) / max(1, total - warm))


def _batches(lengths: Sequence[int], size: int, rng: np.random.Generator) -> list[npt.NDArray[np.int64]]:
    """A shuffled pass in batches of like length: shuffled, cut into runs of 16 batches, each run sorted by length."""
    shuffled = rng.permutation(len(lengths))
    by_length = np.asarray(lengths)
    batches = []
    for start in range(0, len(shuffled), 16 * size):
        run = shuffled[start : start + 16 * size]
        run = run[np.argsort(by_length[run], kind="stable")]
        batches += [run[at : at + size] for at in range(0, len(run), size)]
    return [batches[index] for index in rng.permutation(len(batches))]
