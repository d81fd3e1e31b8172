"""Whose doing an expert's error is, by its status and by what it says: one table, read from the top.

It decides three things: whether another expert is asked, whether the expert counts as failing, and whether the client
gets the expert's own words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pointsman.gateway.wire.expert_errors import StatedError


class Blame(StrEnum):
    """Whose doing an error is."""

    CALLER = "caller"
    """The request's, wherever it goes: no other expert is asked, and the client gets the expert's words."""
    MISMATCH = "mismatch"
    """This expert does not take the request, and another one may."""
    LOAD = "load"
    """The expert is busy, which is not sick."""
    EXPERT = "expert"
    """It failed."""
    CREDIT = "credit"
    """Its account is used up: no call gets through until the operator pays."""
    OPERATOR = "operator"
    """It refuses the gateway itself: a key, a model or an address is wrong."""
    UNCLEAR = "unclear"
    """It refuses this request, or all of the gateway's: only the next ones will tell."""

    @property
    def mends_itself(self) -> bool:
        """Whether the same expert may answer a moment later without anybody's help."""
        return self not in (Blame.CREDIT, Blame.OPERATOR)

    @property
    def adds_load(self) -> bool:
        """Whether asking another makes more work of the request, or sends it where there is too much already."""
        return self in (Blame.EXPERT, Blame.LOAD)

    @property
    def of_the_request(self) -> bool:
        """Whether the expert did as it should."""
        return self in (Blame.CALLER, Blame.MISMATCH)


@dataclass(frozen=True, slots=True)
class _Row:
    """An error and whose doing it is; what is left out is not looked at.

    Attributes:
        blame: Whose.
        statuses: Its status is one of these, or such a one.
        codes: Its `code` or `type` is one of these, in lower case.
        says: Its words match this. What stands in quotes is left out of them: it may be the caller's.
        quotes: Whether what stands in quotes counts as well.
        param: The field that it names as at fault is one of these; empty where it names none.
        lacks_model: Its words are that the expert's model is not there.
    """

    blame: Blame
    statuses: frozenset[int] | Callable[[int], bool] = lambda status: True
    codes: frozenset[str] | None = None
    says: re.Pattern[str] | None = None
    quotes: bool = False
    param: tuple[str, ...] | None = None
    lacks_model: bool = False


def _codes(*names: str) -> frozenset[str]:
    return frozenset(names)


def _of_client(status: int) -> bool:
    return 400 <= status < 500


_TIME_OR_TRAFFIC: Final = frozenset({408, 425, 499})
#: Which a server gives for the request, for the key, and for the path alike.
_AMBIGUOUS: Final = frozenset({401, 403, 404, 405, 407, 410, 415, 421, 426})
_ABOUT_REQUEST: Final = frozenset({400, 401, 403, 404, 422, 451})
_REFUSES_INPUT: Final = frozenset({400, 403, 404, 413, 414, 422, 431, 501})

