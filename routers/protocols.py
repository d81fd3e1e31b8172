"""The contracts inside the decision: embedder, classifier, estimator, filter, router."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pointsman.experts.spec import PoolView
from pointsman.routers.arrays import FloatArray, Mask
from pointsman.routers.estimators.call import CallFigures
from pointsman.routers.estimators.online import Corrections
from pointsman.routers.types import Assessment, Classification, Decision, Qualities, Rejection, RouteRequest


class Embedder(Protocol):
    """Text to vector."""

    @property
    def dim(self) -> int:
        """Width of the vectors."""

    @property
    def slow(self) -> bool:
        """Whether one text takes milliseconds rather than a fraction of one."""

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Embed texts; rows of unit length (all zero for a text without known tokens), shape (n, dim).

        An embedder may append further features after the unit vector; it says so.
        """


class Classifier(Protocol):
    """Stage 1: vector to posterior over categories, with its uncertainty."""

    @property
    def categories(self) -> tuple[str, ...]:
        """Names in the posterior's order."""

    def classify(self, vector: FloatArray) -> Classification:
        """Classify one prompt, vector of shape (dim,)."""


class QualityEstimator(Protocol):
    """Per expert: predicted quality (Tryage's perceptive router), one independent head each."""

    def estimate(self, vector: FloatArray, classification: Classification) -> Qualities:
        """Predicted quality for every head the artefact has."""


class Filter(Protocol):
    """A hard rule: an expert that breaks it may not answer. Works on a whole pool at once."""

    def passes(self, figures: CallFigures) -> Mask:
        """Who does not break it, shape (n,)."""

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """In words, why the expert at a position of the pool breaks it."""


class RouterProtocol(Protocol):
    """The decision: `decide` is `select` after `assess`.

    The two stand apart so that the costly, load-free half may be cached, and so that a sweep over weights assesses
    every prompt once.
    """

    @property
    def id(self) -> str:
        """Name and version, as it appears in decisions."""

    @property
    def artifact_hash(self) -> str:
        """Hash of the fitted parameters, empty when there are none."""

    @property
    def slow(self) -> bool:
        """Whether `assess` takes so long (a transformer's forward pass) that it would stall an event loop."""

    def assess(self, request: RouteRequest) -> Assessment:
        """Everything that depends on the prompt alone. Pure."""

    def select(
        self, assessment: Assessment, request: RouteRequest, view: PoolView, learned: Corrections | None = None
    ) -> Decision:
        """Everything that depends on budgets, load, health and what was learned since. Pure."""

    def decide(self, request: RouteRequest, view: PoolView) -> Decision:
        """`select(assess(request), request, view)`. Pure and deterministic."""
