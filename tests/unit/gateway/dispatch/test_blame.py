"""Whose doing an expert's error is, in the words of the services themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pointsman.gateway.dispatch.blame import Blame, blame_of, for_the_log, of_length
from pointsman.gateway.wire.expert_errors import StatedError, stated_error

MODEL = "gpt-9"


def error(message: str, kind: str | None = None, code: Any = None, param: str | None = None) -> dict[str, Any]:
    """In OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def anthropic(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def stated(status: int, said: dict[str, Any] | list[Any] | bytes) -> StatedError:
    return stated_error(said if isinstance(said, bytes) else json.dumps(said).encode(), status)


@pytest.mark.parametrize("said", [b"", b"<html><title>Oops</title></html>", error("the server says so")])
@pytest.mark.parametrize(
    "status", [408, 425, 499, 500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 521, 522, 523, 524, 525, 529, 530, 599]
)
def test_all_from_500_on_and_what_was_too_slow_is_the_experts(status: int, said: Any) -> None:
    assert blame_of(status, stated(status, said), MODEL) is Blame.EXPERT


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_that_was_not_followed_is_the_operators(status: int) -> None:
    assert blame_of(status, stated(status, b""), MODEL) is Blame.OPERATOR


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (402, b""),
        (402, error("Insufficient Balance", "unknown_error", "invalid_request_error")),
        (402, error("This request requires more credits, or fewer max_tokens.", code=402)),
        (429, error("You exceeded your current quota", "insufficient_quota", "insufficient_quota")),
        (400, anthropic("invalid_request_error", "Your credit balance is too low to access the Anthropic API.")),
        (403, error("Your team has used all available credits or reached its monthly spending limit.")),
        (400, anthropic("billing_error", "There is an issue with your organization's billing")),
    ],
)
def test_an_account_that_is_used_up(status: int, said: dict[str, Any] | bytes) -> None:
    assert blame_of(status, stated(status, said), MODEL) is Blame.CREDIT


@pytest.mark.parametrize(
    "said",
    [
        error("Rate limit reached for gpt-9 on requests per min (RPM)", "requests", "rate_limit_exceeded"),
        anthropic("rate_limit_error", "This request would exceed your organization's rate limit"),
        error("You exceeded your current quota, please check your plan and billing details.", code=429),
        b"",
    ],
)
def test_too_many_requests_is_load(said: dict[str, Any] | bytes) -> None:
    assert blame_of(429, stated(429, said), MODEL) is Blame.LOAD


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, b""),
        (401, error("Incorrect API key provided: sk-ab***cd.", "invalid_request_error", "invalid_api_key")),
        (401, anthropic("authentication_error", "invalid x-api-key")),
        (401, {"detail": "Could not validate credentials"}),
        (401, {"error": "Unauthorized"}),
        (401, error("no")),
        (403, error("Country, region, or territory not supported", code="unsupported_country_region_territory")),
        (403, anthropic("permission_error", "Your API key does not have permission to use the specified resource.")),
        (400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}]),
        (404, error("The model `gpt-9` does not exist or you do not have access to it.", code="model_not_found")),
        (404, {"object": "error", "message": "The model `gpt-9` does not exist.", "type": "NotFoundError"}),
        (404, {"error": "model 'gpt-9' not found, try pulling it first"}),
        (404, anthropic("not_found_error", "model: gpt-9")),
        (404, error("models/gpt-9 is not found for API version v1beta", code=404)),
        (404, error("The API deployment for this resource does not exist.", code="DeploymentNotFound")),
        (400, error("gpt-9 is not a valid model ID", code=400)),
        (400, error("Model Not Exist", "invalid_request_error", "invalid_request_error")),
        (400, error("The model `gpt-9` has been decommissioned", code="model_decommissioned")),
        (403, error("Project `p` does not have access to model `gpt-9`", code="model_not_found")),
        (404, error("This is not a chat model", "invalid_request_error", None, "model")),
    ],
)
def test_a_wrong_key_or_model_is_the_operators(status: int, said: Any) -> None:
    assert blame_of(status, stated(status, said), MODEL) is Blame.OPERATOR


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (
            400,
            error(
                "Unsupported parameter: 'max_tokens' is not supported with this model.", code="unsupported_parameter"
            ),
        ),
        (400, error("Unknown parameter: 'thread'.", "invalid_request_error", "unknown_parameter", "thread")),
        (400, error("'temperature' does not support 0.5 with gpt-9.", code="unsupported_value", param="temperature")),
        (
            400,
            error("This model's maximum context length is 8192 tokens. However, you requested 9000", "BadRequestError"),
        ),
        (400, error("too long", code="context_length_exceeded")),
        (400, anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")),
        (400, anthropic("invalid_request_error", "top_k: Extra inputs are not permitted")),
        (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "n"], "msg": "Extra inputs are not permitted"}]}),
        (400, error("litellm.UnsupportedParamsError: openai does not support parameters: ['top_k'], for model=gpt-9")),
        (400, error("litellm.ContextWindowExceededError: input is too long for requested model")),
        (
            400,
            [
                {
                    "error": {
                        "code": 400,
                        "message": 'Invalid JSON payload received. Unknown name "top_k": Cannot find field.',
                    }
                }
            ],
        ),
        (404, error("No endpoints found that support image input", code=404)),
        (
            413,
            error(
                "Request too large for gpt-9 on tokens per minute (TPM): Limit 6000", "tokens", "rate_limit_exceeded"
            ),
        ),
        (400, error("n is not supported by the embedded experts", None, "unsupported_parameter", "n")),
        (400, error("the request exceeds the available context size, try increasing it", "exceed_context_size_error")),
        (422, {"error": "`inputs` tokens + `max_new_tokens` must be <= 4096", "error_type": "validation"}),
    ],
)
def test_what_one_expert_does_not_take_another_may(status: int, said: Any) -> None:
    assert blame_of(status, stated(status, said), MODEL) is Blame.MISMATCH


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (
            400,
            error(
                "Invalid type for 'messages': expected an array", "invalid_request_error", "invalid_type", "messages"
            ),
        ),
        (400, error("messages: 'credit balance is too low' is no role")),
        (400, error("Invalid value: 'API key not valid'. Supported values are: 'system' and 'user'.")),
        (400, b""),
        (400, error("Previous response with id 'resp_1' not found.", code="previous_response_not_found")),
        (
            404,
            error(
                "Previous response with id 'resp_1' not found.", "invalid_request_error", None, "previous_response_id"
            ),
        ),
        (404, error("No such File object: file-1", "invalid_request_error", "file_not_found")),
        (404, error("Item with id 'rs_1' not found.", "invalid_request_error")),
        (400, error("Your request was rejected by our safety system.", code="content_policy_violation")),
        (400, error("The response was filtered", None, "content_filter", "prompt")),
        (403, error("gpt-9 requires moderation. Your input was flagged for violence", code=403)),
        (409, error("already there")),
        (413, b"<html><title>413 Request Entity Too Large</title></html>"),
        (422, {"detail": [{"loc": ["body", "messages"], "msg": "field required", "type": "missing"}]}),
        (424, error("Error retrieving tool list from MCP server", "external_connector_error", None, "tools")),
        (451, b""),
        (418, b""),
    ],
)
def test_what_the_caller_did_is_the_callers(status: int, said: Any) -> None:
    assert blame_of(status, stated(status, said), MODEL) is Blame.CALLER


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, error("this is not for you")),
        (403, b"<html><title>Forbidden</title></html>"),
        (404, {"detail": "Not Found"}),
        (404, error("The model `another` does not exist", code="model_not_found", param="tools[0].model")),
        (405, {"detail": "Method Not Allowed"}),
        (401, error("the URL of this image wants a password")),
    ],
)
def test_what_may_be_anybodys_is_unclear(status: int, said: Any) -> None:
    assert blame_of(status, stated(status, said), MODEL) is Blame.UNCLEAR


