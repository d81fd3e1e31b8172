"""What stage 1 says of a prompt, independent of load, health and budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from experts.spec import Source
from routers.arrays import Figures


@dataclass(frozen=True, slots=True)
class Classification:
    """Stage 1: the posterior over categories.

    Attributes:
        posterior: Category -> probability; sums to 1.
        category: The most probable category, or `"out_of_scope"` / `"uncertain"`.
        entropy: Of the posterior in nats, H(x) = -Σ p log p (Composition of Experts, arXiv 2412.01868).
        out_of_scope: The prompt resembles nothing the classifier was trained on.
        uncertain: A generalist should answer: out of scope, entropy above the artefact's threshold, or most of the
            posterior on categories for which the artefact has no outcomes.
    """

    posterior: Mapping[str, float]
    category: str
    entropy: float
    out_of_scope: bool = False
    uncertain: bool = False


@dataclass(frozen=True, slots=True)
class Quality:
    """Predicted quality of one expert on one prompt, in [0, 1].

    Attributes:
        mean: Expected quality.
        std: Its uncertainty (of the prediction, not of the outcome); NaN when unknown.
        source: `measured` when fitted on outcomes, `stated` from a prior or a card, `estimated` from sizes alone.
        learned: By how much judged answers have moved `mean` since.
    """

    mean: float
    std: float
    source: Source
    learned: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Qualities(Mapping[str, Quality]):
    """Artefact name of an expert -> predicted quality; held as arrays, so that a prompt makes no object per expert.

    Attributes:
        experts: Artefact names, m of them. The same tuple for every prompt, as far as the estimator can.
        mean: Expected quality, shape (m,).
        std: Its uncertainty, NaN when unknown, shape (m,).
        sources: Where each comes from, m of them.
    """

    experts: tuple[str, ...]
    mean: Figures
    std: Figures
    sources: tuple[Source, ...]

    @classmethod
    def of(cls, values: Mapping[str, Quality]) -> Qualities:
        """From single predictions."""
        given = values.values()
        return cls(
            tuple(values),
            np.array([quality.mean for quality in given], dtype=np.float64),
            np.array([quality.std for quality in given], dtype=np.float64),
            tuple(quality.source for quality in given),
        )

    def __getitem__(self, expert: str) -> Quality:
        at = _position(self.experts, expert)
        return Quality(float(self.mean[at]), float(self.std[at]), self.sources[at])

    def __iter__(self) -> Iterator[str]:
        return iter(self.experts)

    def __len__(self) -> int:
        return len(self.experts)


@dataclass(frozen=True, slots=True, eq=False)
class AnswerLengths(Mapping[str, tuple[float, float]]):
    """Artefact name of an expert -> (expected, 95 % quantile) of its answer's length in tokens; held as arrays.

    Attributes:
        experts: Artefact names, m of them.
        mean: Expected tokens, shape (m,).
        q95: Their 95 % quantile, shape (m,).
    """

    experts: tuple[str, ...] = ()
    mean: Figures = field(default_factory=lambda: np.zeros(0))
    q95: Figures = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def of(cls, values: Mapping[str, tuple[float, float]]) -> AnswerLengths:
        """From single predictions."""
        pairs = np.array(list(values.values()), dtype=np.float64).reshape(-1, 2)
        return cls(tuple(values), pairs[:, 0], pairs[:, 1])

    def __getitem__(self, expert: str) -> tuple[float, float]:
        at = _position(self.experts, expert)
        return float(self.mean[at]), float(self.q95[at])

    def __iter__(self) -> Iterator[str]:
        return iter(self.experts)

    def __len__(self) -> int:
        return len(self.experts)


def _position(experts: tuple[str, ...], expert: str) -> int:
    try:
        return experts.index(expert)
    except ValueError:
        raise KeyError(expert) from None


@dataclass(frozen=True, slots=True)
class Assessment:
    """All that depends on the prompt alone: what may be cached, because no load, health or budget is in it.

    Attributes:
        classification: Stage 1.
        quality: Artefact name of an expert -> predicted quality. Experts unknown to the artefact are absent.
        completion_tokens: Artefact name -> (expected, 95 % quantile) of the answer's length; absent when unknown.
        artifact_hash: Of the router that made it.
    """

    classification: Classification
    quality: Qualities
    completion_tokens: AnswerLengths = field(default_factory=AnswerLengths)
    artifact_hash: str = ""
