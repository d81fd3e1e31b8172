"""One study: a question, the run that answers it, and the page it leaves in `docs/results/`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class StudyContext:
    """What a study works with.

    Attributes:
        data: Folder of the outcome tables and measurements.
        figures: Folder for the study's plots; a page links them as `figures/NAME.svg`.
        quick: Fewer seeds and resamples, to see that the study runs; its page says so.
        progress: Told the share that is done, in [0, 1].
    """

    data: Path
    figures: Path
    quick: bool = False
    progress: Progress = lambda _: None


@dataclass(frozen=True, slots=True)
class Study:
    """A reproducible page of results.

    Attributes:
        name: File name of the page, without its ending.
        title: Heading of the page.
        needs: Folders below `StudyContext.data` without which it cannot run; none for a study that ships its own data.
        run: Does the work; gives the page's body in Markdown, and writes its figures.
        packages: Modules of an extra without which it cannot run.
    """

    name: str
    title: str
    needs: Sequence[str]
    run: Callable[[StudyContext], str]
    packages: Sequence[str] = ()
