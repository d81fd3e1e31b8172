"""`pointsman onboard`: put a new expert beside those that a router artefact knows."""

from __future__ import annotations

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
@click.option("--overwrite", is_flag=True, help="Replace an artefact that stands in --out already.")
def onboard(artifact: str, expert: str, outcomes: Path | None, card: str | None, out: Path, *, overwrite: bool) -> None:
    """Place EXPERT by a few scored prompts, its card, or both. Nothing is fitted again.

    OUTCOMES is JSON Lines, JSON, CSV or Parquet: {"prompt": "...", "score": 0.0 to 1.0, "completion_tokens": 123}; the
    last may be left out.
    The predictions for all other experts stay what they are.
    """
    import numpy as np

    from pointsman.evals.cli import refuse_to_overwrite
    from pointsman.routers.artifacts import load_parts, save_router
    from pointsman.routers.training.onboarding import place_expert

    refuse_to_overwrite(out, overwrite)
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
        artifact_hash = save_router(out, placed)
    except (RouterError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{expert} placed by {len(texts)} scored prompts beside {len(placed.quality.experts) - 1} experts")
    click.echo(f"{out}  {artifact_hash}")


def _read(path: Path) -> tuple[list[str], list[float], list[float]]:
    from pointsman.evals.errors import EvalError
    from pointsman.evals.importers.prompts import prompt_text
    from pointsman.evals.importers.reading import read_rows
    from pointsman.evals.importers.records import grade, is_nothing, number

    texts, scores, tokens = [], [], []
    try:
        for at, row in enumerate(read_rows(path), 1):
            text, score, length = prompt_text(row.get("prompt")), row.get("score"), row.get("completion_tokens")
            if not (text or "").strip():
                raise click.ClickException(f"{path}, row {at}: `prompt` is missing or empty")
            found = grade(score)
            if is_nothing(score) or found is None or not 0 <= found <= 1:
                raise click.ClickException(
                    f"{path}, row {at}: `score` must be a number in [0, 1], and is {score!r:.60}"
                )
            counted = number(length)
            if not is_nothing(length) and not (counted is not None and 0 <= counted < 2**53):
                raise click.ClickException(f"{path}, row {at}: `completion_tokens` is no count: {length!r:.60}")
            texts.append(text or "")
            scores.append(found)
            tokens.append(float("nan") if counted is None else counted)
    except EvalError as error:
        raise click.ClickException(str(error)) from None
    return texts, scores, tokens
