"""`ChatPointsman`: the gateway as a LangChain chat model (extra `langchain`).

from pointsman import ChatPointsman

model = ChatPointsman(base_url="http://localhost:8080/v1", max_cost_usd=0.001)
answer = model.invoke("Why is the sky blue?", max_energy_j=20)
model.feedback(answer.response_metadata["decision_id"], 1.0)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast
from urllib.parse import unquote

from langchain_core.language_models import LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils import from_env, secret_from_env
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import is_pydantic_v1_subclass
from langchain_openai.chat_models.base import BaseChatOpenAI
from pydantic import AliasChoices, BaseModel, Field, PrivateAttr, SecretStr, create_model, model_validator

from pointsman.gateway.clients.http import GatewayHttpClient
from pointsman.gateway.clients.shapes import parsed, response_format
from pointsman.routers.budget import CAPS, Cap

_CHAT: Final = "chat/completions"
#: What the parent hands on to a client that is not there.
_OF_OPENAIS_CLIENT: Final = frozenset(
    ("default_headers", "default_query", "http_client", "http_async_client", "http_socket_options", "openai_proxy")
)
#: Arguments of a call that are none of the request's body.
_BESIDE_THE_BODY: Final = ("extra_headers", "extra_query", "timeout")
_PROVIDER: Final = {"model_provider": "pointsman"}

#: Response header -> key of `response_metadata`, and how its value is read.
_DECISION: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "x-pointsman-decision": ("decision_id", str),
    # Names are percent-encoded where a header could not hold them.
    "x-pointsman-expert": ("expert", unquote),
    "x-pointsman-category": ("category", str),
    "x-pointsman-reason": ("reason", str),
    "x-pointsman-cache": ("cache", str),
    "x-pointsman-asked": ("asked", str),
    "x-pointsman-overhead-ms": ("overhead_ms", float),
    "x-pointsman-total-cost-usd": ("total_cost_usd", float),
    "x-pointsman-belief": ("belief", float),
}


def cap_fields(caps: Iterable[Cap]) -> type[BaseModel]:
    """One field per cap."""
    fields: dict[str, Any] = {cap.name: (float | None, Field(None, description=cap.help)) for cap in caps}
    return create_model("_Caps", **fields)


if TYPE_CHECKING:
    # A type checker takes no base class that is made at run time.
    class _Caps(BaseModel):
        """The fields of `cap_fields(CAPS)`."""
else:
    _Caps = cap_fields(CAPS)


class _Routing(_Caps):
    """What goes into the body's `routing` object: fields of the constructor, and arguments of any call."""

    weights: dict[str, float] | None = None
    """Prices of what is not capped; see docs/budgets.md."""
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


