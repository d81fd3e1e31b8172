"""`Table`: recorded outcomes of every expert on every prompt, to evaluate routers and to fit them (extra `evals`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pointsman.evals.contenders import Contender, Step
from pointsman.evals.protocols.division import Protocol
from pointsman.evals.report import EvaluationReport
from pointsman.evals.session import EvalOptions, TrainOptions, build_report, fit
from pointsman.evals.tables import OutcomeTable, load_table
from pointsman.router import Router


class Table:
    """An outcome table. `Table.read` reads one.

    Args:
        folder: Where it lies.
        outcomes: What was read there.
    """

    def __init__(self, folder: Path, outcomes: OutcomeTable) -> None:
        self._folder = folder
        self._outcomes = outcomes

    @classmethod
    def read(cls, folder: str | Path) -> Table:
        """Read a table.

        Args:
            folder: Holds `prompts.parquet` and `outcomes.parquet` (docs/outcome-tables.md).

        Raises:
            TableError: A file or a column is missing, an id is repeated or unknown, a score is outside [0, 1], a cost
                or a token count is negative, or the extra `evals` is not installed.
        """
        return cls(Path(folder), load_table(Path(folder)))

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self._outcomes.name

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the experts, in sorted order."""
        return self._outcomes.experts

    @property
    def splits(self) -> Mapping[str, int]:
        """Name of a split -> how many prompts it has."""
        return dict(Counter(self._outcomes.splits))

    @property
    def outcomes(self) -> OutcomeTable:
        """The arrays: scores, costs and tokens; not covered by what versions promise."""
        return self._outcomes

    def evaluate(
        self,
        *routers: Router | str | Path,
        split: str = "test",
        train_split: str = "train",
        models: Sequence[str] | None = None,
        datasets: Sequence[str] | None = None,
        prices: str | Path | None = None,
        min_coverage: float = 0.95,
        sparse: bool = False,
        generalists: Sequence[str] = (),
        protocol: Literal["split", "resplit", "lodo", "loco"] = "split",
        folds: int = 5,
        resamples: int = 1000,
        seed: int = 0,
        drop_leaks: bool = False,
    ) -> EvaluationReport:
        """Does routing pay? The same as `pointsman eval`.

        Args:
            routers: Routers, folders of artefacts, `default`, or names of baselines, which always run. Without one, a
                router is fitted on the train split.
            split: Prompts to evaluate.
            train_split: Prompts to choose and to fit on.
            models: Only these experts; None for all.
            datasets: Only prompts of these data sets; None for all.
            prices: CSV of US dollars per million tokens, or `none` for no costs; None for what the table has.
            min_coverage: Leave out experts scored on a smaller share of the prompts, in [0, 1].
            sparse: Evaluate all prompts with any score, not only those on which every expert is scored.
            generalists: Experts for uncertain prompts.
            protocol: What is learned from (docs/evaluation.md).
            folds: In how many folds to cross-fit where the table has no train split.
            resamples: Bootstrap resamples behind the intervals; 0 for none.
            seed: Of everything random.
            drop_leaks: Leave out train prompts that stand in the evaluated split too.

        Raises:
            EvalError: The table, the prices or the arguments do not allow it.
            RouterError: A router cannot be loaded or fitted.
        """
        options = EvalOptions(
            table=self._folder,
            routers=tuple(Contender(one.name, one.fitted) if isinstance(one, Router) else str(one) for one in routers),
            split=split,
            train_split=train_split,
            models=None if models is None else tuple(models),
            datasets=None if datasets is None else tuple(datasets),
            prices=None if prices is None else str(prices),
            min_coverage=min_coverage,
            sparse=sparse,
            generalists=tuple(generalists),
            protocol=Protocol(protocol),
            folds=folds,
            resamples=resamples,
            seed=seed,
            drop_leaks=drop_leaks,
            command="pointsman.Table.evaluate",
        )
        return build_report(options, _silent, self._outcomes)

    def train(
        self,
        *,
        name: str | None = None,
        train_split: str = "train",
        models: Sequence[str] | None = None,
        min_coverage: float = 0.05,
        embedder: str | None = None,
        head: Literal["linear", "knn", "mlp", "auto"] = "linear",
        propagate_labels: bool = False,
        seed: int = 0,
    ) -> Router:
        """Fit a router on the train split. The same as `pointsman train`, but that `Router.save` writes it.

        Args:
            name: Of the router; None for the table's.
            train_split: Prompts to fit on; no other prompt is looked at.
            models: Only these experts; None for all.
            min_coverage: Leave out experts scored on a smaller share of the prompts, in [0, 1].
            embedder: Text to vector; None for the static one. Others need the extra `train`.
            head: Classifier of the categories; `auto` takes the one of least held-out log-loss.
            propagate_labels: Label prompts without a category from their neighbours; needs the extra `train`.
            seed: Of splits and of fitting.

        Raises:
            EvalError: The split is empty, or no expert is scored on enough of it.
            RouterError: The table cannot train a router, or the embedder cannot be had.
        """
        options = TrainOptions(
            table=self._folder,
            name=name,
            train_split=train_split,
            models=None if models is None else tuple(models),
            min_coverage=min_coverage,
            embedder=embedder,
            head=head,
            propagate_labels=propagate_labels,
            seed=seed,
        )
        parts, _ = fit(options, _silent, self._outcomes)
        return Router(parts, parts.router())

    def __len__(self) -> int:
        return len(self._outcomes)

    def __repr__(self) -> str:
        return f"Table({self.name!r}, {len(self)} prompts, {len(self.experts)} experts)"


def _silent(_: str) -> Step:
    """Nobody is told of progress."""
    return lambda _: None
