"""The result of stage 1 for a prompt, independent of load, health and budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from pointsman.experts.spec import Source
from pointsman.routers.arrays import Figures


class Posterior(Mapping[str, float]):
    """Category -> probability; held as an array, and told as a mapping when somebody reads it so.

    Args:
        categories: C of them. The same tuple for every prompt, as far as the classifier can.
        probabilities: Shape (C,).
    """

    __slots__ = ("_told", "categories", "probabilities")

    def __init__(self, categories: tuple[str, ...], probabilities: Figures) -> None:
        self.categories = categories
        self.probabilities = probabilities
        self._told: Mapping[str, float] | None = None

    def _mapping(self) -> Mapping[str, float]:
        if self._told is None:
            self._told = dict(zip(self.categories, self.probabilities.tolist(), strict=True))
        return self._told

    def __getitem__(self, category: str) -> float:
        return self._mapping()[category]

    def __iter__(self) -> Iterator[str]:
        return iter(self.categories)

    def __len__(self) -> int:
        return len(self.categories)

    def __repr__(self) -> str:
        return f"Posterior({self._mapping()!r})"


def probabilities(posterior: Mapping[str, float], categories: tuple[str, ...]) -> Figures:
    """A posterior as an array over the given categories, shape (C,).

    Raises:
        KeyError: It lacks one of them.
    """
    if isinstance(posterior, Posterior) and posterior.categories == categories:
        return posterior.probabilities
    return np.array([posterior[name] for name in categories], dtype=np.float32)


class Doubt(StrEnum):
    """Why a generalist should answer rather than whoever looks best."""

    LANGUAGE = "language_not_read"
    OUT_OF_SCOPE = "out_of_scope"
    UNCLEAR = "category_unclear"
    UNMEASURED = "category_not_measured"


# Made for every prompt, and freezing costs a third of the making: not frozen, and never changed.
@dataclass(slots=True)
class Classification:
    """Stage 1: the posterior over categories.

    Attributes:
        posterior: Category -> probability; sums to 1.
        category: The most probable category, or `"out_of_scope"` / `"uncertain"`.
        entropy: Of the posterior in nats, H(x) = -Σ p log p (Composition of Experts, arXiv 2412.01868).
        out_of_scope: The prompt resembles nothing the classifier was trained on.
        uncertain: Nobody can say what the prompt is: out of scope, or entropy above the artefact's threshold.
        unmeasured: What it is may be plain, but most of the posterior lies on categories for which the artefact has
            no outcomes.
        unread_language: The language, as ISO 639 names it, of a prompt that the artefact cannot read; empty where it
            can. What the posterior says of such a prompt means nothing.
    """

    posterior: Mapping[str, float]
    category: str
    entropy: float
    out_of_scope: bool = False
    uncertain: bool = False
    unmeasured: bool = False
    unread_language: str = ""

    @property
    def for_generalist(self) -> bool:
        """Whether a generalist should answer, for whichever doubt."""
        return self.uncertain or self.unmeasured or self.unread_language != ""

    @property
    def unlike_training(self) -> bool:
        """Whether the outcomes that the artefact was fitted on are no evidence of such prompts."""
        return self.out_of_scope or self.unmeasured or self.unread_language != ""

    @property
    def doubt(self) -> Doubt | None:
        """Why a generalist should answer; None where a specialist may."""
        if self.unread_language:
            return Doubt.LANGUAGE
        if self.out_of_scope:
            return Doubt.OUT_OF_SCOPE
        if self.uncertain:
            return Doubt.UNCLEAR
        return Doubt.UNMEASURED if self.unmeasured else None


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


class Qualities(Mapping[str, Quality]):
    """Artefact name of an expert -> predicted quality; held as arrays, so that a prompt makes no object per expert.

    Args:
        experts: Artefact names, m of them. The same tuple for every prompt, as far as the estimator can.
        mean: Expected quality, shape (m,).
        std: Its uncertainty, NaN when unknown, shape (m,); or what works it out, once, when somebody asks.
        sources: Where each comes from, m of them.
    """

    __slots__ = ("_std", "experts", "mean", "sources")

    def __init__(
        self,
        experts: tuple[str, ...],
        mean: Figures,
        std: Figures | Callable[[], Figures],
        sources: tuple[Source, ...],
    ) -> None:
        self.experts = experts
        self.mean = mean
        self._std = std
        self.sources = sources

    @property
    def std(self) -> Figures:
        """Uncertainty of the expected quality, NaN when unknown, shape (m,)."""
        if callable(self._std):
            self._std = self._std()
        return self._std

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

    def __repr__(self) -> str:
        return f"Qualities({dict(self)!r})"


#: Expected tokens and their 95 % quantile, both of shape (m,).
Lengths = tuple[Figures, Figures]


class AnswerLengths(Mapping[str, tuple[float, float]]):
    """Artefact name of an expert -> (expected, 95 % quantile) of its answer's length in tokens; held as arrays.

    Args:
        experts: Artefact names, m of them.
        mean: Expected tokens, shape (m,).
        q95: Their 95 % quantile, shape (m,).
    """

    __slots__ = ("_lengths", "experts")

    def __init__(self, experts: tuple[str, ...] = (), mean: Figures | None = None, q95: Figures | None = None) -> None:
        self.experts = experts
        none = np.zeros(0)
        self._lengths: Lengths | Callable[[], Lengths] = (
            none if mean is None else mean,
            none if q95 is None else q95,
        )

    @classmethod
    def later(cls, experts: tuple[str, ...], lengths: Callable[[], Lengths]) -> AnswerLengths:
        """Lengths that are worked out, once, when somebody asks: a request without caps and prices does not."""
        made = cls.__new__(cls)
        made.experts = experts
        made._lengths = lengths  # noqa: SLF001 (of this very class)
        return made

    @property
    def mean(self) -> Figures:
        """Expected tokens, shape (m,)."""
        return self._worked_out()[0]

    @property
    def q95(self) -> Figures:
        """Their 95 % quantile, shape (m,)."""
        return self._worked_out()[1]

    def _worked_out(self) -> Lengths:
        if callable(self._lengths):
            self._lengths = self._lengths()
        return self._lengths

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

    def __repr__(self) -> str:
        return f"AnswerLengths({dict(self)!r})"


def _position(experts: tuple[str, ...], expert: str) -> int:
    try:
        return experts.index(expert)
    except ValueError:
        raise KeyError(expert) from None


@dataclass(slots=True)
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
