"""Quality of an expert that no artefact knows: the operator's stated prior, else a guess from its size that says so.

Stated:     q = Σ_c p(c|x) prior[c], with prior["*"] for categories the operator left out.
Estimated:  q = 1 / (1 + exp(-(-0.98 + 0.355 ln P))),  P = total parameters in billions.

The two constants pass through 0.44 at 8 B and 0.63 at 70 B, the accuracies of Llama-3.1-8B and -70B on MMLU-Pro. It is
a rule of thumb that ranks sizes; an expert of unknown size counts as 8 B.
"""

from __future__ import annotations

import math

from pointsman.experts.spec import ExpertSpec, Source
from pointsman.routers.types import Classification, Quality

SIZE_INTERCEPT = -0.98
SIZE_SLOPE = 0.355
UNKNOWN_SIZE_B = 8.0
ANY_CATEGORY = "*"


def quality_prior(spec: ExpertSpec, classification: Classification) -> Quality:
    """Quality of an expert from what its spec says; `stated` or `estimated`, std NaN."""
    stated = spec.quality_prior
    if stated:
        mean = weight = 0.0
        for category, prior in stated.items():
            if category != ANY_CATEGORY:
                probability = classification.posterior.get(category, 0.0)
                mean += probability * prior
                weight += probability
        default = stated.get(ANY_CATEGORY)
        if default is not None:
            return Quality(mean + (1.0 - weight) * default, math.nan, Source.STATED)
        # A prior for a few categories only speaks for prompts of those categories.
        if weight > 0.5:
            return Quality(mean / weight, math.nan, Source.STATED)
    return quality_from_size(spec.params_total_b)


def quality_from_size(params_total_b: float | None) -> Quality:
    """The size rule above. Never more than an estimate."""
    size = params_total_b if params_total_b is not None and params_total_b > 0 else UNKNOWN_SIZE_B
    return Quality(1.0 / (1.0 + math.exp(-(SIZE_INTERCEPT + SIZE_SLOPE * math.log(size)))), math.nan, Source.ESTIMATED)
