"""Loss of every nano expert on a text, in bits per byte. Runs on the embedded runtime: numpy, no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pointsman.experts.embedded.decoder import Decoder
from pointsman.experts.embedded.text import TextCodec
from pointsman.experts.nano import EOT, MODEL_NAMES, MODELS_DIR
from pointsman.experts.nano.tokenizer import render_chat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Tokens of one forward pass; bounds the memory that the logits take (16 kB a token).
_BATCH_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class ScoringText:
    """A text to score.

    Attributes:
        context: Comes before it and is not counted.
        text: What is counted.
    """

    context: str
    text: str


def score_texts(
    texts: Sequence[str],
    models: Path = MODELS_DIR,
    names: Sequence[str] = MODEL_NAMES,
    advance: Callable[[int], None] | None = None,
) -> dict[str, Floats]:
    """Bits per UTF-8 byte of every expert on every text, from a fresh end-of-text token.

    Args:
        texts: The texts; one longer than the context counts up to where the context ends.
        models: Folder with the checkpoints.
        names: Which of them.
        advance: Called with the number of texts just scored, for a progress bar.

    Returns:
        Model name -> [len(texts)] bits per byte; NaN for an empty text.

    Raises:
        CheckpointError: A checkpoint is missing or cannot be run.
    """
    return _score([ScoringText(EOT, text) for text in texts], models, names, advance)


def score_answers(
    pairs: Sequence[tuple[str, str]],
    models: Path = MODELS_DIR,
    names: Sequence[str] = MODEL_NAMES,
    advance: Callable[[int], None] | None = None,
) -> dict[str, Floats]:
    """Bits per UTF-8 byte of every expert on reference answers, given the prompt as the user turn of a chat.

    Args:
        pairs: (prompt, answer).
        models: As in `score_texts`.
        names: As in `score_texts`.
        advance: As in `score_texts`.
    """
    scored = [
        ScoringText(render_chat([("user", prompt)], add_generation_prompt=True), answer) for prompt, answer in pairs
    ]
    return _score(scored, models, names, advance)


def quality(bits_per_byte: Floats) -> Floats:
    """The score in [0, 1] of the outcome table: `2 ** -bits`, the geometric mean probability of a byte."""
    result: Floats = np.exp2(-bits_per_byte)
    return result


def _score(
    scored: Sequence[ScoringText], models: Path, names: Sequence[str], advance: Callable[[int], None] | None
) -> dict[str, Floats]:
    results = {}
    for name in names:
        decoder, codec = Decoder.load(models / name), TextCodec(models / name)
        results[name] = _score_with(decoder, codec, scored, advance)
    return results


def _score_with(
    decoder: Decoder, codec: TextCodec, scored: Sequence[ScoringText], advance: Callable[[int], None] | None
) -> Floats:
    bits = np.full(len(scored), np.nan)
    limit = decoder.config.context_tokens
    sequences = []
    for index, item in enumerate(scored):
        context, ids = codec.encode(item.context), codec.encode(item.text)
        ids = ids[: max(0, limit + 1 - len(context))]
        counted = sum(len(codec.bytes_of(token)) for token in ids)
        if counted:
            sequences.append((index, context + ids, len(context), counted))
    sequences.sort(key=lambda sequence: len(sequence[1]))
    for batch in _batches(sequences):
        nats = _nats(decoder, [(ids, start) for _, ids, start, _ in batch])
        for (index, _, _, counted), value in zip(batch, nats, strict=True):
            bits[index] = value / math.log(2) / counted
        if advance is not None:
            advance(len(batch))
    return bits


_Sequence = tuple[int, list[int], int, int]


def _batches(sequences: list[_Sequence]) -> list[list[_Sequence]]:
    """Group sequences of growing length so that every padded group holds about `_BATCH_TOKENS`."""
    batches: list[list[_Sequence]] = []
    for sequence in sequences:
        if batches and (len(batches[-1]) + 1) * len(sequence[1]) <= _BATCH_TOKENS:
            batches[-1].append(sequence)
        else:
            batches.append([sequence])
    return batches


def _nats(decoder: Decoder, sequences: list[tuple[list[int], int]]) -> list[float]:
    """The summed loss of each sequence's tokens from its start on."""
    longest = max(len(ids) for ids, _ in sequences) - 1
    inputs = np.zeros((len(sequences), longest), np.int64)
    for row, (ids, _) in enumerate(sequences):
        inputs[row, : len(ids) - 1] = ids[:-1]
    cache = decoder.new_cache()
    for _ in sequences:
        cache.add()
    # What pads a row comes after its tokens, where a causal model cannot see it.
    logits = decoder.forward(inputs, cache, slice(0, len(sequences)), all_positions=True)
    losses = []
    for row, (ids, start) in enumerate(sequences):
        own = logits[row, start - 1 : len(ids) - 1].astype(np.float64)
        targets = np.array(ids[start:])
        peak = own.max(-1, keepdims=True)
        normaliser = np.log(np.exp(own - peak).sum(-1)) + peak[:, 0]
        losses.append(float((normaliser - own[np.arange(len(targets)), targets]).sum()))
    return losses
