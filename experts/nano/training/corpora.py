"""The four domains as documents, each with a deterministic train, validation and held-out part.

Whole documents (files, speeches, abstracts, questions, blocks of consecutive scenes) fall on one side by the hash of
their identity, so that no held-out text shares a document with a training text and every run splits alike.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sysconfig
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

DOMAINS = ("code", "math", "clinical", "prose")
#: Folders and files of the standard library that are tests, installed packages, or tables rather than written code.
_SKIPPED_PARTS = frozenset(
    {"test", "tests", "idle_test", "site-packages", "dist-packages", "encodings", "pydoc_data", "__pycache__"}
)
_CODE_CAP_BYTES = 9_000_000
#: Consecutive chunks of the drama text continue one another, so they are split in blocks of this many.
_DRAMA_BLOCK_ROWS = 16
_BUCKETS = 40


class Split(StrEnum):
    """Which part a document belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    HELDOUT = "heldout"


@dataclass(frozen=True, slots=True)
class CorpusDocument:
    """One text of a domain.

    Attributes:
        domain: One of `DOMAINS`.
        source: Where it comes from: a corpus name, or a path inside the standard library.
        identity: What the split is hashed from.
        text: The text itself.
        split: The part it belongs to.
    """

    domain: str
    source: str
    identity: str
    text: str
    split: Split


def shared_root() -> Path:
    """The folder that holds `data/corpora`: `POINTSMAN_SHARED`, else `../shared` beside the repository."""
    default = Path(__file__).resolve().parents[3].parent / "shared"
    return Path(os.environ.get("POINTSMAN_SHARED", default))


def assign_split(identity: str, heldout_buckets: int = 3, validation_buckets: int = 1) -> Split:
    """The part that an identity falls into: 3 of 40 hash buckets are held out, 1 of 40 validates."""
    bucket = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big") % _BUCKETS
    if bucket < heldout_buckets:
        return Split.HELDOUT
    return Split.VALIDATION if bucket < heldout_buckets + validation_buckets else Split.TRAIN


def load_documents(shared: Path | None = None) -> list[CorpusDocument]:
    """All documents of all domains, in a fixed order.

    Args:
        shared: The folder that holds `data/corpora`; `shared_root()` when None.

    Raises:
        FileNotFoundError: The corpora are not there.
    """
    corpora = (shared or shared_root()) / "data" / "corpora"
    return [*load_code(), *_load_math(corpora), *_load_clinical(corpora), *_load_prose(corpora)]


def load_code(cap_bytes: int = _CODE_CAP_BYTES) -> list[CorpusDocument]:
    """The running interpreter's standard library, file by file in sorted order, up to `cap_bytes` of text."""
    root = Path(sysconfig.get_paths()["stdlib"])
    documents, total = [], 0
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if _SKIPPED_PARTS & set(name.split("/")) or path.name.startswith("_sysconfigdata"):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        total += len(text.encode())
        if total > cap_bytes:
            break
        if text.strip():
            documents.append(CorpusDocument("code", name, name, text, assign_split(name)))
    return documents


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _load_math(corpora: Path) -> list[CorpusDocument]:
    train = [
        CorpusDocument("math", "math-train", row["text"], row["text"], assign_split(row["text"], heldout_buckets=0))
        for row in _rows(corpora / "math-train.jsonl.gz")
    ]
    test = [
        CorpusDocument("math", "math-test", row["text"], row["text"], Split.HELDOUT)
        for row in _rows(corpora / "math-test.jsonl.gz")
    ]
    return train + test


def _load_clinical(corpora: Path) -> list[CorpusDocument]:
    return [
        CorpusDocument("clinical", "clinical", row["text"], row["text"], assign_split(row["text"]))
        for row in _rows(corpora / "clinical.jsonl.gz")
    ]


def _load_prose(corpora: Path) -> list[CorpusDocument]:
    documents = []
    for index, row in enumerate(_rows(corpora / "drama.jsonl.gz")):
        identity = f"drama block {index // _DRAMA_BLOCK_ROWS}"
        documents.append(CorpusDocument("prose", "drama", identity, row["text"], assign_split(identity)))
    for row in _rows(corpora / "speeches.jsonl.gz"):
        identity = row.get("source", row["text"])
        documents.append(CorpusDocument("prose", "speeches", identity, row["text"], assign_split(identity)))
    return documents


def fingerprint(documents: list[CorpusDocument]) -> str:
    """SHA-256 over every text and its split, to say which data a model saw."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(f"{document.domain}\0{document.split}\0{document.text}\0".encode())
    return digest.hexdigest()
