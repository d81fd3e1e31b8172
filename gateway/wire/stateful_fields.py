"""Fields of requests that refer to what a server keeps, or ask it to keep something; no chat can say any of them.

What the gateway keeps itself (`turns.py`) is put in before a request is translated. A field of these that still stands
then makes the request one for an expert that speaks its API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pointsman.experts.protocols import Endpoint

_MESSAGES: Final = ("container", "mcp_servers")

#: Fields that hold the id of what a server keeps, or a list of such ids, wherever they stand.
ID_FIELDS: Final = frozenset(
    {"file_id", "file_ids", "vector_store_id", "vector_store_ids", "container_id", "container_ids", "thread_id"}
    | {"conversation_id", "previous_response_id", "previous_message_id", "previous_interaction_id", "response_id"}
    | {"approval_request_id", "cached_content"}
)

#: Endpoint -> top-level fields.
STATEFUL: Final[Mapping[Endpoint, tuple[str, ...]]] = {
    Endpoint.MESSAGES: _MESSAGES,
    Endpoint.COUNT_TOKENS: _MESSAGES,
    Endpoint.RESPONSES: ("previous_response_id", "conversation", "prompt", "background", "context_management"),
}

#: Of Messages: whether the server is to hold the conversation, and where a turn goes on. Any expert may begin one.
THREAD: Final = "thread"
