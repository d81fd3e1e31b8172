"""One training run: Muon for the matrices, AdamW for the rest, the best validated weights kept."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from pointsman.experts.nano.training.evaluate import bits_per_byte
from pointsman.experts.nano.training.model import NanoModel
from pointsman.experts.nano.training.recipe import Job
from pointsman.experts.nano.training.schedule import phase_at, rate_at
from pointsman.experts.nano.training.streams import WindowSampler

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

#: Called with (progress in [0, 1], training loss in nats per token, last validation bits per byte).
Report = Callable[[float, float, float], None]


def pick_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _optimisers(model: NanoModel, job: Job) -> list[torch.optim.Optimizer]:
    matrices = [
        p for name, p in model.named_parameters() if p.ndim == 2 and name.startswith("blocks.") and "router" not in name
    ]
    known = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in known]
    return [
        torch.optim.Muon(matrices, lr=job.muon_rate, weight_decay=job.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(
            [
                {"params": [p for p in others if p.ndim > 1], "weight_decay": job.weight_decay},
                {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=job.adam_rate,
            betas=(0.9, 0.95),
        ),
    ]


def run_job(
    job: Job,
    streams: Mapping[str, NDArray[np.uint16]],
    validation: Mapping[str, Sequence[str]],
    tokenizer: Tokenizer,
    *,
    work: Path,
    seed: int,
    balance_loss: float,
    report: Report,
) -> NanoModel:
    """Train one model and leave its float32 weights in `work/<name>.safetensors`.

    The last checkpoint with the lowest validation loss wins. The run ends after its steps, or, on a slower machine,
    when its wall-clock ceiling is reached: the schedule follows whichever is further.
    """
    started = time.monotonic()
    torch.manual_seed(seed)
    device = pick_device()
    model = NanoModel(job.shape)
    if job.after:
        model.load_state_dict(load_file(work / f"{job.after}.safetensors"))
    model.to(device)
    optimisers = _optimisers(model, job)
    peaks = [[group["lr"] for group in optimiser.param_groups] for optimiser in optimisers]
    compiled = model.loss
    if device.type == "cpu" and shutil.which("g++"):
        # Fused elementwise kernels double the speed on a CPU; without a compiler the same graph runs eagerly.
        compiled = torch.compile(model.loss, dynamic=False)
    sampler = WindowSampler(streams, dict(job.mixture), seed)
    best, best_state, last = float("inf"), None, float("nan")
    progress, step = 0.0, 0
    while progress < 1.0:
        phase = phase_at(job, progress)
        share = rate_at(job, step, progress)
        for optimiser, rates in zip(optimisers, peaks, strict=True):
            for group, peak in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = peak * share
        tokens = torch.from_numpy(sampler.draw(phase.windows, phase.window_tokens)).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            loss, balance = compiled(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), torch.bfloat16)
        torch.autograd.backward(loss + balance_loss * balance)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        step += 1
        progress = max(step / job.steps, (time.monotonic() - started) / (60.0 * job.ceiling_minutes))
        if step % job.validate_every == 0 or progress >= 1.0:
            last = sum(
                share_ * bits_per_byte(model, validation[domain], tokenizer, window_tokens=512)
                for domain, share_ in job.mixture
            )
            if last < best:
                best, best_state = last, {k: v.detach().to("cpu").clone() for k, v in model.state_dict().items()}
        report(min(progress, 1.0), loss.item(), last)
    if best_state is not None:
        model.load_state_dict(best_state)
    save_file(
        {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}, work / f"{job.name}.safetensors"
    )
    return model
