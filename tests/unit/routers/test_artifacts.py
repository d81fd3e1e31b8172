"""Artefacts: what is written is what is read, and anything else is refused with a sentence."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pointsman.routers.artifacts import (
    MANIFEST,
    TOKENIZER,
    WEIGHTS,
    RouterParts,
    load_artifact,
    load_router,
    save_router,
)
from pointsman.routers.errors import ArtifactError
from pointsman.routers.training.fit import fit_router
from pointsman.routers.types import RouteRequest
from tests.unit.routers.tiny import EXPERTS, tiny_data, tiny_embedder

TEXTS = ("python loop bug", "sum of a number", "how to bake bread", "nothing known", "")


@pytest.fixture(scope="module")
def parts() -> RouterParts:
    return fit_router(tiny_data(), name="tiny/1", embedder=tiny_embedder(), max_iter=20)


@pytest.fixture
def saved(parts: RouterParts, tmp_path: Path) -> Path:
    save_router(tmp_path / "router", parts)
    return tmp_path / "router"


def test_a_loaded_router_is_the_saved_one(parts: RouterParts, saved: Path):
    here, there = parts.router(), load_router(saved)
    assert (there.id, there.artifact_hash) == ("tiny/1", here.artifact_hash)
    for text in TEXTS:
        asked = RouteRequest("r", text, 10)
        mine, back = here.assess(asked), there.assess(asked)
        assert back.classification.category == mine.classification.category
        for name in EXPERTS:
            assert back.quality[name].mean == pytest.approx(mine.quality[name].mean, abs=2e-3)
            assert back.completion_tokens[name] == pytest.approx(mine.completion_tokens[name], rel=1e-5)


def test_saving_twice_gives_the_same_bytes(parts: RouterParts, saved: Path, tmp_path: Path):
    save_router(tmp_path / "again", parts)
    for name in (MANIFEST, WEIGHTS, TOKENIZER):
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes()


def test_the_manifest_tells_what_it_was_trained_on(saved: Path):
    manifest = load_artifact(saved).manifest
    assert manifest["experts"] == list(EXPERTS)
    assert manifest["training"]["prompts"] == 360
    assert manifest["training"]["prompts_per_category"] == {"code": 120, "food": 120, "math": 120}
    assert 0.9 < manifest["metrics"]["classifier"]["accuracy"] <= 1.0


def test_a_missing_artefact(tmp_path: Path):
    with pytest.raises(ArtifactError, match=r"no router artefact at .*manifest\.json is missing"):
        load_router(tmp_path / "nowhere")


def test_another_format_is_refused(saved: Path):
    change(saved, format=99)
    with pytest.raises(ArtifactError, match="format 99; this version reads format 1"):
        load_router(saved)


def test_a_changed_manifest_is_refused(saved: Path):
    change(saved, router="forged/1")
    with pytest.raises(ArtifactError, match="was changed after it was written"):
        load_router(saved)


@pytest.mark.parametrize("name", [WEIGHTS, TOKENIZER])
def test_a_damaged_file_is_refused(saved: Path, name: str):
    content = bytearray((saved / name).read_bytes())
    content[len(content) // 2] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=f"{name} is damaged"):
        load_router(saved)


def test_a_missing_file_is_refused(saved: Path):
    (saved / WEIGHTS).unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_router(saved)


@pytest.mark.parametrize("content", ["", "[]", "{}", "nonsense"])
def test_what_is_no_manifest_is_refused(saved: Path, content: str):
    (saved / MANIFEST).write_text(content, "utf-8")
    with pytest.raises(ArtifactError):
        load_router(saved)


def test_a_file_outside_the_folder_is_refused(saved: Path, parts: RouterParts):
    from pointsman.routers.artifacts import _manifest_hash

    manifest = json.loads((saved / MANIFEST).read_text("utf-8"))
    manifest["files"]["../../etc/passwd"] = "0" * 64
    manifest["artifact_hash"] = _manifest_hash(manifest)
    (saved / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(ArtifactError, match="outside its folder"):
        load_router(saved)


def test_loading_and_deciding_import_nothing_heavy(saved: Path):
    program = (
        "import sys\n"
        "from pointsman.routers.artifacts import load_router\n"
        "from pointsman.routers.types import RouteRequest\n"
        "from pointsman.experts.spec import ExpertSpec, PoolView\n"
        f"router = load_router({str(saved)!r})\n"
        "view = PoolView.of(ExpertSpec('coder', 'fake', 'm'), ExpertSpec('solver', 'fake', 'm'))\n"
        "assert router.decide(RouteRequest('r', 'python bug', 5), view).expert == 'coder'\n"
        "heavy = {'sklearn', 'torch', 'scipy', 'pyarrow', 'transformers', 'sentence_transformers', 'model2vec'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


def change(folder: Path, **fields: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    (folder / MANIFEST).write_text(json.dumps({**manifest, **fields}), "utf-8")


def test_tensors_are_plain_arrays(saved: Path):
    from safetensors.numpy import load_file

    tensors = load_file(saved / WEIGHTS)
    assert all(isinstance(tensor, np.ndarray) for tensor in tensors.values())
    assert tensors["embed.rows"].dtype == np.int8