def test_a_model_is_named_with_its_provider_or_without() -> None:
    said = stated(404, error("litellm.NotFoundError: AnthropicException - model: claude-9", "not_found_error"))
    assert blame_of(404, said, "anthropic/claude-9") is Blame.OPERATOR
    said = stated(404, error("The model `claude-9` does not exist", "not_found_error"))
    assert blame_of(404, said, "anthropic/claude-9") is Blame.OPERATOR
    assert blame_of(404, said, "openrouter/anthropic/claude-9") is Blame.OPERATOR
    assert blame_of(404, said, "claude-99") is not Blame.OPERATOR


def test_what_a_model_cannot_do_is_no_wrong_model() -> None:
    said = stated(400, error("Image input is not supported by gpt-9", "invalid_request_error", None, "model"))
    assert blame_of(400, said, MODEL) is Blame.MISMATCH


def test_a_short_name_of_a_model_is_no_part_of_a_word() -> None:
    said = stated(400, error("Unsupported input does not exist", None))
    assert blame_of(400, said, "up") is not Blame.OPERATOR


def test_a_length_is_told_from_a_parameter() -> None:
    assert of_length(stated(400, error("too long", code="context_length_exceeded")))
    assert of_length(stated(400, anthropic("invalid_request_error", "prompt is too long: 5 tokens > 4 maximum")))
    assert not of_length(stated(400, error("Unknown parameter: 'thread'.", code="unknown_parameter")))


def test_the_log_says_what_is_wrong_without_what_may_be_a_key() -> None:
    said = stated(401, error("Incorrect API key provided: sk-proj-abcdefghijklmnop123456.", code="invalid_api_key"))
    told = for_the_log(401, said, MODEL)
    assert "invalid_api_key" in told
    assert "abcdefghij" not in told
    assert "redirect" in for_the_log(307, stated(307, b""), MODEL)
    long = "claude-sonnet-4-5-20250929"
    assert long in for_the_log(404, stated(404, anthropic("not_found_error", f"model: {long}")), long)
