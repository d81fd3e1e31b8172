"""Learning rate and phase of a training run, as functions of its progress."""

from __future__ import annotations

from pointsman.experts.nano.training.recipe import Job, TrainingPhase


def rate_at(job: Job, step: int, progress: float) -> float:
    """Share of the peak learning rate: linear warm-up, a plateau, then a linear fall to `decay_to`."""
    warm = min(1.0, (step + 1) / job.warmup_steps)
    if progress <= job.decay_from:
        return warm
    fallen = (progress - job.decay_from) / (1.0 - job.decay_from)
    return warm * (1.0 - (1.0 - job.decay_to) * fallen)


def phase_at(job: Job, progress: float) -> TrainingPhase:
    """The phase that a share of the run falls into."""
    seen = 0
    for phase in job.phases:
        seen += phase.steps
        if progress < seen / job.steps:
            return phase
    return job.phases[-1]
