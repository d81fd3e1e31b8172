"""The shape of litellm's `model_list`; what becomes of it: `litellm/`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pointsman.gateway.settings.base import Node


class ModelListEntry(Node):
    """One entry of litellm's `model_list`. Several of one name are one model, on several servers."""

    model_name: str = Field(min_length=1)
    """The expert's name. A `*` in it stands for any text, which the `*` in `model` then is."""
    litellm_params: dict[str, Any]
    """`model` (with litellm's provider prefix), `api_base`, `api_key` (`os.environ/NAME`), `timeout`, costs per token,
    and whatever else litellm's completion call takes."""
    model_info: dict[str, Any] = Field(default_factory=dict)
    """litellm's description of the model; fields of an expert such as `card`, `latency`, `energy`, `generalist`,
    `params_total_b` or `capabilities` may stand here, too."""
