"""The training data of a router: prompts, their labels, and the score of every expert on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.errors import TrainingError


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Prompts with labels and outcomes. A prompt may have a label, outcomes, or both.

    Attributes:
        texts: The prompts, n of them.
        categories: Category of each, None where nobody labelled it.
        experts: Names of the experts, m of them; empty for a classifier alone.
        scores: Quality in [0, 1], NaN where unscored, float, shape (n, m).
        completion_tokens: Length of the answers, NaN where unknown, shape (n, m); None when wholly unknown.
        fine: Finer labels that nest in the categories (an intent in a domain), None for the category itself; the
            whole field None when there are none.
        out_of_scope: True for prompts that belong to no category (their category is None); None when there are none.
        weights: Weight of each prompt in the fit of the classifier, None for equal ones.
        answers: What each expert answered, as codes that are equal for equal answers, negative where it gave none,
            shape (n, m); None when answers are not known. With them `fit_router` also learns which to ask next given
            what came back.
        cost_usd: US dollars of each call, NaN where unknown, shape (n, m); None when wholly unknown.
        provenance: Where it comes from: tables, hashes, counts. JSON-able; goes into the manifest.
    """

    texts: Sequence[str]
    categories: Sequence[str | None]
    experts: tuple[str, ...]
    scores: npt.NDArray[np.float64]
    completion_tokens: npt.NDArray[np.float64] | None = None
    fine: Sequence[str | None] | None = None
    out_of_scope: npt.NDArray[np.bool_] | None = None
    weights: npt.NDArray[np.float64] | None = None
    answers: npt.NDArray[np.integer] | None = None
    cost_usd: npt.NDArray[np.float64] | None = None
    provenance: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __len__(self) -> int:
        return len(self.texts)

    def check(self) -> None:
        """See that it can train a router.

        Raises:
            TrainingError: Shapes disagree, a score is out of range, or there is nothing to learn from.
        """
        n, m = len(self.texts), len(self.experts)
        if n == 0:
            raise TrainingError("there is no prompt to train on")
        if self.scores.shape != (n, m):
            raise TrainingError(f"scores have shape {self.scores.shape}, not {(n, m)} as prompts and experts say")
        for name, column in (("categories", self.categories), ("fine", self.fine), ("out_of_scope", self.out_of_scope)):
            if column is not None and len(column) != n:
                raise TrainingError(f"{name} has {len(column)} entries for {n} prompts")
        for name, cells in (
            ("completion_tokens", self.completion_tokens),
            ("answers", self.answers),
            ("cost_usd", self.cost_usd),
        ):
            if cells is not None and cells.shape != (n, m):
                raise TrainingError(f"{name} have shape {cells.shape}, not {(n, m)}")
        if len(set(self.experts)) != m:
            raise TrainingError("an expert is named twice")
        finite = self.scores[np.isfinite(self.scores)]
        if finite.size and (finite.min() < 0 or finite.max() > 1):
            raise TrainingError(f"scores reach from {finite.min():g} to {finite.max():g}, outside [0, 1]")
        unscored = [
            name for name, column in zip(self.experts, self.scores.T, strict=True) if not np.isfinite(column).any()
        ]
        if unscored:
            raise TrainingError(f"no score at all for {', '.join(unscored)}")
