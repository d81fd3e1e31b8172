"""A router artefact that somebody bent is an error of the artefact, or an artefact; never anything else."""

from __future__ import annotations

import copy
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from pointsman.routers.artifacts import MANIFEST, TOKENIZER, WEIGHTS, _manifest_hash, load_artifact, save_router
from pointsman.routers.errors import ArtifactError
from pointsman.routers.training.fit import fit_router
from pointsman.routers.types import RouteRequest
from tests.unit.routers.tiny import tiny_data, tiny_embedder

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=6),
    st.lists(st.integers(-3, 3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
#: What a manifest holds, as far as something is read of it.
WITHIN = ("files", "categories", "experts", "embedder", "classifier", "quality", "tokens", "evidence", "router")
SLOW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artefact")
    save_router(folder, fit_router(tiny_data(), name="tiny/1", embedder=tiny_embedder(), max_iter=20))
    return folder


def written(folder: Path, manifest: Any, **files: bytes) -> Path:
    """The artefact with another manifest, whose hashes hold, and other files."""
    from hashlib import sha256

    contents = {
        WEIGHTS: files.get("weights", (folder / WEIGHTS).read_bytes()),
        TOKENIZER: files.get("tokenizer", (folder / TOKENIZER).read_bytes()),
    }
    bent = folder / "bent"
    bent.mkdir(exist_ok=True)
    for name, content in contents.items():
        (bent / name).write_bytes(content)
        if isinstance(manifest, dict) and isinstance(manifest.get("files"), dict) and name in manifest["files"]:
            manifest["files"][name] = sha256(content).hexdigest()
    if isinstance(manifest, dict):
        manifest["artifact_hash"] = _manifest_hash(manifest)
    (bent / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    return bent


def tried(folder: Path) -> None:
    """Read it, and if that works, assess something."""
    try:
        router = load_artifact(folder).router
    except ArtifactError as error:
        # A sentence for people, with the file in it.
        if str(folder) not in str(error) or "\n" in str(error).strip():
            raise AssertionError(str(error)) from error
        return
    router.assess(RouteRequest("r", "a loop in python", 4))


def bend(document: Any, path: list[Any], value: Any) -> None:
    for step in path[:-1]:
        document = document[step]
    if value is ...:
        del document[path[-1]]
    else:
        document[path[-1]] = value


def paths(document: Any, above: tuple[Any, ...] = ()) -> list[list[Any]]:
    steps = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [found for step, below in steps for found in ([*above, step], *paths(below, (*above, step)))]


@SLOW
@given(st.data())
def test_a_bent_manifest(artefact: Path, data: st.DataObject) -> None:
    manifest = json.loads((artefact / MANIFEST).read_text())
    for _ in range(data.draw(st.integers(1, 2))):
        # Where something is read of it.
        known = [path for path in paths(manifest) if path[0] in WITHIN]
        bend(manifest, data.draw(st.sampled_from(known)), data.draw(st.just(...) | JUNK))
    try:
        bent = written(artefact, manifest)
    except UnicodeEncodeError:
        return
    tried(bent)


@SLOW
@given(st.data())
def test_bent_arrays(artefact: Path, data: st.DataObject) -> None:
    manifest = json.loads((artefact / MANIFEST).read_text())
    tensors = load((artefact / WEIGHTS).read_bytes())
    name = data.draw(st.sampled_from(sorted(tensors)))
    change = data.draw(st.sampled_from(["gone", "flat", "short", "type", "nan", "empty", "deep"]))
    one = tensors[name]
    if change == "gone":
        del tensors[name]
    else:
        tensors[name] = {
            "flat": lambda: one.reshape(-1),
            "short": lambda: one[: len(one) // 2],
            "type": lambda: one.astype(np.int8),
            "nan": lambda: np.full(one.shape, np.nan, np.float32),
            "empty": lambda: one[:0],
            "deep": lambda: one[None],
        }[change]().copy()
    tried(written(artefact, copy.deepcopy(manifest), weights=save(tensors)))


@SLOW
@given(st.data())
def test_a_bent_header_of_the_arrays(artefact: Path, data: st.DataObject) -> None:
    manifest = json.loads((artefact / MANIFEST).read_text())
    raw = (artefact / WEIGHTS).read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + length])
    if data.draw(st.booleans()):
        bend(header, data.draw(st.sampled_from(paths(header))), data.draw(st.just(...) | JUNK))
        text = json.dumps(header).encode("utf-8", "surrogatepass")
        stated = len(text)
    else:
        text = data.draw(st.binary(max_size=40)) + raw[8 : 8 + length]
        stated = data.draw(st.sampled_from([0, 1, length, len(text), 2**31, 2**63, 2**64 - 1]))
    tried(written(artefact, manifest, weights=struct.pack("<Q", stated) + text + raw[8 + length :]))


@SLOW
@given(st.data())
def test_a_bent_tokenizer(artefact: Path, data: st.DataObject) -> None:
    manifest = json.loads((artefact / MANIFEST).read_text())
    tokenizer = json.loads((artefact / TOKENIZER).read_text())
    known = [path for path in paths(tokenizer) if len(path) < 4][:200]
    bend(tokenizer, data.draw(st.sampled_from(known)), data.draw(st.just(...) | JUNK))
    tried(written(artefact, manifest, tokenizer=json.dumps(tokenizer).encode("utf-8", "surrogatepass")))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"format": 1, "files": {"weights.safetensors": NaN}}',
        '{"format": 1, "files": {"weights.safetensors": "x"}, "a": "\\ud800"}',
        '{"format": ' + "9" * 5_000 + "}",
        '{"a": "' + "x" * 17 * 1024 * 1024 + '"}',
        "\x00",
    ],
)
def test_what_is_no_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ArtifactError, match=MANIFEST):
        load_artifact(tmp_path)


def test_a_folder_or_a_pipe_in_the_place_of_a_file(artefact: Path, tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / MANIFEST)
    with pytest.raises(ArtifactError, match="no file"):
        load_artifact(tmp_path)
    for name in ("..", ".", ""):
        manifest = json.loads((artefact / MANIFEST).read_text())
        manifest["files"][name] = "x"
        with pytest.raises(ArtifactError):
            load_artifact(written(artefact, manifest))
