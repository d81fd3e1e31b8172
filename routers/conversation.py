"""Conversations: what earlier turns say about the present one (RMoE's recurrence, arXiv 2408.06793, over turns).

    r_t = (1 - g_t) r_{t-1} + g_t a_t,     g_t = s_t² / (s_t² + ρ S_{t-1}),     S_t = min(1, s_t² + ρ S_{t-1})

a_t is the assessment of turn t alone, r_t what the decision sees: posterior, predicted quality and answer lengths, all
of them linear. s_t in [0, 1] is how much the turn says by itself: the certainty of its posterior times how much text
there is. "And in C?" says little and inherits; a new question of its own takes over. ρ = 0.5 halves the say of what
came before with every turn. The gate is computed, not learned: no public table holds routed conversations.

Everything is derived from the conversation's own turns, so that no two conversations can touch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pointsman.routers.classifiers.uncertainty import entropy_nats
from pointsman.routers.types import AnswerLengths, Assessment, Classification, Qualities

#: What is left of the say of earlier turns, per turn.
DECAY = 0.5
#: Words at which a turn says half of what a long one with the same posterior says.
HALF_SAY_WORDS = 4
#: More words than these say no more; they are not counted.
_MOST_WORDS = 10_000
#: What an uncertain turn says, against a certain one with the same posterior.
UNCERTAIN_SAY = 0.25


@dataclass(frozen=True, slots=True)
class Turn:
    """A user's turn: its text, and the assessment of that text alone."""

    text: str
    assessment: Assessment


def recall(turns: Sequence[Turn]) -> Assessment:
    """What the decision sees after these turns, the present one last; of one turn, its own assessment.

    Turns assessed by another artefact than the present one, or for other experts, are forgotten.
    """
    seen = turns[-1].assessment
    kept = [turn for turn in turns if _comparable(turn.assessment, seen)]
    state, weight = kept[0].assessment, _say(kept[0])
    for turn in kept[1:]:
        say, before = _say(turn), DECAY * weight
        weight = min(1.0, say + before)
        gate = say / (say + before) if say + before > 0 else 0.0
        state = _blend(state, turn.assessment, gate)
    return state


def _comparable(one: Assessment, other: Assessment) -> bool:
    return (
        one.artifact_hash == other.artifact_hash
        and one.quality.experts == other.quality.experts
        and one.completion_tokens.experts == other.completion_tokens.experts
    )


def _say(turn: Turn) -> float:
    """s² of the turn."""
    seen = turn.assessment.classification
    largest = math.log(max(len(seen.posterior), 2))
    certainty = max(0.0, 1.0 - seen.entropy / largest) if math.isfinite(seen.entropy) else 0.0
    words = len(turn.text.split(maxsplit=_MOST_WORDS))
    say = certainty * (UNCERTAIN_SAY if seen.uncertain else 1.0) * words / (words + HALF_SAY_WORDS)
    return say * say


def _blend(before: Assessment, now: Assessment, gate: float) -> Assessment:
    keep = 1.0 - gate
    # The turn with the larger weight gives the category and whether it is certain.
    lead = (now if gate >= 0.5 else before).classification
    earlier, later = before.classification.posterior, now.classification.posterior
    posterior = {name: keep * earlier[name] + gate * later[name] for name in later}
    quality, lengths = now.quality, now.completion_tokens
    return Assessment(
        Classification(posterior, lead.category, entropy_nats(posterior.values()), lead.out_of_scope, lead.uncertain),
        Qualities(
            quality.experts,
            keep * before.quality.mean + gate * quality.mean,
            keep * before.quality.std + gate * quality.std,
            quality.sources,
        ),
        AnswerLengths(
            lengths.experts,
            keep * before.completion_tokens.mean + gate * lengths.mean,
            keep * before.completion_tokens.q95 + gate * lengths.q95,
        ),
        now.artifact_hash,
    )
