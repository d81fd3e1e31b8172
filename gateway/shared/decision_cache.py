"""The decision cache: the assessment of a prompt, per tenant, first in this process, then in Redis.

An `Assessment` is the costly half of a decision and depends on the prompt alone. The other half (budgets, load, health)
is decided for every request. So a cached assessment can never break a cap or select an expert that is down.
"""

from __future__ import annotations

import math

import numpy as np
import orjson

from pointsman.experts.spec import Source
from pointsman.gateway.shared.two_level_cache import TwoLevelCache, key_of
from pointsman.routers.types import AnswerLengths, Assessment, Classification, Figures, Qualities

#: Of an entry in Redis; another replica may run another version.
_VERSION = 3


class DecisionCache(TwoLevelCache[Assessment]):
    """Assessments by tenant, artefact and text."""

    kind = "assessment"

    @staticmethod
    def key(tenant: str, artifact_hash: str, text: str) -> str:
        """A key that holds the tenant, and no readable text."""
        return key_of(tenant.encode(), artifact_hash.encode(), text.encode("utf-8", "surrogatepass"))

    @staticmethod
    def encode(value: Assessment) -> bytes:
        """As JSON."""
        kind, quality, lengths = value.classification, value.quality, value.completion_tokens
        return orjson.dumps(
            {
                "v": _VERSION,
                "posterior": dict(kind.posterior),
                "category": kind.category,
                "entropy": kind.entropy,
                "out_of_scope": kind.out_of_scope,
                "uncertain": kind.uncertain,
                "unmeasured": kind.unmeasured,
                "unread_language": kind.unread_language,
                # orjson writes NaN as null; `_figures` turns it back.
                "quality": [quality.experts, quality.mean.tolist(), quality.std.tolist(), quality.sources],
                "tokens": [lengths.experts, lengths.mean.tolist(), lengths.q95.tolist()],
                "artifact_hash": value.artifact_hash,
            }
        )

    @staticmethod
    def decode(raw: bytes) -> Assessment | None:
        """None for anything that is not ours, such as an entry of another version."""
        try:
            data = orjson.loads(raw)
            if data["v"] != _VERSION:
                return None
            experts, mean, std, sources = data["quality"]
            known, expected, q95 = data["tokens"]
            return Assessment(
                classification=Classification(
                    posterior=data["posterior"],
                    category=data["category"],
                    entropy=math.nan if data["entropy"] is None else data["entropy"],
                    out_of_scope=data["out_of_scope"],
                    uncertain=data["uncertain"],
                    unmeasured=data["unmeasured"],
                    unread_language=data["unread_language"],
                ),
                quality=Qualities(tuple(experts), _figures(mean), _figures(std), tuple(map(Source, sources))),
                completion_tokens=AnswerLengths(tuple(known), _figures(expected), _figures(q95)),
                artifact_hash=data["artifact_hash"],
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return None


def _figures(values: list[float | None]) -> Figures:
    return np.array(values, dtype=np.float64)
