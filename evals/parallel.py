"""Where work runs: in this process, in several, or on a Ray cluster. The same call for all three."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pointsman.evals.errors import EvalError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Workers:
    """Where to run.

    Attributes:
        processes: Processes on this machine; 1 runs in this one.
        ray: Address of a Ray cluster (`auto` for the one that this machine is part of, `local` for one of its own);
            None without Ray. Its machines need the project installed and the paths that are named.
    """

    processes: int = 1
    ray: str | None = None


def each(function: Callable[[T], R], tasks: Sequence[T], workers: Workers = Workers()) -> Iterator[tuple[int, R]]:
    """Run a function on every task; yield the number of the task and its result as they are done.

    Args:
        function: Of a module's top level, so that another process can import it.
        tasks: Its arguments; they are sent to other processes.
        workers: Where to run.

    Raises:
        EvalError: Ray is asked for and not installed, or its cluster cannot be reached.
    """
    if workers.ray is not None:
        yield from _on_ray(function, tasks, workers.ray)
    elif workers.processes > 1:
        yield from _in_processes(function, tasks, workers.processes)
    else:
        for at, task in enumerate(tasks):
            yield at, function(task)


def _in_processes(function: Callable[[T], R], tasks: Sequence[T], processes: int) -> Iterator[tuple[int, R]]:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    # A fork would inherit threads and locks of the libraries that are loaded by now.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        pending = {pool.submit(function, task): at for at, task in enumerate(tasks)}
        for future in as_completed(pending):
            yield pending[future], future.result()


def _on_ray(function: Callable[[T], R], tasks: Sequence[T], address: str) -> Iterator[tuple[int, R]]:
    try:
        import ray
    except ImportError as error:
        raise EvalError("--ray needs Ray: pip install 'pointsman[ray]'") from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise EvalError(f"no Ray cluster at {address}: {error}") from error
    try:
        remote: Any = ray.remote(max_retries=2)(function)
        pending = {remote.remote(task): at for at, task in enumerate(tasks)}
        while pending:
            (done,), _ = ray.wait(list(pending), num_returns=1)
            yield pending.pop(done), ray.get(done)
    finally:
        ray.shutdown()
