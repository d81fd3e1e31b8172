"""The measured loss that a router for the nano experts is trained on (Tryage, arXiv 2308.11601).

    python -m pointsman.experts.nano.training.losses --out DIR

writes the experts' own outcome table; `score_texts` and `score_answers` score texts of your own.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pointsman.experts.nano import MODELS_DIR
from pointsman.experts.nano.training.outcomes import write_outcomes
from pointsman.experts.nano.training.scoring import quality, score_answers, score_texts

__all__ = ["quality", "score_answers", "score_texts"]


def main(arguments: list[str] | None = None) -> None:
    """Write the outcome table."""
    parser = argparse.ArgumentParser(prog="python -m pointsman.experts.nano.training.losses", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for prompts.parquet and outcomes.parquet")
    parser.add_argument("--models", type=Path, default=MODELS_DIR, help="folder with the checkpoints")
    parser.add_argument("--train-per-domain", type=int, default=1000, help="prompts of the split `train`")
    parser.add_argument("--test-per-domain", type=int, default=300, help="prompts of the split `test`")
    options = parser.parse_args(arguments)
    write_outcomes(options.out, options.models, options.train_per_domain, options.test_per_domain)


if __name__ == "__main__":
    main()
