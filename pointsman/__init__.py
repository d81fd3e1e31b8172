"""Pointsman: the expert that suits each prompt, within latency, energy and cost budgets.

What stands in `__all__` is the Python API (docs/python-api.md); what lies below it may change with any version.
Importing this module imports nothing else: each name is looked up when it is first used.

The sources lie in the folders `gateway/`, `routers/`, `experts/` and `evals/` of the checkout; what is installed
has this one import name.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pointsman.evals.errors import EvalError, TableError
    from pointsman.evals.report import EvaluationReport, RouterRow
    from pointsman.experts.spec import (
        Capability,
        EnergyModel,
        ExpertSpec,
        ExpertState,
        LatencyModel,
        PoolView,
        Price,
        Source,
    )
    from pointsman.gateway.clients.http import GatewayError
    from pointsman.gateway.clients.langchain import ChatPointsman
    from pointsman.gateway.settings.base import SettingsError
    from pointsman.gateway.wire.decision import decision_to_dict, explain
    from pointsman.router import Router, load_experts
    from pointsman.routers.budget import Budget, Weights
    from pointsman.routers.errors import ArtifactError, EmbedderError, RouterError, TrainingError
    from pointsman.routers.types import Candidate, Decision, Reason, Rejection, Rule
    from pointsman.runnable import RouterRunnable
    from pointsman.table import Table

__all__ = [
    "ArtifactError",
    "Budget",
    "Candidate",
    "Capability",
    "ChatPointsman",
    "Decision",
    "EmbedderError",
    "EnergyModel",
    "EvalError",
    "EvaluationReport",
    "ExpertSpec",
    "ExpertState",
    "GatewayError",
    "LatencyModel",
    "PoolView",
    "Price",
    "Reason",
    "Rejection",
    "Router",
    "RouterError",
    "RouterRow",
    "RouterRunnable",
    "Rule",
    "SettingsError",
    "Source",
    "Table",
    "TableError",
    "TrainingError",
    "Weights",
    "decision_to_dict",
    "explain",
    "load_experts",
]

#: Where each name of the API is defined.
_MODULES: Final = MappingProxyType(
    {
        "pointsman.evals.errors": ("EvalError", "TableError"),
        "pointsman.evals.report": ("EvaluationReport", "RouterRow"),
        "pointsman.experts.spec": (
            "Capability",
            "EnergyModel",
            "ExpertSpec",
            "ExpertState",
            "LatencyModel",
            "PoolView",
            "Price",
            "Source",
        ),
        "pointsman.gateway.clients.http": ("GatewayError",),
        "pointsman.gateway.clients.langchain": ("ChatPointsman",),
        "pointsman.gateway.settings.base": ("SettingsError",),
        "pointsman.gateway.wire.decision": ("decision_to_dict", "explain"),
        "pointsman.router": ("Router", "load_experts"),
        "pointsman.routers.budget": ("Budget", "Weights"),
        "pointsman.routers.errors": ("ArtifactError", "EmbedderError", "RouterError", "TrainingError"),
        "pointsman.routers.types": ("Candidate", "Decision", "Reason", "Rejection", "Rule"),
        "pointsman.runnable": ("RouterRunnable",),
        "pointsman.table": ("Table",),
    }
)

# A type checker would take the function for any name, and see no misspelt one.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        module = next((module for module, names in _MODULES.items() if name in names), None)
        if module is None:
            raise AttributeError(f"module 'pointsman' has no attribute {name!r}")
        try:
            return getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            if error.name is not None and error.name.split(".")[0] in _LANGCHAIN:
                raise ImportError(f"{name} needs LangChain: pip install 'pointsman[langchain]'") from error
            raise


#: Packages that the extra `langchain` brings.
_LANGCHAIN: Final = frozenset({"httpx", "langchain_core", "langchain_openai"})


def __dir__() -> list[str]:
    return [*globals(), *__all__]
