"""Retrain all five models from scratch: tokenizer, base, generalist, specialists, held-out table."""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from pointsman.experts.nano import MODEL_NAMES
from pointsman.experts.nano.tokenizer import train_tokenizer, write_tokenizer
from pointsman.experts.nano.training.corpora import DOMAINS, CorpusDocument, Split, fingerprint, load_documents
from pointsman.experts.nano.training.evaluate import bits_per_byte, sample_texts
from pointsman.experts.nano.training.recipe import BASE, Job, RetrainingRecipe
from pointsman.experts.nano.training.streams import build_streams

#: How often a run writes a line where no terminal can show a bar.
_LINE_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """What a worker process needs to train one model."""

    recipe: RetrainingRecipe
    work: Path
    models: Path
    threads: int


def retrain(models: Path, work: Path, recipe: RetrainingRecipe | None = None) -> dict[str, Any]:
    """Run the whole recipe and write the checkpoints and `heldout_bpb.json` into `models`.

    Args:
        models: Where the checkpoints go, a folder each.
        work: Scratch folder for the tokenizer, the token streams and float32 weights.
        recipe: The numbers; the committed recipe when None.

    Returns:
        What `heldout_bpb.json` holds.
    """
    recipe = recipe or RetrainingRecipe()
    work.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    started = time.monotonic()
    console.print("Reading the corpora and fitting the tokenizer")
    documents = load_documents()
    tokenizer = _fit_tokenizer(documents, work / "tokenizer.json", recipe.seed)
    save_file(build_streams(documents, tokenizer, recipe.seed), work / "streams.safetensors")
    cores = len(os.sched_getaffinity(0))
    workers = 1 if _has_cuda() else max(1, min(cores, 2))
    plan = TrainingTask(recipe, work, models, threads=max(1, cores // workers))
    minutes = _train_all(plan, workers, console)
    console.print("Scoring every model on every domain")
    table = score_table(models, documents, recipe)
    table |= {
        "training_minutes": {name: round(value, 1) for name, value in minutes.items()},
        "total_minutes": round((time.monotonic() - started) / 60, 1),
        "corpus_sha256": fingerprint(documents),
        "python": sys.version.split()[0],
        "seed": recipe.seed,
    }
    (models / "heldout_bpb.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    print_table(table, Console())
    return table


def _has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def _fit_tokenizer(documents: list[CorpusDocument], path: Path, seed: int) -> Tokenizer:
    texts = sample_texts(documents, Split.TRAIN, 1_500_000, seed)
    tokenizer = train_tokenizer(text for domain in DOMAINS for text in texts[domain])
    tokenizer.save(str(path))
    return tokenizer


def _train_all(plan: TrainingTask, workers: int, console: Console) -> dict[str, float]:
    """Run the jobs, each as soon as the one it starts from is done; model name -> minutes."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(workers, mp_context=context) as pool:
        reports = manager.Queue()
        waiting, running, minutes = list(plan.recipe.jobs), dict[Future[float], Job](), dict[str, float]()
        columns = (
            TextColumn("{task.description:14}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        with Progress(*columns, console=console) as progress:
            tasks = {job.name: progress.add_task(job.name, total=job.steps, start=False, figures="") for job in waiting}
            lines: dict[str, float] = {}
            while waiting or running:
                for job in [job for job in waiting if job.after is None or job.after in minutes]:
                    if len(running) < workers:
                        waiting.remove(job)
                        running[pool.submit(_worker, job, plan, reports)] = job
                        progress.start_task(tasks[job.name])
                done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                _show(reports, progress, tasks, lines, {job.name: job.steps for job in plan.recipe.jobs})
                for future in done:
                    job = running.pop(future)
                    minutes[job.name] = future.result()
                    progress.update(tasks[job.name], completed=job.steps)
                    progress.stop_task(tasks[job.name])
    return minutes


def _show(reports: Any, progress: Progress, tasks: Any, lines: dict[str, float], steps: dict[str, int]) -> None:
    while True:
        try:
            name, share, loss, validation = reports.get_nowait()
        except queue.Empty:
            return
        figures = f"loss {loss:.3f} nats/token, validation {validation:.3f} bits/byte"
        progress.update(tasks[name], completed=round(share * steps[name]), figures=figures)
        now = time.monotonic()
        if not progress.console.is_terminal and (share >= 1.0 or now - lines.get(name, 0.0) > _LINE_EVERY_S):
            lines[name] = now
            progress.console.print(f"{name} {share:.1%} {figures}", highlight=False)


def _worker(job: Job, plan: TrainingTask, reports: Any) -> float:
    import torch

    from pointsman.experts.nano.training.checkpoint import write_checkpoint
    from pointsman.experts.nano.training.run import run_job

    started = time.monotonic()
    torch.set_num_threads(plan.threads)
    tokenizer = Tokenizer.from_file(str(plan.work / "tokenizer.json"))
    documents = [document for document in load_documents() if document.domain in job.domains]
    streams = load_file(plan.work / "streams.safetensors")
    validation = sample_texts(documents, Split.VALIDATION, 40_000, plan.recipe.seed)

    def report(share: float, loss: float, bits: float) -> None:
        reports.put((job.name, share, loss, bits))

    model = run_job(
        job,
        streams,
        validation,
        tokenizer,
        work=plan.work,
        seed=plan.recipe.seed,
        balance_loss=plan.recipe.balance_loss,
        report=report,
    )
    if job.name != BASE:
        folder = plan.models / job.name
        write_checkpoint(model, folder)
        write_tokenizer(tokenizer, folder, job.shape.context_tokens)
    return (time.monotonic() - started) / 60


def score_table(models: Path, documents: list[CorpusDocument], recipe: RetrainingRecipe) -> dict[str, Any]:
    """Held-out bits per byte of every written checkpoint on every domain."""
    from pointsman.experts.nano.training.checkpoint import read_checkpoint

    shapes = {job.name: job.shape for job in recipe.jobs}
    texts = sample_texts(documents, Split.HELDOUT, recipe.heldout_bytes_per_domain, recipe.seed)
    table: dict[str, dict[str, float]] = {}
    for name in MODEL_NAMES:
        tokenizer = Tokenizer.from_file(str(models / name / "tokenizer.json"))
        model = read_checkpoint(models / name, shapes[name])
        table[name] = {domain: round(bits_per_byte(model, texts[domain], tokenizer), 4) for domain in DOMAINS}
    return {
        "bits_per_byte": table,
        "heldout_bytes": {domain: sum(len(t.encode()) for t in texts[domain]) for domain in DOMAINS},
        "heldout_documents": {domain: len(texts[domain]) for domain in DOMAINS},
    }


def print_table(table: dict[str, Any], console: Console) -> None:
    """Show the held-out table, the best model of each domain in bold."""
    rows = table["bits_per_byte"]
    view = Table(title="Held-out bits per byte (lower is better)")
    view.add_column("model")
    for domain in DOMAINS:
        view.add_column(domain, justify="right")
    best = {domain: min(rows[name][domain] for name in rows) for domain in DOMAINS}
    for name, scores in rows.items():
        cells = [f"[bold]{s:.3f}[/bold]" if s == best[d] else f"{s:.3f}" for d, s in scores.items()]
        view.add_row(name, *cells)
    console.print(view)
