"""`Router`: a fitted router in this process, without a gateway."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pointsman.experts.spec import Capability, ExpertSpec, PoolView
from pointsman.gateway.deciding.offline import OfflineRequest
from pointsman.gateway.errors import RequestRefused
from pointsman.routers.artifacts import DEFAULT_NAME, RouterParts, load_artifact, save_router
from pointsman.routers.budget import CAPS, Budget
from pointsman.routers.selection.flags import EITHER_END
from pointsman.routers.types import Decision

if TYPE_CHECKING:
    from pointsman.routers.two_stage import TwoStageRouter
    from pointsman.runnable import RouterRunnable

_NO_BUDGET: Final = Budget()


def load_experts(settings: str | Path | None = None) -> tuple[ExpertSpec, ...]:
    """The experts of a settings file, as `Router.decide` takes them.

    Args:
        settings: The YAML file that the gateway reads; None for the pool of nano experts that ships.

    Raises:
        SettingsError: The file is absent or something in it is wrong; the message lists everything that is.
    """
    from pointsman.gateway.settings import load_settings

    read = load_settings(None if settings is None else Path(settings), os.environ)
    return tuple(expert.spec() for expert in read.pool.experts)


class Router:
    """A fitted router. `Router.load` reads one, `Table.train` fits one.

    Args:
        parts: What it is made of.
        fitted: The router that these parts make.
    """

    def __init__(self, parts: RouterParts, fitted: TwoStageRouter) -> None:
        self._parts = parts
        self._fitted = fitted

    @classmethod
    def load(cls, artifact: str | Path = DEFAULT_NAME, *, uncertain_to_generalist: bool = True) -> Router:
        """Read a router from disk.

        Args:
            artifact: Folder of the artefact; `default` for the one that ships.
            uncertain_to_generalist: Whether a prompt of an unclear category goes to generalists first.

        Raises:
            ArtifactError: It is absent, damaged, or of another format.
            EmbedderError: Its embedder needs an extra or a model that is not installed.
        """
        loaded = load_artifact(artifact, uncertain_to_generalist=uncertain_to_generalist)
        return cls(loaded.parts, loaded.router)

    def save(self, folder: str | Path) -> str:
        """Write the router as an artefact. The folder is made; files of an earlier artefact in it are replaced.

        Returns:
            The hash of the artefact, the same as `artifact_hash`.

        Raises:
            OSError: The folder cannot be written.
        """
        return save_router(Path(folder), self._parts)

    @property
    def name(self) -> str:
        """As decisions and reports name it."""
        return self._parts.name

    @property
    def artifact_hash(self) -> str:
        """SHA-256 of everything that was fitted, in hexadecimal digits."""
        return self._fitted.artifact_hash

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories that stage 1 tells apart."""
        return self._fitted.categories

    @property
    def experts(self) -> tuple[str, ...]:
        """The experts whose quality was fitted. Others are judged by their `quality_prior`, card and size."""
        return tuple(self._parts.quality.experts)

    @property
    def training(self) -> Mapping[str, Any]:
        """What it was fitted on: table, hashes, counts, seed."""
        return self._parts.training

    @property
    def metrics(self) -> Mapping[str, Any]:
        """How it did on held-out prompts when it was fitted; None where a figure is not defined."""
        return self._parts.metrics

    @property
    def fitted(self) -> TwoStageRouter:
        """The router inside, with `assess` and `select`; not covered by what versions promise."""
        return self._fitted

    def decide(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        experts: Sequence[ExpertSpec] | PoolView,
        budget: Budget = _NO_BUDGET,
        *,
        max_tokens: int | None = None,
        required: Collection[Capability] = (),
        flags: bool = False,
    ) -> Decision:
        """Decide who should answer. Nobody is called.

        Args:
            prompt: A question, or a conversation as messages of OpenAI's chat API.
            experts: Who may answer: specs, which count as healthy and idle, or a view with the state of each.
            budget: Caps and weights.
            max_tokens: Longest answer in tokens. Without it, worst cases of latency, energy and cost rest on the
                longest answer that is to be expected.
            required: What the expert must be capable of, beside what the messages show (an image needs `vision`).
            flags: Whether goals at the beginning or end of the prompt count, such as `[Flag: smallest model]`.

        Returns:
            The decision. `expert` is None where no expert is admissible; `rejections` say why.

        Raises:
            ValueError: The messages, the budget or `max_tokens` are malformed, or two experts have the same name.
        """
        view = experts if isinstance(experts, PoolView) else PoolView.of(*experts)
        names = [spec.name for spec, _ in view.entries]
        if len(set(names)) < len(names):
            raise ValueError(f"two experts have the same name: {', '.join(sorted(names))}")
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        chat = {"messages": messages, **({} if max_tokens is None else {"max_tokens": max_tokens})}
        try:
            read = OfflineRequest.read(
                chat, _stated(budget), Budget(prices=budget.prices), flags=EITHER_END if flags else frozenset()
            )
        except RequestRefused as error:
            raise ValueError(str(error).replace("routing.", "budget.", 1)) from None
        read.request.required |= frozenset(required)
        return self._fitted.select(read.assess(self._fitted), read.request, view)

    def as_runnable(
        self,
        experts: Sequence[ExpertSpec] | PoolView,
        budget: Budget = _NO_BUDGET,
        *,
        max_tokens: int | None = None,
    ) -> RouterRunnable:
        """The router as a LangChain `Runnable`: a text or messages in, a `Decision` out.

        Args:
            experts: As of `decide`.
            budget: Of calls that state none.
            max_tokens: Of calls that state none.

        Raises:
            ImportError: The extra `langchain` is not installed.
        """
        try:
            from pointsman.runnable import RouterRunnable
        except ModuleNotFoundError as error:
            raise ImportError("as_runnable needs LangChain: pip install 'pointsman[langchain]'") from error
        return RouterRunnable(router=self, experts=experts, budget=budget, max_tokens=max_tokens)

    def __repr__(self) -> str:
        return f"Router({self.name!r}, artifact_hash={self.artifact_hash[:12]!r})"


def _stated(budget: Budget) -> dict[str, Any]:
    """A budget as a request states it, so that it is held to the same rules."""
    caps = {cap.name: getattr(budget, cap.name) for cap in CAPS}
    return {**caps, "weights": asdict(budget.weights), "local_only": budget.local_only}
