"""Conversations: what earlier turns say about the present one (RMoE's recurrence, arXiv 2408.06793, over turns).

    r_t = (1 - g_t) r_{t-1} + g_t a_t,     g_t = s_t² / (s_t² + ρ S_{t-1}),     S_t = min(1, s_t² + ρ S_{t-1})

a_t is the assessment of turn t alone, r_t what the decision sees: posterior, predicted quality and answer lengths, all
of them linear. s_t in [0, 1] is how much the turn says by itself: the certainty of its posterior times how much text
there is. "And in C?" says little and inherits. ρ = 0.5 halves the say of what came before with every turn. A turn that
leans on nothing (`reading/follow_ups.py`) is a question of its own and takes over: s_t is then the amount of text
alone, and ρ = 0.05. The gate is computed, not learned: no public table holds routed conversations.

Everything is derived from the conversation's own turns, so that no two conversations can touch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pointsman.routers.classifiers.uncertainty import entropy_nats
from pointsman.routers.reading.asked import asked_of
from pointsman.routers.reading.follow_ups import leans, words_of
from pointsman.routers.types import AnswerLengths, Assessment, Classification, Qualities

#: What is left of the say of earlier turns, per turn.
DECAY = 0.5
#: Words at which a turn says half of what a long one with the same posterior says.
HALF_SAY_WORDS = 4
#: What a turn for a generalist says where it does not stand alone, against one for a specialist.
UNCERTAIN_SAY = 0.25
#: What a follow-up says that a specialist would take.
LEANING_SAY = 0.5
#: Words from which on a turn that leans on nothing stands alone; where the classifier is not sure what it is, more.
FEWEST_WORDS = 3
UNSURE_FEWEST_WORDS = 5
#: What is left of the say of earlier turns at a turn that stands alone.
ALONE = 0.05
#: Categories whose turns are about the conversation itself ("repeat that").
ABOUT_THE_CONVERSATION = frozenset({"meta"})


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
    state, (weight, _) = kept[0].assessment, _say(kept[0])
    for turn in kept[1:]:
        say, left = _say(turn)
        before = left * weight
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


def _say(turn: Turn) -> tuple[float, float]:
    """s² of the turn, and what is left of the say of those before it."""
    seen = turn.assessment.classification
    text = asked_of(turn.text)
    words = words_of(text)
    say = words / (words + HALF_SAY_WORDS)
    leaning = seen.category in ABOUT_THE_CONVERSATION or leans(text)
    if not leaning and words >= (UNSURE_FEWEST_WORDS if seen.uncertain else FEWEST_WORDS):
        return say * say, ALONE
    largest = math.log(max(len(seen.posterior), 2))
    certainty = max(0.0, 1.0 - seen.entropy / largest) if math.isfinite(seen.entropy) else 0.0
    if seen.for_generalist:
        certainty *= UNCERTAIN_SAY
    elif leaning:
        certainty *= LEANING_SAY
    say *= certainty
    return say * say, DECAY


def _blend(before: Assessment, now: Assessment, gate: float) -> Assessment:
    keep = 1.0 - gate
    # The turn with the larger weight gives the category and whether it is certain.
    lead = (now if gate >= 0.5 else before).classification
    earlier, later = before.classification.posterior, now.classification.posterior
    posterior = {name: keep * earlier[name] + gate * later[name] for name in later}
    quality, lengths = now.quality, now.completion_tokens
    return Assessment(
        Classification(
            posterior,
            lead.category,
            entropy_nats(posterior.values()),
            lead.out_of_scope,
            lead.uncertain,
            lead.unmeasured,
            lead.unread_language,
        ),
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