_TABLE: Final[tuple[_Row, ...]] = (
    # It was sent elsewhere: what could be followed has been.
    _Row(Blame.OPERATOR, lambda status: status < 400),
    # The account.
    _Row(Blame.CREDIT, frozenset({402})),
    _Row(
        Blame.CREDIT,
        _of_client,
        _codes(
            "insufficient_quota", "insufficient_balance", "insufficient_credits", "insufficient_funds",
            "billing_error", "billing_hard_limit_reached", "billing_not_active", "credits_exhausted",
            "payment_required", "arrearage", "account_overdue",
        ),
    ),
    _Row(
        Blame.CREDIT,
        frozenset({400, 401, 403}),
        says=re.compile(
            r"\bcredit balance is too low"
            r"|\binsufficient (?:account )?(?:balance|credits?|funds|quota)\b"
            r"|\b(?:out of|no|used all (?:of )?(?:your |the )?available) credits\b"
            r"|\bexceeded your current quota\b"
            r"|\bbilling hard limit\b"
            r"|\bexceeded your monthly\b"
            r"|\baccount is not active\b",
            re.IGNORECASE,
        ),
    ),
    # What was said is not allowed.
    _Row(
        Blame.CALLER,
        _ABOUT_REQUEST,
        _codes(
            "content_policy_violation", "content_policy", "content_filter", "content_filtered", "contentfilter",
            "contentpolicyviolationerror", "moderation", "moderation_blocked", "moderation_error",
            "responsibleaipolicyviolation", "data_inspection_failed", "datainspectionfailed", "sensitive_content",
            "safety", "prompt_blocked", "cyber_policy",
        ),
    ),
    # What it names is not there, or not ours to judge.
    _Row(
        Blame.CALLER,
        _ABOUT_REQUEST | {424},
        _codes(
            "previous_response_not_found", "response_not_found", "item_not_found", "file_not_found",
            "conversation_not_found", "container_not_found", "vector_store_not_found", "prompt_not_found",
            "thread_not_found", "prompt_not_recorded", "external_connector_error", "invalid_encrypted_content",
        ),
    ),
    _Row(
        Blame.CALLER,
        frozenset({404}),
        says=re.compile(
            r"\b(?:response|item|conversation|thread|file|container|vector store|prompt|assistant|message|batch|image"
            r"|tool)s?\b.{0,200}\b(?:not found|does not exist|no longer exists?|expired)"
            r"|\bno (?:such )?(?:response|item|conversation|thread|file|container|vector store)\b",
            re.IGNORECASE,
        ),
    ),
    # It could be put otherwise, or asked of another.
    _Row(
        Blame.MISMATCH,
        _REFUSES_INPUT,
        _codes(
            "unsupported_parameter", "unknown_parameter", "unsupported_value", "unrecognized_parameter",
            "invalid_parameter_name", "unsupportedparamserror", "extra_forbidden", "unsupported_feature",
            "context_length_exceeded", "contextwindowexceedederror", "context_window_exceeded", "context_too_large",
            "exceed_context_size_error", "string_above_max_length", "array_above_max_length", "integer_above_max_value",
            "tokens_limit_reached", "model_max_length_exceeded", "input_too_long", "prompt_too_long",
            "rate_limit_exceeded", "unsupported_content_type", "unsupported_media", "image_not_supported",
        ),
    ),
    # The model, which the settings name.
    _Row(
        Blame.OPERATOR,
        frozenset({400, 401, 403, 404, 410, 422}),
        _codes(
            "model_not_found", "modelnotfound", "model_decommissioned", "model_deprecated", "deploymentnotfound",
            "deployment_not_found", "invalid_model", "model_not_supported", "unsupported_model", "model_not_available",
            "unknown_model",
        ),
        param=("", "model"),
    ),
    _Row(Blame.OPERATOR, frozenset({400, 403, 404, 410, 422}), param=("", "model"), lacks_model=True),
    _Row(
        Blame.OPERATOR,
        frozenset({400, 404}),
        says=re.compile(
            r"\A\W*(?:the )?model (?:does )?not (?:exist|found)"
            r"|\A\W*no such model"
            r"|\A\W*unknown model",
            re.IGNORECASE,
        ),
    ),
    # The key.
    _Row(
        Blame.OPERATOR,
        frozenset({400, 401, 403}),
        _codes(
            "invalid_api_key", "incorrect_api_key", "invalid_authentication", "invalid_authentication_error",
            "authentication_error", "authenticationerror", "unauthenticated", "unauthorized", "api_key_invalid",
            "account_deactivated", "organization_deactivated", "access_terminated", "access_terminated_error",
            "unsupported_country_region_territory", "invalid_organization", "ip_not_authorized", "accessdenied",
        ),
    ),
    _Row(
        Blame.OPERATOR,
        frozenset({400, 403}),
        says=re.compile(
            r"\bapi[ _-]?key (?:is )?(?:not valid|invalid|expired|missing|disabled|revoked|does not|not have)"
            r"|\b(?:invalid|incorrect|missing|expired|no|bad|wrong) (?:api[ _-]?key|credentials?|auth\w*|access token)"
            r"|\byour (?:api[ _-]?key|account|organization|project|team|ip address) (?:\w+ ){0,3}"
            r"(?:not|suspended|disabled|deactivated|blocked|terminated|restricted)"
            r"|\bcountry, region,? or territory\b",
            re.IGNORECASE,
        ),
    ),
    # The gateway's key is all that there is to be refused, unless the request brings one of its own.
    _Row(Blame.CALLER, frozenset({401, 403}), param=("tools",)),
    _Row(
        Blame.UNCLEAR,
        frozenset({401}),
        says=re.compile(
            r"\btools?\b|\bmcp\b|connector|\bimages?\b|\bfiles?\b|\burl\b|\bprompt\b|\binputs?\b|\bflagged\b",
            re.IGNORECASE,
        ),
    ),
    _Row(Blame.OPERATOR, frozenset({401})),
    # The same, in words.
    _Row(
        Blame.MISMATCH,
        _REFUSES_INPUT,
        says=re.compile(
            r"context[ _-]?(?:length|window|size)"
            r"|maximum (?:context|prompt|input|model|sequence)"
            r"|(?:prompt|input|message|request)s? (?:is|are) too (?:long|large)"
            r"|\btoo many (?:input )?tokens"
            r"|reduce the length"
            r"|max(?:_|imum )model(?:_|imum )?len"
            r"|tokens? (?:count )?exceeds?"
            r"|longer than the (?:model|maximum)"
            r"|exceeds? (?:the )?(?:model'?s? )?(?:max|limit|available|context)"
            r"|max_(?:completion_|output_|new_)?tokens\W{0,3} (?:is )?(?:too|must be|cannot|exceeds)"
            r"|tokens per (?:minute|day)"
            r"|at most \d+ (?:completion )?tokens"
            r"|(?:<|less than) ?= ?max"
            r"|not supported"
            r"|n[o']t support"
            r"|unsupported"
            r"|not (?:yet )?implemented"
            r"|(?:unrecogni[sz]ed|unknown|unexpected|extra|additional) "
            r"(?:request )?(?:arg|param|field|key|name|input|propert|keyword)"
            r"|extra inputs are not permitted"
            r"|not (?:allowed|permitted|accepted) (?:for|by|with|in) this model"
            r"|(?:is|are) not (?:enabled|available) (?:for|on|with|in) this"
            r"|no endpoints found that support"
            r"|cannot find field"
            r"|requires .{0,60}to be set"
            r"|only .{0,80}(?:is|are) supported",
            re.IGNORECASE,
        ),
        quotes=True,
    ),
    # What is left.
    _Row(Blame.OPERATOR, frozenset({400, 403, 404, 410, 422}), param=("model",)),
    _Row(
        Blame.CALLER,
        _ABOUT_REQUEST,
        says=re.compile(
            r"content (?:management )?polic"
            r"|usage polic"
            r"|\bmoderation\b"
            r"|\bflagged\b"
            r"|safety system"
            r"|inappropriate"
            r"|\bharmful\b"
            r"|violat",
            re.IGNORECASE,
        ),
    ),
    _Row(Blame.LOAD, frozenset({429})),
    _Row(Blame.EXPERT, _TIME_OR_TRAFFIC),
    _Row(Blame.UNCLEAR, _AMBIGUOUS),
    _Row(Blame.CALLER, _of_client),
)  # fmt: skip

