"""RouteLLM's own evaluator (lm-sys, `routellm` 0.2.0, Apache-2.0), on beliefs that are handed to it.

Its controller asks for the win rates, its `MMLU` benchmark makes the thresholds and routes, its `generate_results`
works out APGR and CPT. The package has no router that can be fitted, and brings no table: it is given the outcomes as a
file in its own form, and beliefs as a router of its own kind. It needs pandas before 3 and numpy before 2.4.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Of its quantile bins, as on its command line.
_BINS = 10


@dataclass(frozen=True, slots=True)
class RouteLLMScores:
    """What the evaluator says of one router; the shares of strong calls are rounded to a hundredth of a per cent."""

    apgr: float
    cpt50: float
    cpt80: float


def judge(beliefs: Mapping[str, Floats], weak: Floats, strong: Floats) -> dict[str, RouteLLMScores]:
    """Let the package evaluate routers between two experts.

    Args:
        beliefs: Router -> its belief that the strong expert is worth it, each of shape (n,).
        weak: Whether the weak expert is right on each prompt, 0 or 1, shape (n,).
        strong: The same of the strong one.

    Returns:
        The routers but for those whose beliefs have ties at the edges of ten equal bins: the evaluator refuses them.

    Raises:
        ImportError: The package is not installed, or not beside a pandas and a numpy that it can work with.
    """
    with _settings():
        from routellm.controller import Controller
        from routellm.evals import benchmarks, evaluate
        from routellm.routers.routers import Router

        class GivenScoresRouter(Router):  # type: ignore[misc] # the package is not typed where it is absent
            NO_PARALLEL = True

            def __init__(self, belief: Floats) -> None:
                self.belief = belief.tolist()

            def calculate_strong_win_rate(self, prompt: int) -> float:
                return float(self.belief[prompt])

        controller = Controller(routers=[], strong_model="strong", weak_model="weak")
        controller.routers |= {name: GivenScoresRouter(belief) for name, belief in beliefs.items() if _divides(belief)}
        if not controller.routers:
            return {}
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            _write(Path(folder), weak, strong)
            with _set(benchmarks, "CURRENT_DIR", folder):
                benchmark = benchmarks.MMLU(["all"], controller.model_pair, [])
                settings = [one for name in controller.routers for one in _settings_of(benchmark, controller, name)]
            return _metrics(evaluate, settings, benchmark, controller.model_pair, folder)


def random_beliefs(count: int, seed: int = 0) -> Floats:
    """What the package's random router believes, shape (count,).

    Raises:
        ImportError: As `judge`.
    """
    with _settings():
        from routellm.routers.routers import RandomRouter
    before = random.getstate()
    random.seed(seed)
    try:
        router = RandomRouter()
        return np.array([router.calculate_strong_win_rate("") for _ in range(count)])
    finally:
        random.setstate(before)


@contextlib.contextmanager
def _settings() -> Iterator[None]:
    """The package makes an OpenAI client, reads a price list and opens windows unless told otherwise."""
    if not hasattr(np, "trapz"):
        message = f"numpy {np.__version__} has no trapz any more"
        raise ImportError(message)
    wanted = {"OPENAI_API_KEY": "unused", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "MPLBACKEND": "agg"}
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _divides(belief: Floats) -> bool:
    return np.unique(np.quantile(belief, np.linspace(0, 1, _BINS + 1))).size == _BINS + 1


def _write(folder: Path, weak: Floats, strong: Floats) -> None:
    """The outcomes where the benchmark looks for them; a prompt is its row."""
    tables = folder / "mmlu" / "responses"
    tables.mkdir(parents=True)
    rows = [f"{i},{bool(good)},{bool(bad)}" for i, (good, bad) in enumerate(zip(strong, weak, strict=True))]
    (tables / "mmlu_all.csv").write_text("\n".join(["prompt,strong,weak", *rows]), "utf-8")
    (folder / "mmlu" / "contaminated_prompts.jsonl").write_text(json.dumps({"eval_prompt": "none"}), "utf-8")


def _settings_of(benchmark: Any, controller: Any, name: str) -> list[dict[str, Any]]:
    """A router's thresholds and what came of each, as the package's command gathers them."""
    return [
        {
            "method": name,
            "threshold": threshold,
            "strong_percentage": calls["strong"] / total * 100,
            "accuracy": accuracy,
        }
        for threshold, accuracy, calls, total in benchmark.evaluate(controller, name, _BINS, True)
    ]


def _metrics(
    evaluate: Any, settings: list[dict[str, Any]], benchmark: Any, pair: Any, folder: str
) -> dict[str, RouteLLMScores]:
    import matplotlib.pyplot as plt
    import pandas as pd

    printed: list[Any] = []
    # It prints its table of metrics and returns nothing.
    with _set(evaluate, "print", lambda *given: printed.extend(given)):
        evaluate.generate_results(pd.DataFrame(settings), benchmark, "all", pair, folder)
    plt.close()
    (table,) = (one for one in printed if isinstance(one, pd.DataFrame))
    return {
        row["method"]: RouteLLMScores(float(row["APGR"]), _share(row["50% qual"]), _share(row["80% qual"]))
        for _, row in table.iterrows()
    }


def _share(percent: str) -> float:
    return float(percent.removesuffix("%")) / 100


@contextlib.contextmanager
def _set(module: Any, name: str, value: Any) -> Iterator[None]:
    """A module's global for a while."""
    missing = object()
    before = vars(module).get(name, missing)
    setattr(module, name, value)
    try:
        yield
    finally:
        if before is missing:
            delattr(module, name)
        else:
            setattr(module, name, before)
