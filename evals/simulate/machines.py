"""Where simulated calls are answered: machines that read prompts one after the other and write answers together."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np

from pointsman.experts.spec import ExpertSpec, LatencyModel

#: Answers that one machine writes together.
BATCH = 64

#: Spread of the time of one call around the model's (standard deviation of its logarithm).
_SPREAD = 0.2

#: A machine alone with one answer writes faster than the pool file says of a full batch: ML.ENERGY's median time per
#: token at a batch of 8 is 0.64 (Llama-3.1-8B) and 0.74 (70B) of that at 64.
_ALONE = 2 / 3


@dataclass(frozen=True, slots=True)
class AnswerTiming:
    """When an answer begins and how long it takes, in seconds from the call."""

    first_token_s: float
    last_token_s: float


class Machines:
    """The machines of one expert.

    Prompts are read one at a time on each machine, first come first served: compute-bound, so a queue forms under
    load. Answers are written in a batch that slows as it fills.

    Args:
        spec: The expert; its `max_concurrency` is what all its machines write together.
        seed: Of the spread of its times.
    """

    def __init__(self, spec: ExpertSpec, seed: int) -> None:
        model = spec.latency
        self._model = LatencyModel(0.0, 0.0, 0.0) if model is None else model
        self._most = spec.batch
        self._free_s = [0.0] * math.ceil(spec.batch / BATCH)
        self._rng = np.random.default_rng(seed)
        self._writing = 0

    def call(self, now_s: float, prompt_tokens: int, completion_tokens: float) -> AnswerTiming:
        """Take a call. `done` must follow when it is answered."""
        model = self._model
        slow, fast = np.exp(self._rng.normal(0.0, _SPREAD, 2)).tolist()
        begins_s = max(now_s, heapq.heappop(self._free_s))
        read_s = begins_s + prompt_tokens * model.prefill_ms_per_token / 1000
        heapq.heappush(self._free_s, read_s)
        self._writing += 1
        full = min(self._writing / self._most, 1.0)
        token_s = model.tpot_ms * (_ALONE + (1 - _ALONE) * full) * fast / 1000
        first_s = read_s - now_s + model.base_ms * slow / 1000
        return AnswerTiming(first_s, first_s + completion_tokens * token_s)

    def done(self) -> None:
        """An answer is complete."""
        self._writing -= 1