class ChatPointsman(BaseChatOpenAI, _Routing):
    """Chat with whichever expert suits the prompt within the budgets.

    Budgets and other fields may also be stated for one call: `model.invoke(prompt, max_cost_usd=0.001)`.
    The answer's `response_metadata` holds `decision_id`, `expert`, `category`, `reason`, `cache` and `overhead_ms`.
    Errors are `pointsman.GatewayError`.

    Messages, tools and answers are translated by `BaseChatOpenAI`; OpenAI's client, its environment and its rules for
    its own models' names have no part in it.
    """

    base_url: str = Field(
        default_factory=from_env("POINTSMAN_BASE_URL", default="http://localhost:8080/v1"),
        validation_alias=AliasChoices("base_url", "openai_api_base"),
    )
    """Where the gateway is, up to and with `/v1`; `POINTSMAN_BASE_URL` unless stated."""
    api_key: SecretStr | None = Field(
        default_factory=secret_from_env("POINTSMAN_API_KEY", default=None),
        validation_alias=AliasChoices("api_key", "openai_api_key"),
    )
    """`POINTSMAN_API_KEY` unless stated."""
    timeout_s: float = Field(default=600.0, validation_alias=AliasChoices("timeout", "request_timeout", "timeout_s"))
    """How long an answer, or the next piece of one, may take."""
    max_retries: int = 2
    """How often a connection that could not be made is tried again; what was sent is never sent twice."""

    model_name: str = Field(default="auto", alias="model")
    """`auto`, or the expert that is to answer."""
    use_responses_api: Literal[False] = False
    """Answers come from `/v1/chat/completions`."""

    _http: GatewayHttpClient = PrivateAttr()

    if TYPE_CHECKING:
        # A type checker does not know the fields made at run time, and would refuse them as arguments.
        def __init__(self, **fields: Any) -> None:
            """From its fields, by name."""

    @model_validator(mode="before")
    @classmethod
    def validate_temperature(cls, values: dict[str, Any]) -> Any:
        """In place of OpenAI's: an expert may be called `gpt-5` and take a temperature."""
        return values

    @model_validator(mode="after")
    def validate_environment(self) -> Self:
        """In place of OpenAI's, which reads its own environment. Nothing is sent yet."""
        if unused := sorted(self.model_fields_set & _OF_OPENAIS_CLIENT):
            raise ValueError(f"{', '.join(unused)}: of OpenAI's client, which has no part here")
        key = None if self.api_key is None else self.api_key.get_secret_value()
        self._http = GatewayHttpClient(self.base_url, key, self.timeout_s, self.max_retries)
        return self

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

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Literal["json_schema", "function_calling", "json_mode"] = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """This model with answers of a given shape.

        Args:
            schema: A pydantic class (answers are instances of it), a TypedDict or JSON schema (answers are dicts).
            method: The expert is held to the schema, is made to call a function with it, or is asked for any JSON.
            include_raw: Answer with a dict of `raw`, `parsed` and `parsing_error` instead of raising.
            strict: As of `bind_tools`.
            kwargs: Of every call.
        """
        # Nobody writes a JSON schema for a class of pydantic 1.
        if method == "json_schema" and isinstance(schema, type) and is_pydantic_v1_subclass(schema):
            method = "function_calling"
        if kwargs.get("tools"):
            raise ValueError("tools beside a schema go into bind_tools(tools, response_format=schema)")
        if method == "json_schema" and schema is not None:
            # The parent's way has OpenAI's client read the answer, and one that was cut is an exception there.
            kwargs["response_format"] = response_format(schema, strict)
            kwargs["ls_structured_output_format"] = {
                "kwargs": {"method": method, "strict": strict},
                "schema": convert_to_openai_tool(schema),
            }
            method, strict = "json_mode", None
        return super().with_structured_output(schema, method=method, include_raw=include_raw, strict=strict, **kwargs)

    def get_token_ids(self, text: str) -> list[int]:
        """By `custom_get_token_ids` alone: any expert may answer, and each has a vocabulary of its own.

        Raises:
            NotImplementedError: There is no such function.
        """
        if self.custom_get_token_ids is None:
            raise NotImplementedError("the tokens of an expert not yet chosen are unknown; see custom_get_token_ids")
        return self.custom_get_token_ids(text)

    def get_num_tokens(self, text: str) -> int:
        """About how many tokens a text has, estimated from its characters without `custom_get_token_ids`."""
        return self.get_num_tokens_from_messages([HumanMessage(text)])

    def get_num_tokens_from_messages(
        self, messages: Sequence[BaseMessage], tools: Sequence[Any] | None = None, **_: Any
    ) -> int:
        """As `get_num_tokens`, of a conversation and the tools beside it."""
        if self.custom_get_token_ids is not None:
            return sum(len(self.get_token_ids(message.text)) for message in messages)
        return count_tokens_approximately(messages, tools=None if tools is None else list(tools))

    @property
    def _llm_type(self) -> str:
        return "pointsman"

    @property
    def _default_params(self) -> dict[str, Any]:
        stated = {name: value for name in _Routing.model_fields if (value := getattr(self, name)) is not None}
        return {**super()._default_params, **stated}

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {**super()._identifying_params, "base_url": self.base_url}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return {**super()._get_ls_params(stop=stop, **kwargs), "ls_provider": "pointsman"}

    def _resolve_model_profile(self) -> None:
        """Unknown: an expert that is called like a model of OpenAI's need not be it."""

    def _get_request_payload(
        self, input_: LanguageModelInput, *, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """The request's JSON: what the call states, else what the constructor did; what nobody states stays out."""
        messages = [
            # What a model said may be in any vendor's blocks: its text and its calls are what another one can read.
            message.model_copy(update={"content": str(message.text)}) if isinstance(message, AIMessage) else message
            for message in self._convert_input(input_).to_messages()
        ]
        body = super()._get_request_payload(messages, stop=stop, **kwargs)
        body |= body.pop("extra_body", None) or {}
        routing = {name: value for name in _Routing.model_fields if (value := body.pop(name, None)) is not None}
        routing |= body.pop("routing", None) or {}
        if isinstance(shape := body.get("response_format"), type):
            body["response_format"] = response_format(shape)
        if body["stream"]:
            body["stream_options"] = {"include_usage": True}
        return {name: value for name, value in {**body, "routing": routing or None}.items() if value is not None}

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        body, options = self._call(messages, stop, kwargs)
        return self._result(*self._http.post(_CHAT, body, **options), kwargs.get("response_format"))

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        body, options = self._call(messages, stop, kwargs)
        return self._result(*await self._http.apost(_CHAT, body, **options), kwargs.get("response_format"))

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        body, options = self._call(messages, stop, {**kwargs, "stream": True})
        said: list[str] = []
        with closing(self._http.stream(_CHAT, body, **options)) as events:
            for event, headers in events:
                chunk = self._chunk(event, headers)
                said.append(chunk.text)
                if run_manager is not None:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk, logprobs=_logprobs(chunk))
                yield chunk
        if found := parsed("".join(said), kwargs.get("response_format")):
            yield ChatGenerationChunk(message=AIMessageChunk(content="", additional_kwargs=found))

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        body, options = self._call(messages, stop, {**kwargs, "stream": True})
        said: list[str] = []
        async with aclosing(self._http.astream(_CHAT, body, **options)) as events:
            async for event, headers in events:
                chunk = self._chunk(event, headers)
                said.append(chunk.text)
                if run_manager is not None:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk, logprobs=_logprobs(chunk))
                yield chunk
        if found := parsed("".join(said), kwargs.get("response_format")):
            yield ChatGenerationChunk(message=AIMessageChunk(content="", additional_kwargs=found))

    def _call(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The body of a request, and what goes beside it: headers, query and time limit of the call alone."""
        body = self._get_request_payload(messages, stop=stop, **kwargs)
        return body, {name: body.pop(name) for name in _BESIDE_THE_BODY if name in body}

    def _told(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """What a response's head says, for `response_metadata`."""
        return {**_decision(headers), **({"headers": dict(headers)} if self.include_response_headers else {})}

    def _result(self, reply: dict[str, Any], headers: Mapping[str, str], shape: object) -> ChatResult:
        result = self._create_chat_result(reply, self._told(headers))
        result.llm_output = {**(result.llm_output or {}), **_PROVIDER}
        for generation in result.generations:
            generation.message.additional_kwargs |= parsed(str(generation.message.text), shape)
        return result

    def _chunk(self, event: dict[str, Any], headers: Mapping[str, str] | None) -> ChatGenerationChunk:
        """The chunk of an event; with `headers` for the first one, which tells of the decision."""
        # The parent counts on what some servers leave out.
        for choice in event.get("choices") or ():
            choice["delta"] = choice.get("delta") or {}
            for call in choice["delta"].get("tool_calls") or ():
                call |= {"index": call.get("index"), "function": call.get("function") or {}}
        decision = None if headers is None else self._told(headers)
        chunk = cast("ChatGenerationChunk", self._convert_chunk_to_generation_chunk(event, AIMessageChunk, decision))
        chunk.message.response_metadata |= _PROVIDER
        return chunk


def _judgement(decision_id: str, score: float, comment: str | None) -> dict[str, Any]:
    return {"decision_id": decision_id, "quality": score, **({} if comment is None else {"comment": comment})}


def _logprobs(chunk: ChatGenerationChunk) -> Any:
    return (chunk.generation_info or {}).get("logprobs")


def _decision(headers: Mapping[str, str]) -> dict[str, Any]:
    return _PROVIDER | {key: read(headers[name]) for name, (key, read) in _DECISION.items() if name in headers}
