"""`ChatPointsman`: the gateway as a LangChain chat model (extra `langchain`).

from gateway.clients.langchain import ChatPointsman

model = ChatPointsman(base_url="http://localhost:8080/v1", max_cost_usd=0.001)
answer = model.invoke("Why is the sky blue?", max_energy_j=20)
model.feedback(answer.response_metadata["decision_id"], 1.0)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils import from_env, secret_from_env
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_pydantic_v1_subclass
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr

from gateway.clients.http import GatewayHttp
from gateway.clients.langchain_messages import from_event, from_reply, to_wire

_CHAT: Final = "chat/completions"

#: What goes into the body's `routing` object, as a constructor's field or an argument of a call.
_ROUTING: Final = (
    "max_ttft_ms",
    "max_latency_ms",
    "max_energy_j",
    "max_cost_usd",
    "min_quality",
    "weights",
    "local_only",
    "experts",
    "session",
    "evidence",
    "priority",
    "deadline_ms",
)
#: Field of ours -> OpenAI's, which a call may state under either name.
_SAMPLING: Final = ("temperature", "top_p", "seed", "max_tokens")


class ChatPointsman(BaseChatModel):
    """Chat with whichever expert suits the prompt within the budgets.

    Every field below `base_url` may also be stated for one call: `model.invoke(prompt, max_cost_usd=0.001)`.
    The answer's `response_metadata` holds `decision_id`, `expert`, `category`, `reason`, `cache` and `overhead_ms`.
    Errors are `gateway.clients.http.GatewayError`.
    """

    model_config = ConfigDict(populate_by_name=True)

    base_url: str = Field(default_factory=from_env("POINTSMAN_BASE_URL", default="http://localhost:8080/v1"))
    """Where the gateway is, up to and with `/v1`; `POINTSMAN_BASE_URL` unless stated."""
    api_key: SecretStr | None = Field(default_factory=secret_from_env("POINTSMAN_API_KEY", default=None))
    """`POINTSMAN_API_KEY` unless stated."""
    timeout_s: float = Field(default=600.0, alias="timeout")
    """How long an answer, or the next piece of one, may take."""
    max_retries: int = 2
    """How often a connection that could not be made is tried again; what was sent is never sent twice."""

    model_name: str = Field(default="auto", alias="model")
    """`auto`, or the expert that is to answer."""
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: list[str] | None = Field(default=None, alias="stop_sequences")
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Any other field of the request body."""

    max_ttft_ms: float | None = None
    """Cap on the time to the first token."""
    max_latency_ms: float | None = None
    """Cap on the time to the last token."""
    max_energy_j: float | None = None
    """Cap on the energy of the answer."""
    max_cost_usd: float | None = None
    """Cap on the price of the answer."""
    min_quality: float | None = None
    """Least predicted quality, 0 to 1."""
    weights: dict[str, float] | None = None
    """Prices of latency, energy and cost in the choice; see docs/budgets.md."""
    local_only: bool | None = None
    """Only experts on the operator's own machines."""
    experts: list[str] | None = None
    """Only these."""
    session: str | None = None
    """Name of the conversation: its turns stay with an expert unless another is worth the change."""
    evidence: bool | dict[str, Any] | None = None
    """Whether several experts may be asked and their answers compared."""
    priority: Literal["low", "normal", "high"] | None = None
    """Who goes first where experts are full; the operator says how high one may go."""
    deadline_ms: float | None = None
    """Give up when no answer has begun by then."""

    _http: GatewayHttp = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Make ready to connect; nothing is sent yet."""
        super().model_post_init(context)
        key = None if self.api_key is None else self.api_key.get_secret_value()
        self._http = GatewayHttp(self.base_url, key, self.timeout_s, self.max_retries)

    @property
    def _llm_type(self) -> str:
        return "pointsman"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "base_url": self.base_url, **self._stated(_SAMPLING + _ROUTING, {})}

    def feedback(self, decision_id: str, score: float, comment: str | None = None) -> None:
        """Judge the answer to a decision, so that the next ones are better.

        Args:
            decision_id: `response_metadata["decision_id"]` of the answer.
            score: From 0 (useless) to 1 (as good as can be).
            comment: Anything people should know.

        Raises:
            GatewayError: The decision is unknown, judged otherwise already, or the score is out of range.
        """
        self._http.post("feedback", _judgement(decision_id, score, comment))

    async def afeedback(self, decision_id: str, score: float, comment: str | None = None) -> None:
        """As `feedback`."""
        await self._http.apost("feedback", _judgement(decision_id, score, comment))

    def close(self) -> None:
        """Close the connections made without asyncio."""
        self._http.close()

    async def aclose(self) -> None:
        """Close the connections made in this event loop."""
        await self._http.aclose()

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """This model with tools it may call.

        Args:
            tools: Functions, classes, LangChain tools or OpenAI's JSON.
            tool_choice: `auto`, `none`, `any` (or `required`, or True), or the name of the tool that is to be called.
            strict: Whether arguments must follow the schema to the letter, where the expert can promise it.
            kwargs: Of every call.
        """
        wire = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
        if tool_choice:
            kwargs["tool_choice"] = _tool_choice("any" if tool_choice is True else tool_choice)
        return self.bind(tools=wire, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        method: Literal["json_schema", "function_calling", "json_mode"] = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """This model with answers of a given shape.

        Args:
            schema: A pydantic class (answers are instances of it), a TypedDict or JSON schema (answers are dicts).
            method: The expert is held to the schema, is made to call a function with it, or is asked for any JSON.
            include_raw: Answer with a dict of `raw`, `parsed` and `parsing_error` instead of raising.
            strict: As of `bind_tools`.
            kwargs: Of every call.
        """
        # Nobody writes a JSON schema for a class of pydantic 1.
        if method == "function_calling" or (isinstance(schema, type) and is_pydantic_v1_subclass(schema)):
            return super().with_structured_output(schema, include_raw=include_raw, **kwargs)
        json_schema = convert_to_json_schema(schema)
        shape: dict[str, Any] = {"type": "json_object"}
        if method == "json_schema":
            stated = {} if strict is None else {"strict": strict}
            name = str(json_schema.get("title", "answer"))
            shape = {"type": "json_schema", "json_schema": {"name": name, "schema": json_schema, **stated}}
        model = self.bind(
            response_format=shape,
            ls_structured_output_format={"kwargs": {"method": method}, "schema": json_schema},
            **kwargs,
        )
        parser: BaseOutputParser[Any]
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            parser = PydanticOutputParser(pydantic_object=schema)
        else:
            parser = JsonOutputParser()
        if not include_raw:
            return model | parser
        read: Runnable[Any, Any] = RunnableLambda(lambda both: both["raw"]) | parser
        parsed = RunnablePassthrough.assign(parsed=read, parsing_error=lambda _: None)
        unread = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=model) | parsed.with_fallbacks([unread], exception_key="parsing_error")

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return _result(*self._http.post(_CHAT, self._body(messages, stop, kwargs)))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return _result(*await self._http.apost(_CHAT, self._body(messages, stop, kwargs)))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        first = True
        with self._http.stream(_CHAT, self._body(messages, stop, kwargs, stream=True)) as (headers, events):
            for event in events:
                chunk = _chunk(event, headers if first else None)
                first = False
                if run_manager is not None:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        first = True
        async with self._http.astream(_CHAT, self._body(messages, stop, kwargs, stream=True)) as (headers, events):
            async for event in events:
                chunk = _chunk(event, headers if first else None)
                first = False
                if run_manager is not None:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    def _body(
        self, messages: list[BaseMessage], stop: list[str] | None, call: Mapping[str, Any], *, stream: bool = False
    ) -> dict[str, Any]:
        """The request's JSON: what the call states, else what the constructor did; what nobody states stays out."""
        others = {key: value for key, value in call.items() if key not in {*_SAMPLING, *_ROUTING, "model", "routing"}}
        routing = self._stated(_ROUTING, call) | (call.get("routing") or {})
        stop = stop if stop is not None else self.stop
        return {
            **self.model_kwargs,
            **self._stated(_SAMPLING, call),
            **others,
            "model": call.get("model", self.model_name),
            "messages": to_wire(messages),
            **({"stop": stop} if stop else {}),
            **({"routing": routing} if routing else {}),
            **({"stream": True, "stream_options": {"include_usage": True}} if stream else {}),
        }

    def _stated(self, names: Sequence[str], call: Mapping[str, Any]) -> dict[str, Any]:
        values = {name: call.get(name, getattr(self, name)) for name in names}
        return {name: value for name, value in values.items() if value is not None}


def _judgement(decision_id: str, score: float, comment: str | None) -> dict[str, Any]:
    return {"decision_id": decision_id, "quality": score, **({} if comment is None else {"comment": comment})}


def _tool_choice(wanted: str | dict[str, Any]) -> str | dict[str, Any]:
    if wanted in ("any", "required"):
        return "required"
    if isinstance(wanted, dict) or wanted in ("auto", "none"):
        return wanted
    return {"type": "function", "function": {"name": wanted}}


def _result(reply: dict[str, Any], headers: Mapping[str, str]) -> ChatResult:
    message = from_reply(reply, headers)
    return ChatResult(generations=[ChatGeneration(message=message)], llm_output={"model_name": reply.get("model")})


def _chunk(event: dict[str, Any], headers: Mapping[str, str] | None) -> ChatGenerationChunk:
    message = from_event(event, headers)
    reason = message.response_metadata.get("finish_reason")
    return ChatGenerationChunk(message=message, generation_info={"finish_reason": reason} if reason else None)
