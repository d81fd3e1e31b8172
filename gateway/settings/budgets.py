"""Settings of the operator's own budget: one key per cap and weight of the table in `routers/budget.py`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field, create_model

from pointsman.gateway.settings.base import Node, NonNegative
from pointsman.routers.budget import CAPS, WEIGHTS, Budget, Cap, Weight, Weights

_BY_DEFAULT: Final = Weights()


def cap_settings(caps: Iterable[Cap]) -> type[Node]:
    """A branch with one key per cap."""
    keys: dict[str, Any] = {cap.name: (_values(cap) | None, Field(None, description=cap.help)) for cap in caps}
    return create_model("CapSettings", __base__=Node, **keys)


def weight_settings(weights: Iterable[Weight]) -> type[Node]:
    """A branch with one key per weight."""
    keys: dict[str, Any] = {
        weight.name: (NonNegative, Field(getattr(_BY_DEFAULT, weight.name, 0.0), description=weight.help))
        for weight in weights
    }
    said = "Prices of what is not capped: how much predicted quality one unit of a normalised constraint is worth."
    return create_model("WeightSettings", __base__=Node, __doc__=said, **keys)


def _values(cap: Cap) -> Any:
    """The values that may be stated, the same as in a request."""
    at_least, above = (0, None) if cap.zero else (None, 0)
    return Annotated[float, Field(ge=at_least, gt=above, le=cap.most, allow_inf_nan=False)]


if TYPE_CHECKING:
    # A type checker takes no base class and no annotation that is made at run time.
    class CapSettings(Node):
        """The keys of `cap_settings(CAPS)`."""

    class WeightSettings(Node):
        """The keys of `weight_settings(WEIGHTS)`."""
else:
    CapSettings = cap_settings(CAPS)
    WeightSettings = weight_settings(WEIGHTS)


class BudgetSettings(CapSettings):
    """What holds for callers who state nothing themselves."""

    weights: WeightSettings = WeightSettings()
    """Prices of what is not capped."""
    local_only: bool = False
    """Keep every prompt on your own hardware. Callers cannot lift it."""

    def budget(self) -> Budget:
        """The same as the decision reads it."""
        caps: dict[str, Any] = {cap.name: getattr(self, cap.name) for cap in CAPS}
        return Budget(**caps, weights=Weights(**self.weights.model_dump()), local_only=self.local_only)

    def overridden(self, by: BudgetSettings) -> BudgetSettings:
        """The same with what others state in its place; what keeps prompts on own hardware, they do not lift."""
        stated = {name: getattr(by, name) for name in by.model_fields_set}
        if "weights" in stated:
            weights = {name: getattr(by.weights, name) for name in by.weights.model_fields_set}
            stated["weights"] = self.weights.model_copy(update=weights)
        stated["local_only"] = self.local_only or by.local_only
        return self.model_copy(update=stated)
