"""What an expert says went wrong, in whatever shape it says it, and the same in the shape of the client's API."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

import orjson

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.messages.errors import error_document

#: Of a body that says an error, so much is read.
_MOST_READ_BYTES: Final = 64 * 1024
#: Of what it says, so much is told.
_MOST_MESSAGE: Final = 2_000
_MOST_WORD: Final = 200
#: Where the message of an error stands, in the order of trust.
_MESSAGES: Final = ("message", "Message", "detail", "error_description", "error_message", "msg", "errors", "title")
#: Statuses by the kind of an error that comes with none.
_STATUS_OF_KIND: Final[Mapping[str, int]] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
#: OpenAI's kinds of errors by status, for errors that name none.
_KIND_OF_STATUS: Final[Mapping[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
_TAG: Final = re.compile(r"<[^<>]{0,2000}>")
_TITLE: Final = re.compile(r"<title[^<>]{0,200}>([^<]{1,500})", re.IGNORECASE)
_UNSEEN: Final = re.compile(r"<(?:script|style)[^<>]{0,200}>[^<]{0,5000}", re.IGNORECASE)
#: Addresses of machines that only somebody inside knows: by number, or by a name without a dot.
_INSIDE: Final = re.compile(
    r"https?://(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:]{1,45}\]|[\w-]{1,63})(?::\d{1,5})?(?![\w.-])[^\s\"'<>)]{0,500}"
)
#: An error within the JSON of an answer; quotes inside texts are escaped, so no text can say it.
_SAYS_ERROR: Final = re.compile(rb'"error"[ \t\r\n]{0,20}:[ \t\r\n]{0,20}[{"]|"object"[ \t]{0,20}:[ \t]{0,20}"error"')

#: As vLLM ends the answers that it has not finished when it is stopped; in a text the quotes would be escaped.
SAYS_ABORT: Final = re.compile(rb'"finish_reason"[ \t]{0,20}:[ \t]{0,20}"abort"')


@dataclass(frozen=True, slots=True)
class StatedError:
    """What an expert says of an error.

    Attributes:
        message: Its words; empty where it says nothing beyond its status.
        kind: What it calls the kind of error (`type`); empty where it does not.
        code: Its machine-readable code; empty where it has none.
        param: The field it names as at fault; empty where it names none.
        status: The HTTP status that the body states; None where it states none.
        shape: Whose shape it has already: `openai`, `anthropic`, or neither.
    """

    message: str = ""
    kind: str = ""
    code: str = ""
    param: str = ""
    status: int | None = None
    shape: str = ""


def stated_error(body: bytes, status: int = 0) -> StatedError:
    """Read the body of an error: JSON in any of the usual shapes, a page, an event, or plain text.

    Args:
        body: What came.
        status: With which status; a body that says no more than its name says nothing.
    """
    found = _read(body[:_MOST_READ_BYTES])
    if found.message and found.message.strip(" .!").lower() == _phrase(status):
        return replace(found, message="")
    return found


def error_in_answer(body: bytes) -> StatedError | None:
    """The error that a whole answer says in spite of a status that promises none; None where it is an answer."""
    says_error = b'"error"' in body and _SAYS_ERROR.search(body, 0, _MOST_READ_BYTES) is not None
    if not says_error and (b'"abort"' not in body or SAYS_ABORT.search(body) is None):
        return None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return error_in(document) if isinstance(document, dict) else None


def error_in(document: Mapping[str, Any]) -> StatedError | None:
    """The error that a document says in place of an answer, or of a piece of one; None where it says none."""
    inner = document.get("response")
    if isinstance(inner, dict) and document.get("type") == "response.failed":
        document = inner
    if document.get("type") == "error" or document.get("object") == "error":
        return _with_status(_of_document(document))
    if document.get("error") and not _answers(document):
        return _with_status(_of_document(document))
    choices = document.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    if choices[0].get("finish_reason") == "abort":
        return StatedError("The expert stopped before the end of its answer.", status=502)
    if choices[0].get("error"):
        return None if _answers(document) else _with_status(_of_document(choices[0]))
    return None


def client_error(asked: Endpoint, status: int, body: bytes, stated: StatedError, private: Iterable[str] = ()) -> bytes:
    """The body of an expert's error as the client's API has it; untouched where it has that shape already.

    Args:
        asked: What the client called.
        status: What it gets.
        body: What the expert sent.
        stated: The same, read.
        private: What must not be told, such as keys and addresses.
    """
    anthropic = asked in (Endpoint.MESSAGES, Endpoint.COUNT_TOKENS)
    if stated.shape == ("anthropic" if anthropic else "openai") and body.lstrip().startswith(b"{"):
        return without(body, private)
    message = _INSIDE.sub("…", stated.message) or f"The expert answered with status {status}."
    if anthropic:
        document = error_document(status, message)
        document["error"] |= {name: value for name, value in (("code", stated.code), ("param", stated.param)) if value}
    else:
        kind = stated.kind or _KIND_OF_STATUS.get(status, "server_error" if status >= 500 else "invalid_request_error")
        fields = {"message": message, "type": kind, "param": stated.param or None, "code": stated.code or None}
        document = {"error": fields}
    return without(orjson.dumps(document), private)


def without(body: bytes, private: Iterable[str]) -> bytes:
    """A body without words that must not be told."""
    for one in private:
        body = body.replace(one.encode(), "…".encode())
    return body


def _read(body: bytes) -> StatedError:
    text = body.strip()
    if text.startswith((b"data:", b"event:")):
        lines = [line[5:].strip() for line in text.splitlines() if line.startswith(b"data:")]
        text = lines[0] if lines else b""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return StatedError(_words_of_page(text.decode("utf-8", "replace")))
    if isinstance(document, list) and document and isinstance(document[0], dict):
        return replace(_of_document(document[0]), shape="")
    if isinstance(document, dict):
        return _of_document(document)
    return StatedError(document[:_MOST_MESSAGE] if isinstance(document, str) else "")


def _of_document(document: Mapping[str, Any]) -> StatedError:
    error = document.get("error")
    within: Mapping[str, Any] = error if isinstance(error, dict) else document
    message = error if isinstance(error, str) and error else ""
    kind, code = _word(within.get("type") or within.get("__type")), within.get("code", within.get("error_code"))
    if isinstance(error, str) and (said := _first_said(document)):
        # The name of the error beside its words.
        kind, message = kind or _word(error), said
    shape = ""
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        shape = "anthropic" if document.get("type") == "error" else "openai"
    elif document.get("object") == "error" and isinstance(document.get("message"), str):
        shape = "openai"  # as vLLM had it; OpenAI's SDKs find their fields in it as well
    status = _status_of(code) or _status_of(within.get("status")) or _status_of(document.get("status"))
    return StatedError(
        message=(message or _first_said(within) or _first_said(document))[:_MOST_MESSAGE],
        kind=("" if kind == "error" else kind) or _word(within.get("status")),
        code=_word(code),
        param=_word(within.get("param")),
        status=status,
        shape=shape,
    )


def _first_said(document: Mapping[str, Any]) -> str:
    return next((said for name in _MESSAGES if (said := _said(document.get(name)))), "")


def _said(value: object, depth: int = 0) -> str:
    """The words of a text, of an object with words, or of a list of either."""
    if isinstance(value, str):
        return value.strip()[:_MOST_MESSAGE]
    if depth > 3:
        return ""
    if isinstance(value, list):
        found = [_said(one, depth + 1) for one in value[:20]]
        return "; ".join(one for one in found if one)[:_MOST_MESSAGE]
    if not isinstance(value, dict):
        return ""
    words = next((said for name in _MESSAGES if (said := _said(value.get(name), depth + 1))), "")
    where = value.get("loc")
    if words and isinstance(where, list):
        words = f"{'.'.join(str(one)[:_MOST_WORD] for one in where[:10])}: {words}"
    if not words:
        # Fields and what is wrong with each.
        parts = [(str(name)[:_MOST_WORD], _said(one, depth + 1)) for name, one in list(value.items())[:20]]
        words = "; ".join(f"{name}: {said}" for name, said in parts if said)
    return words[:_MOST_MESSAGE]


def _words_of_page(text: str) -> str:
    if not text.lstrip().startswith("<"):
        return text.strip()[:_MOST_MESSAGE]
    title = _TITLE.search(text)
    words = title.group(1) if title else _TAG.sub(" ", _UNSEEN.sub(" ", text[:20_000]))
    return " ".join(words.split())[:_MOST_MESSAGE]


def _word(value: object) -> str:
    return "" if isinstance(value, bool) or not isinstance(value, str | int) else str(value)[:_MOST_WORD]


def _status_of(value: object) -> int | None:
    if isinstance(value, str) and len(value) == 3 and value.isdigit():
        value = int(value)
    return value if type(value) is int and 400 <= value <= 599 else None


def _with_status(stated: StatedError) -> StatedError:
    """With the status that the error stands for: what it says, else what its kind means, else that of a failure."""
    if stated.status is not None:
        return stated
    known = _STATUS_OF_KIND.get(stated.kind.lower()) or _STATUS_OF_KIND.get(stated.code.lower())
    return replace(stated, status=known or 502)


def _answers(document: Mapping[str, Any]) -> bool:
    """Whether a document that says an error says something else as well."""
    if document.get("output") or document.get("content") or document.get("data") or document.get("results"):
        return True
    choices = document.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        said = choice.get("message") or choice.get("delta") or choice
        if isinstance(said, dict) and (said.get("content") or said.get("tool_calls") or said.get("text")):
            return True
    return False


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return ""
