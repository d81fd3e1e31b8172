"""Every number of the recipe: shapes, mixture, schedules, budgets."""

from __future__ import annotations

from dataclasses import dataclass, field

from pointsman.experts.nano import GENERALIST, SPECIALISTS

SEED = 20260101
BASE = "nano-base"
#: Share of each domain in the mixture that the base and the generalist see.
MIXTURE = (("code", 0.34), ("math", 0.24), ("clinical", 0.16), ("prose", 0.26))


@dataclass(frozen=True, slots=True)
class Shape:
    """Dimensions of a model; `experts` > 0 makes it a mixture of experts with `intermediate` per expert."""

    hidden: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    intermediate: int = 640
    experts: int = 0
    experts_per_token: int = 2
    vocabulary: int = 4096
    context_tokens: int = 1024
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6


DENSE = Shape()
MIXTURE_OF_EXPERTS = Shape(intermediate=128, experts=8)


@dataclass(frozen=True, slots=True)
class TrainingPhase:
    """A run of steps at one window length; every step sees `window_tokens * windows` tokens."""

    steps: int
    window_tokens: int
    windows: int


@dataclass(frozen=True, slots=True)
class Job:
    """One training run.

    Attributes:
        name: Model name.
        shape: Dimensions.
        mixture: (domain, share) pairs.
        phases: What it trains on, in order.
        ceiling_minutes: Wall-clock ceiling. A slower machine reaches the end of the learning-rate schedule here.
        after: Name of the job whose weights it starts from, None for scratch.
        decay_from: Share of the run after which the learning rate falls linearly to `decay_to` of its peak.
        decay_to: Share of the peak rate at the end.
        weight_decay: Decoupled weight decay.
    """

    name: str
    shape: Shape
    mixture: tuple[tuple[str, float], ...]
    phases: tuple[TrainingPhase, ...]
    ceiling_minutes: float
    after: str | None = None
    decay_from: float = 1.0
    decay_to: float = 0.0
    weight_decay: float = 0.05
    muon_rate: float = 5e-3
    adam_rate: float = 3e-3
    warmup_steps: int = 30
    validate_every: int = 60

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains it trains on."""
        return tuple(domain for domain, _ in self.mixture)

    @property
    def steps(self) -> int:
        """Steps of all phases."""
        return sum(phase.steps for phase in self.phases)


def _specialist(domain: str, short: int, long: int, minutes: float) -> Job:
    return Job(
        name=SPECIALISTS[domain],
        shape=DENSE,
        mixture=((domain, 1.0),),
        phases=(TrainingPhase(short, 256, 16), TrainingPhase(long, 1024, 4)),
        ceiling_minutes=minutes,
        after=BASE,
        decay_from=0.1,
        warmup_steps=10,
        weight_decay=0.1,
    )


@dataclass(frozen=True, slots=True)
class RetrainingRecipe:
    """The whole retraining: jobs in order; a job waits for the one it starts from.

    The base and the generalist start together on one core each; the specialists continue from the base, which is
    not shipped, and whose learning rate is still high: the decay, where most of the loss falls, is spent on the domain.
    """

    jobs: tuple[Job, ...] = field(
        default_factory=lambda: (
            Job(BASE, DENSE, MIXTURE, (TrainingPhase(1150, 256, 16),), ceiling_minutes=17.0),
            Job(
                GENERALIST,
                MIXTURE_OF_EXPERTS,
                MIXTURE,
                (TrainingPhase(1450, 256, 16), TrainingPhase(100, 1024, 4)),
                ceiling_minutes=30.0,
                decay_from=0.4,
            ),
            _specialist("code", 600, 60, 12.0),
            _specialist("math", 420, 40, 9.0),
            _specialist("prose", 420, 50, 9.0),
            _specialist("clinical", 280, 50, 8.0),
        )
    )
    seed: int = SEED
    balance_loss: float = 0.01
    heldout_bytes_per_domain: int = 250_000
