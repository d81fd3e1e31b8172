"""A fitted router on disk: safetensors and a JSON manifest, never pickle.

    DIR/manifest.json         format, router id, hashes of the other files, training data, metrics, thresholds
    DIR/weights.safetensors   every array
    DIR/tokenizer.json        only where the embedder has a tokenizer of its own

The artefact hash is the SHA-256 of the manifest without that one field, written canonically; the manifest holds the
hashes of the other files, so it covers every byte. Loading needs numpy, safetensors and tokenizers alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save

from pointsman.routers.classifiers.knn import KnnClassifier
from pointsman.routers.classifiers.linear import LinearClassifier
from pointsman.routers.classifiers.mlp import MlpClassifier
from pointsman.routers.embed import StorableEmbedder, plain_embedder, restore_embedder
from pointsman.routers.embed.static import StaticEmbedder
from pointsman.routers.errors import ArtifactError, EmbedderError
from pointsman.routers.estimators.quality import BlendedQuality
from pointsman.routers.estimators.tokens import CompletionTokens
from pointsman.routers.evidence.policy import SequentialPolicy
from pointsman.routers.reading.spelling import SpellingCorrector
from pointsman.routers.two_stage import TwoStageRouter
from pointsman.routers.types import RouteRequest

FORMAT = 1
MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
TOKENIZER = "tokenizer.json"

#: The one that ships is 5 KB long.
_MOST_MANIFEST_BYTES = 16 * 1024 * 1024

#: The artefact that ships with the package, under the name `default`.
DEFAULT_NAME = "default"
DEFAULT_DIR = Path(__file__).parent / "default_artifact"
#: Router -> languages of artefacts that were written before manifests said.
_SHIPPED_LANGUAGES: Final = MappingProxyType({"pointsman-default/1": ("en",)})


@dataclass(frozen=True, slots=True)
class RouterParts:
    """Everything a router artefact holds.

    Attributes:
        name: Name and version of the router.
        embedder: Text to vector.
        classifier: Stage 1.
        quality: Predicted quality per expert.
        tokens: Answer lengths, None where the training data had none.
        evidence: Which expert to ask next after some answers, None where the training data had no answers.
        languages: Those that it was trained on, as ISO 639 names them; None where nobody says: then all are read.
        training: What it was trained on: tables with hashes and counts, seed, versions. JSON-able.
        metrics: Held-out figures. JSON-able; null where undefined.
    """

    name: str
    embedder: StorableEmbedder
    classifier: LinearClassifier | KnnClassifier | MlpClassifier
    quality: BlendedQuality
    tokens: CompletionTokens | None = None
    evidence: SequentialPolicy | None = None
    languages: tuple[str, ...] | None = None
    training: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    metrics: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def router(self, *, uncertain_to_generalist: bool = True) -> TwoStageRouter:
        """The router in memory; its hash is the one it has when saved."""
        return _assemble(self, str(_pack(self)[0]["artifact_hash"]), uncertain_to_generalist)


@dataclass(frozen=True, slots=True)
class LoadedArtifact:
    """A router together with what its manifest says, and the parts it is made of."""

    router: TwoStageRouter
    manifest: Mapping[str, Any]
    parts: RouterParts

    @property
    def evidence(self) -> SequentialPolicy | None:
        """Which expert to ask next after some answers."""
        return self.parts.evidence


def save_router(directory: Path, parts: RouterParts) -> str:
    """Write an artefact; the folder is made, files of an earlier one are replaced.

    Returns:
        The artefact hash.
    """
    manifest, files = _pack(parts)
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    (directory / MANIFEST).write_text(
        json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8"
    )
    return str(manifest["artifact_hash"])


def load_router(path_or_name: str | Path, *, uncertain_to_generalist: bool = True) -> TwoStageRouter:
    """The router of an artefact.

    Args:
        path_or_name: A folder, or `default` for the artefact shipped with the package.
        uncertain_to_generalist: Whether uncertain prompts go to generalists first.

    Raises:
        ArtifactError: It is absent, damaged, of another format, or needs what is not installed.
    """
    return load_artifact(path_or_name, uncertain_to_generalist=uncertain_to_generalist).router


def load_artifact(path_or_name: str | Path, *, uncertain_to_generalist: bool = True) -> LoadedArtifact:
    """The router of an artefact and its manifest. As `load_router`.

    Raises:
        ArtifactError: As `load_router`.
    """
    directory = _directory(path_or_name)
    manifest = read_manifest(directory)
    parts = _load_parts(directory, manifest)
    with reading(directory):
        router = _assemble(parts, str(manifest["artifact_hash"]), uncertain_to_generalist)
        if _weighs_little(manifest["embedder"]):
            _try(router)
    return LoadedArtifact(router, manifest, parts)


def load_parts(path_or_name: str | Path) -> RouterParts:
    """The parts of an artefact, to build another from.

    Raises:
        ArtifactError: As `load_router`.
    """
    directory = _directory(path_or_name)
    return _load_parts(directory, read_manifest(directory))


def installed_hash(path_or_name: str | Path) -> str:
    """The hash that an artefact has now, as its manifest says; nothing else is read.

    Raises:
        ArtifactError: As `load_router`.
    """
    return str(read_manifest(_directory(path_or_name))["artifact_hash"])


def default_embedder() -> StorableEmbedder:
    """The embedder of the packaged artefact.

    Raises:
        ArtifactError: As `load_router`.
    """
    return load_parts(DEFAULT_NAME).embedder


def _directory(path_or_name: str | Path) -> Path:
    return DEFAULT_DIR if str(path_or_name) == DEFAULT_NAME else Path(path_or_name)


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of an artefact, with its format and its own hash checked.

    Raises:
        ArtifactError: As `load_router`.
    """
    path = directory / MANIFEST
    if not path.exists():
        raise ArtifactError(f"no router artefact at {directory}: {MANIFEST} is missing")
    with reading(path):
        return _checked_manifest(path, read_json(path))


