"""Continuous batching for one model: prompts are read in slices, and all sequences advance by one token a step."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pointsman.experts.embedded.decoder import Decoder
from pointsman.experts.embedded.requests import Generation, GenerationRefused
from pointsman.experts.embedded.sampling import choose
from pointsman.experts.embedded.text import TextCodec, TextStream

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Prompt tokens read per step: long enough for the matrix products, short enough that others do not wait for long.
_PREFILL_TOKENS = 128
_MAX_ROWS = 16
_MAX_WAITING = 64


@dataclass(frozen=True, slots=True)
class AnswerChunk:
    """What a step added to an answer; `finish_reason` is set in the last piece."""

    text: str
    finish_reason: str | None = None


@dataclass(slots=True, eq=False)
class Sequence:
    """One answer in the making.

    Attributes:
        generation: What was asked.
        pieces: Where its text goes.
        completion_tokens: Tokens generated so far.
        cancelled: Set by who asked, to be dropped before the next step.
    """

    generation: Generation
    stream: TextStream
    rng: np.random.Generator
    pieces: asyncio.Queue[AnswerChunk] = field(default_factory=asyncio.Queue)
    completion_tokens: int = 0
    cancelled: bool = False
    read: int = 0
    last_token: int = 0


class ModelRunner:
    """A loaded model and the sequences it works on. Everything runs on the event loop's thread.

    Args:
        folder: The checkpoint.

    Raises:
        CheckpointError: It cannot be run.
    """

    def __init__(self, folder: Path) -> None:
        self._decoder = Decoder.load(folder)
        self.codec = TextCodec(folder)
        self.config = self._decoder.config
        self._cache = self._decoder.new_cache()
        self._decoding: list[Sequence] = []
        #: The sequence whose prompt is being read; it holds the cache's last row.
        self._reading: Sequence | None = None
        self._waiting: deque[Sequence] = deque()

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._decoding or self._reading or self._waiting)

    @property
    def sequences(self) -> int:
        """Sequences in the making or waiting."""
        return len(self._decoding) + (self._reading is not None) + len(self._waiting)

    def submit(self, generation: Generation) -> Sequence:
        """Put a request in line.

        Raises:
            RequestRefused: The line is full (429).
        """
        if len(self._waiting) >= _MAX_WAITING:
            raise GenerationRefused("too many requests are waiting for this model", code="queue_full", status=429)
        sequence = Sequence(generation, TextStream(generation.stops), np.random.default_rng(generation.sampling.seed))
        self._waiting.append(sequence)
        return sequence

    def step(self) -> None:
        """Read a slice of one prompt, then advance every sequence by a token."""
        self._drop_cancelled()
        if self._reading is None and self._waiting and len(self._decoding) < _MAX_ROWS:
            self._reading = self._waiting.popleft()
            self._cache.add()
        if self._reading is not None:
            self._read_prompt(self._reading)
        if self._decoding:
            tokens = np.array([[sequence.last_token] for sequence in self._decoding])
            logits = self._decoder.forward(tokens, self._cache, slice(0, len(tokens)))
            # From the last row, because a finished sequence closes its gap.
            for row in range(len(tokens) - 1, -1, -1):
                if self._accept(self._decoding[row], logits[row]):
                    del self._decoding[row]
                    self._cache.remove(row)

    def _read_prompt(self, sequence: Sequence) -> None:
        prompt, row = sequence.generation.prompt, len(self._decoding)
        part = prompt[sequence.read : sequence.read + _PREFILL_TOKENS]
        logits = self._decoder.forward(np.array([part]), self._cache, slice(row, row + 1))
        sequence.read += len(part)
        if sequence.read == len(prompt):
            self._reading = None
            if self._accept(sequence, logits[0]):
                self._cache.remove(row)
            else:
                self._decoding.append(sequence)

    def _accept(self, sequence: Sequence, logits: NDArray[np.float32]) -> bool:
        """Choose the next token, send its text; whether the sequence is over."""
        generation = sequence.generation
        token = choose(logits, generation.sampling, sequence.rng)
        sequence.completion_tokens += 1
        sequence.last_token = token
        if token in self.config.eos_ids and not generation.ignore_eos:
            return self._finish(sequence, "", "stop")
        text = sequence.stream.push(self.codec.bytes_of(token))
        if sequence.stream.stopped:
            return self._finish(sequence, text, "stop")
        if sequence.completion_tokens >= generation.max_tokens:
            return self._finish(sequence, text, "length")
        if text:
            sequence.pieces.put_nowait(AnswerChunk(text))
        return False

    @staticmethod
    def _finish(sequence: Sequence, text: str, reason: str) -> bool:
        text += sequence.stream.finish()
        # What was held back may complete a stop string only now.
        sequence.pieces.put_nowait(AnswerChunk(text, "stop" if sequence.stream.stopped else reason))
        return True

    def _drop_cancelled(self) -> None:
        self._waiting = deque(sequence for sequence in self._waiting if not sequence.cancelled)
        if self._reading is not None and self._reading.cancelled:
            self._cache.remove(len(self._decoding))
            self._reading = None
        for row in range(len(self._decoding) - 1, -1, -1):
            if self._decoding[row].cancelled:
                del self._decoding[row]
                self._cache.remove(row)
