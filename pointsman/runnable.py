"""`RouterRunnable`: the decision as a step of a LangChain chain (extra `langchain`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import convert_to_messages, convert_to_openai_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import BaseModel, RootModel, create_model

from pointsman.experts.spec import ExpertSpec, PoolView
from pointsman.routers.budget import Budget
from pointsman.routers.types import Decision

if TYPE_CHECKING:
    from pointsman.router import Router


class RouterRunnable(Runnable[LanguageModelInput, Decision]):
    """Decides; what is done with the decision is the chain's next step.

    The input is what a chat model takes: a text, messages, or a prompt value. A call may state another `budget` or
    `max_tokens`: `runnable.invoke(prompt, budget=Budget(max_cost_usd=0.001))`, or `runnable.bind(budget=...)`.

    Args:
        router: Decides.
        experts: Who may answer.
        budget: Of calls that state none.
        max_tokens: Of calls that state none.
    """

    def __init__(
        self,
        *,
        router: Router,
        experts: Sequence[ExpertSpec] | PoolView,
        budget: Budget,
        max_tokens: int | None = None,
    ) -> None:
        self._router = router
        self._experts = experts if isinstance(experts, PoolView) else PoolView.of(*experts)
        self._budget = budget
        self._max_tokens = max_tokens
        self.name = "pointsman"

    @property
    def InputType(self) -> Any:  # noqa: N802 (LangChain's name)
        """What a chat model takes."""
        return LanguageModelInput

    @property
    def OutputType(self) -> type[Decision]:  # noqa: N802 (LangChain's name)
        """A decision."""
        return Decision

    def get_output_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """Of LangChain's drawings of a chain: a decision is no pydantic model, and has no schema of its own."""
        return create_model("Decision", __base__=RootModel[Any])

    def invoke(
        self,
        input: LanguageModelInput,  # noqa: A002 (LangChain's name)
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Decision:
        """Decide.

        Args:
            input: A text, messages, or a prompt value.
            config: LangChain's.
            kwargs: `budget` or `max_tokens` of this call.

        Raises:
            ValueError: As `Router.decide`.
            TypeError: An argument has another name.
        """
        stated = {"budget": self._budget, "max_tokens": self._max_tokens, **kwargs}

        def decide(given: LanguageModelInput) -> Decision:
            return self._router.decide(_prompt(given), self._experts, **stated)

        return self._call_with_config(decide, input, config)


def _prompt(given: LanguageModelInput) -> str | list[dict[str, Any]]:
    """The input as `Router.decide` takes it."""
    if isinstance(given, str):
        return given
    messages = given.to_messages() if isinstance(given, PromptValue) else convert_to_messages(given)
    return convert_to_openai_messages(messages)