def read_json(path: Path) -> Any:
    """A manifest's JSON: strict, and no larger than a manifest is.

    Raises:
        OSError, ValueError, RecursionError: It cannot be read.
    """
    if not path.is_file():
        raise ValueError("it is no file")
    with path.open("rb") as file:
        text = file.read(_MOST_MANIFEST_BYTES + 1)
    if len(text) > _MOST_MANIFEST_BYTES:
        raise ValueError(f"it is longer than {_MOST_MANIFEST_BYTES} bytes")
    return json.loads(text.decode(), parse_constant=_no_number)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever is wrong with files of an artefact is an error of it, and a sentence.

    Raises:
        ArtifactError: In place of anything else.
    """
    try:
        yield
    except ArtifactError:
        raise
    except EmbedderError as error:
        raise ArtifactError(f"{path}: {error}") from error
    except Exception as error:
        # What anybody may have written is read by several libraries, and some of them raise Exception itself.
        why = str(error)[:200] if isinstance(error, OSError | ValueError) else repr(error)[:200]
        raise ArtifactError(f"{path} cannot be read: {why}") from error


def _weighs_little(embedder: Mapping[str, Any]) -> bool:
    """Whether embedding loads no model."""
    return _weighs_little(embedder["inner"]) if embedder["kind"] == "format" else "static" in embedder["kind"]


def _try(router: TwoStageRouter) -> None:
    """Assess a prompt: arrays that do not fit together must fail here, and not with the first request.

    Raises:
        ValueError: What comes of it is no assessment.
    """
    posterior = router.assess(RouteRequest("try", "a prompt", 2)).classification.posterior
    if not posterior or not all(math.isfinite(share) for share in posterior.values()):
        raise ValueError("its classifier gives no probabilities")


def _checked_manifest(path: Path, manifest: Any) -> dict[str, Any]:
    if not isinstance(manifest, dict) or "format" not in manifest:
        raise ArtifactError(f"{path} is not a router manifest")
    if manifest["format"] != FORMAT:
        raise ArtifactError(f"{path} has format {manifest['format']!r}; this version reads format {FORMAT}")
    if not isinstance(manifest.get("files"), dict) or WEIGHTS not in manifest["files"]:
        raise ArtifactError(f"{path} does not name {WEIGHTS} among its files")
    if manifest.get("artifact_hash") != _manifest_hash(manifest):
        raise ArtifactError(f"{path} was changed after it was written: its artefact hash does not hold")
    return manifest


def _load_parts(directory: Path, manifest: Mapping[str, Any]) -> RouterParts:
    for name, expected in manifest["files"].items():
        with reading(directory / MANIFEST):
            _check_file(directory, name, expected)
    with reading(directory / WEIGHTS):
        tensors = load_file(directory / WEIGHTS)
    try:
        return _unpack(manifest, tensors, directory)
    except EmbedderError as error:
        raise ArtifactError(f"{directory}: {error}") from error
    except Exception as error:
        # As in `reading`.
        why = repr(error)[:200]
        raise ArtifactError(f"{directory / MANIFEST} and {WEIGHTS} do not fit together: {why}") from error


def _assemble(parts: RouterParts, artifact_hash: str, uncertain_to_generalist: bool) -> TwoStageRouter:
    languages = _SHIPPED_LANGUAGES.get(parts.name) if parts.languages is None else parts.languages
    return TwoStageRouter(
        id=parts.name,
        artifact_hash=artifact_hash,
        embedder=parts.embedder,
        classifier=parts.classifier,
        quality=parts.quality,
        tokens=parts.tokens,
        uncertain_to_generalist=uncertain_to_generalist,
        spelling=_spelling(parts.embedder) if languages is not None and "en" in languages else None,
        languages=languages,
    )


def _spelling(embedder: StorableEmbedder) -> SpellingCorrector | None:
    """What mends slips before words are looked up; other embedders read letters or whole sentences."""
    plain = plain_embedder(embedder)
    return SpellingCorrector(plain.vocabulary()) if isinstance(plain, StaticEmbedder) else None


def _pack(parts: RouterParts) -> tuple[dict[str, Any], dict[str, bytes]]:
    tensors: dict[str, npt.NDArray[Any]] = {**parts.embedder.tensors(), **parts.classifier.tensors()}
    tensors.update(parts.quality.tensors())
    if parts.tokens is not None:
        tensors.update(parts.tokens.tensors())
    if parts.evidence is not None:
        tensors.update(parts.evidence.tensors())
    files = {WEIGHTS: save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})}
    tokenizer = parts.embedder.tokenizer_json()
    if tokenizer is not None:
        files[TOKENIZER] = tokenizer.encode()
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "router": parts.name,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        "categories": list(parts.classifier.categories),
        "experts": list(parts.quality.experts),
        "embedder": dict(parts.embedder.spec()),
        "classifier": dict(parts.classifier.spec()),
        "quality": dict(parts.quality.spec()),
        "tokens": None if parts.tokens is None else dict(parts.tokens.spec()),
        "training": dict(parts.training),
        "metrics": dict(parts.metrics),
    }
    if parts.evidence is not None:
        manifest["evidence"] = dict(parts.evidence.spec())
    if parts.languages is not None:
        manifest["languages"] = list(parts.languages)
    manifest["artifact_hash"] = _manifest_hash(manifest)
    return manifest, files


def _manifest_hash(manifest: Mapping[str, Any]) -> str:
    covered = {key: value for key, value in manifest.items() if key != "artifact_hash"}
    canonical = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _check_file(directory: Path, name: str, expected: str) -> None:
    if Path(name).name != name:
        raise ArtifactError(f"{directory / MANIFEST} names a file outside its folder: {name!r}")
    path = directory / name
    if path.exists() and not path.is_file():
        raise ArtifactError(f"{path} is no file")
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error
    if found != expected:
        raise ArtifactError(f"{path} is damaged or not the one its manifest names: SHA-256 {found[:12]}…")


def _unpack(manifest: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]], directory: Path) -> RouterParts:
    tokenizer = (directory / TOKENIZER).read_text("utf-8") if TOKENIZER in manifest["files"] else None
    kind = manifest["classifier"]["kind"]
    classifiers: dict[str, type[LinearClassifier] | type[KnnClassifier] | type[MlpClassifier]] = {
        LinearClassifier.kind: LinearClassifier,
        KnnClassifier.kind: KnnClassifier,
        MlpClassifier.kind: MlpClassifier,
    }
    if kind not in classifiers:
        raise ValueError(f"unknown classifier kind {kind!r}")
    return RouterParts(
        name=str(manifest["router"]),
        embedder=restore_embedder(manifest["embedder"], tensors, tokenizer),
        classifier=classifiers[kind].from_parts(manifest["classifier"], tensors),
        quality=BlendedQuality.from_parts(manifest["quality"], tensors),
        tokens=None if manifest["tokens"] is None else CompletionTokens.from_parts(manifest["tokens"], tensors),
        evidence=SequentialPolicy.from_parts(manifest["evidence"], tensors) if "evidence" in manifest else None,
        languages=tuple(map(str, manifest["languages"])) if "languages" in manifest else None,
        training=manifest["training"],
        metrics=manifest["metrics"],
    )
