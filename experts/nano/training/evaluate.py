"""Held-out loss in bits per byte: what a model pays to encode a text, independent of its tokenizer."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812  (the name everybody uses)

from pointsman.experts.nano.training.corpora import DOMAINS, CorpusDocument, Split

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from pointsman.experts.nano.training.model import NanoModel

_EOT_ID = 0


def sample_texts(
    documents: Iterable[CorpusDocument], split: Split, bytes_per_domain: int, seed: int
) -> dict[str, list[str]]:
    """Domain -> whole documents of `split` in a seeded order, until `bytes_per_domain` is reached."""
    by_domain: dict[str, list[str]] = {domain: [] for domain in DOMAINS}
    for document in documents:
        if document.split is split:
            by_domain[document.domain].append(document.text)
    picked = {}
    for domain, texts in by_domain.items():
        random.Random(f"{seed}:{domain}:{split}").shuffle(texts)
        total, chosen = 0, []
        for text in texts:
            room = bytes_per_domain - total
            if room <= 0:
                break
            # A long file is cut so that one of them cannot make up half of the sample.
            piece = text.encode()[: min(room, 20_000)].decode(errors="ignore")
            chosen.append(piece)
            total += len(piece.encode())
        picked[domain] = chosen
    return picked


def windows_of(texts: Sequence[str], tokenizer: Tokenizer, window_tokens: int) -> tuple[list[list[int]], int]:
    """Token windows, each to be scored from a fresh end-of-text token, and the bytes they stand for."""
    windows: list[list[int]] = []
    for encoding in tokenizer.encode_batch(list(texts)):
        ids = encoding.ids
        windows.extend(ids[start : start + window_tokens - 1] for start in range(0, len(ids), window_tokens - 1))
    return windows, sum(len(text.encode()) for text in texts)


@torch.no_grad()
def bits_per_byte(
    model: NanoModel, texts: Sequence[str], tokenizer: Tokenizer, *, window_tokens: int = 1024, batch: int = 8
) -> float:
    """Bits per UTF-8 byte of `texts`; NaN when there is no text.

    Every document is cut into windows of `window_tokens` that do not see one another.
    """
    windows, total_bytes = windows_of(texts, tokenizer, window_tokens)
    if not total_bytes:
        return math.nan
    device = model.embedding.weight.device
    nats = 0.0
    windows.sort(key=len)
    for start in range(0, len(windows), batch):
        group = windows[start : start + batch]
        longest = max(map(len, group))
        inputs = torch.full((len(group), longest), _EOT_ID, dtype=torch.long)
        targets = torch.full((len(group), longest), -100, dtype=torch.long)
        for row, ids in enumerate(group):
            inputs[row, 1 : len(ids)] = torch.tensor(ids[:-1], dtype=torch.long)
            targets[row, : len(ids)] = torch.tensor(ids, dtype=torch.long)
        with torch.autocast(device.type, torch.bfloat16):
            logits, _ = model(inputs.to(device), torch.bfloat16)
        flat = logits.flatten(0, 1).float()
        nats += float(F.cross_entropy(flat, targets.to(device).flatten(), ignore_index=-100, reduction="sum"))
    return nats / math.log(2) / total_bytes
