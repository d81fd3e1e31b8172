"""What an answer is to look like: from what an application states to a `response_format`, and back to its class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard, cast

from langchain_core.utils.function_calling import convert_to_openai_function
from langchain_core.utils.pydantic import is_pydantic_v1_subclass
from openai.lib._parsing import type_to_response_format_param
from pydantic import BaseModel, ValidationError


def response_format(schema: Mapping[str, Any] | type, strict: bool | None = None) -> dict[str, Any]:
    """The field of a request.

    As `ChatOpenAI` has it: a pydantic class is held to strictly unless said otherwise, other shapes where they say so.

    Args:
        schema: A class, a JSON schema, a function of OpenAI's, or what stands in a `response_format` (`name`,
            `schema`, `strict`).
        strict: Whether the expert is held to the schema to the letter.

    Raises:
        ValueError: `strict` is stated twice, and differently.
    """
    if is_model(schema) and strict is not False:
        return cast("dict[str, Any]", type_to_response_format_param(schema))
    if isinstance(schema, Mapping):
        if schema.get("type") == "json_schema" and isinstance(schema.get("json_schema"), Mapping):
            return {"type": "json_schema", "json_schema": _stating(schema["json_schema"], strict)}
        if "name" in schema and "schema" in schema:
            return {"type": "json_schema", "json_schema": _stating(schema, strict)}
        if strict is None and isinstance(schema.get("strict"), bool):
            strict = schema["strict"]
    function = convert_to_openai_function(schema, strict=bool(strict))
    function["schema"] = function.pop("parameters")
    return {"type": "json_schema", "json_schema": function}


def parsed(text: str, schema: object) -> dict[str, Any]:
    """The answer as an instance of the class that was asked for, as `additional_kwargs`; empty where it is none."""
    if text and is_model(schema):
        try:
            return {"parsed": schema.model_validate_json(text)}
        except ValidationError:
            pass  # whoever reads the answer sees what it is instead
    return {}


def is_model(schema: object) -> TypeGuard[type[BaseModel]]:
    """Whether it is a class of pydantic that knows its own JSON schema."""
    return isinstance(schema, type) and issubclass(schema, BaseModel) and not is_pydantic_v1_subclass(schema)


def _stating(stated: Mapping[str, Any], strict: bool | None) -> dict[str, Any]:
    if strict is not None and stated.get("strict") not in (None, strict):
        raise ValueError(f"strict: the schema says {stated['strict']}, the call says {strict}")
    return {**stated, **({} if strict is None else {"strict": strict})}