#: What says of a model named before that it is not there, and of one that is named next.
_NO_MODEL: Final = re.compile(
    r"[\W_]{0,5}(?:is |was |has been |could |does ){0,3}"
    r"(?:not (?:be )?(?:exist|found|a valid model|available|served|deployed|loaded)"
    r"|no longer (?:exist|available|served)|cannot be found|deprecated|decommissioned|retired|removed"
    r"|shut down|invalid|unknown)",
    re.IGNORECASE,
)
_NOT_A_MODEL: Final = re.compile(
    r"(?:(?:\A|[-–:] )\W{0,5}model: ?"
    r"|(?:unknown|invalid|no such|unrecogni[sz]ed|missing) (?:model|deployment)(?: name| id)?\W{0,5}"
    r"|not have access to (?:the )?(?:model|deployment)\W{0,5}|cannot find (?:the )?model\W{0,5})\Z",
    re.IGNORECASE,
)
#: What a service quotes may be a caller's.
_QUOTED: Final = re.compile(r"(?<!\w)(?:\"[^\"]{0,300}\"|'[^']{0,300}'|`[^`]{0,300}`|“[^”]{0,300}”)(?!\w)")
_LENGTH: Final = re.compile(
    r"context[ _-]?(?:length|window|size)"
    r"|too (?:long|large|many)"
    r"|reduce the length"
    r"|max(?:imum)?[ _-]?model"
    r"|tokens? (?:count )?exceeds?"
    r"|tokens per"
    r"|input_too_long"
    r"|tokens_limit"
    r"|maximum (?:context|prompt|input|sequence)"
    r"|max_length"
    r"|longer than"
    r"|above_max",
    re.IGNORECASE,
)
#: Of what it says, so much is looked at.
_MOST_CHARS: Final = 1_000
#: What may be part of a key: such words do not go into the log.
_LIKE_A_KEY: Final = re.compile(r"[\w*.\-]{20,}")
_MOST_LOGGED: Final = 300


