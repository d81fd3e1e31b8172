"""`python -m pointsman.experts.nano.training`: retrain the five nano experts from scratch."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from pointsman.experts.nano import MODELS_DIR


def main() -> None:
    """Parse the command line and retrain."""
    parser = argparse.ArgumentParser(prog="python -m pointsman.experts.nano.training", description=__doc__)
    parser.add_argument("--models", type=Path, default=MODELS_DIR, help="where the checkpoints go (default: in place)")
    parser.add_argument("--work", type=Path, help="scratch folder to keep (default: a temporary one)")
    arguments = parser.parse_args()
    from pointsman.experts.nano.training.retrain import retrain

    with tempfile.TemporaryDirectory(prefix="nano-") as scratch:
        retrain(arguments.models, arguments.work or Path(scratch))


if __name__ == "__main__":
    main()
