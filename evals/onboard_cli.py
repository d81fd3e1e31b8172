"""`pointsman onboard`: put a new expert beside those that a router artefact knows."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pointsman.routers.errors import RouterError


@click.command(name="onboard")
@click.option("--artifact", required=True, help="The artefact's folder, or `default`.")
@click.option("--expert", required=True, help="Name of the newcomer, as decisions will know it.")
@click.option("--outcomes", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its scored prompts.")
@click.option("--card", help="A sentence on what it is good at.")
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the new artefact."
)
def onboard(artifact: str, expert: str, outcomes: Path | None, card: str | None, out: Path) -> None:
    """Place EXPERT by a few scored prompts, its card, or both. Nothing is fitted again.

    OUTCOMES is JSON lines: {"prompt": "...", "score": 0.0 to 1.0, "completion_tokens": 123}; the last may be left out.
    The predictions for all other experts stay what they are.
    """
    import numpy as np

    from pointsman.routers.artifacts import load_parts, save_router
    from pointsman.routers.training.onboarding import place_expert

    texts, scores, tokens = _read(outcomes) if outcomes is not None else ([], [], [])
    try:
        placed = place_expert(
            load_parts(artifact),
            expert,
            texts,
            np.array(scores, dtype=np.float64),
            card=card,
            completion_tokens=np.array(tokens, dtype=np.float64) if np.isfinite(tokens).any() else None,
        )
    except RouterError as error:
        raise click.ClickException(str(error)) from error
    artifact_hash = save_router(out, placed)
    click.echo(f"{expert} placed by {len(texts)} scored prompts beside {len(placed.quality.experts) - 1} experts")
    click.echo(f"{out}  {artifact_hash}")


def _read(path: Path) -> tuple[list[str], list[float], list[float]]:
    texts, scores, tokens = [], [], []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            text, score, length = row["prompt"], float(row["score"]), float(row.get("completion_tokens", "nan"))
        except (ValueError, TypeError, KeyError) as error:
            raise click.ClickException(f"{path}, line {number}: needs 'prompt' and 'score' ({error})") from error
        texts.append(str(text))
        scores.append(score)
        tokens.append(length)
    return texts, scores, tokens