def blame_of(status: int, stated: StatedError, model: str) -> Blame:
    """Whose doing an error is.

    Args:
        status: HTTP status, or what stands for it in an answer that says an error all the same.
        stated: What the expert says of it.
        model: The expert's own id of its model, as the settings name it.
    """
    codes = {stated.code.lower(), stated.kind.lower()} - {""}
    bare = _QUOTED.sub(" ", stated.message[:_MOST_CHARS])
    for row in _TABLE:
        if _applies(row, status, codes, stated, bare, model):
            return row.blame
    return Blame.EXPERT


def of_length(stated: StatedError) -> bool:
    """Whether a request does not fit since it is too long."""
    return _LENGTH.search(f"{stated.code} {stated.kind} {stated.message[:_MOST_CHARS]}") is not None


def for_the_log(status: int, stated: StatedError, model: str) -> str:
    """An error for the operator, without what may be a key."""
    if status < 400:
        return f"HTTP {status}, a redirect that leaves the address of base_url, or leads nowhere"
    words = stated.message[:_MOST_LOGGED]
    words = _LIKE_A_KEY.sub(lambda found: found.group() if found.group() == model else "…", words)
    said = " ".join(" ".join(one for one in (stated.code, words) if one).split())
    return f"HTTP {status}" + (f" ({said})" if said else "")


def _applies(row: _Row, status: int, codes: set[str], stated: StatedError, bare: str, model: str) -> bool:
    held = row.statuses(status) if callable(row.statuses) else status in row.statuses
    if not held or (row.codes is not None and not codes & row.codes):
        return False
    if row.param is not None and stated.param not in row.param:
        return False
    if row.lacks_model and not _lacks(stated.message[:_MOST_CHARS], model):
        return False
    return row.says is None or row.says.search(stated.message[:_MOST_CHARS] if row.quotes else bare) is not None


def _lacks(message: str, model: str) -> bool:
    """Whether words say that a server does not have a model."""
    # With its provider or its owner, and without, as services quote it.
    for name in {model, model.partition("/")[2] or model, model.rpartition("/")[2] or model}:
        before, found, after = message.partition(name)
        if not found or before[-1:].isalnum() or after[:1].isalnum():
            continue
        if _NO_MODEL.match(after) is not None or _NOT_A_MODEL.search(before) is not None:
            return True
    return False
