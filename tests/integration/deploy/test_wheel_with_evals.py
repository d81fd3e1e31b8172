"""The wheel with what its extras bring: the harness at work where others have the names of our folders.

The packages of the extras are those of the environment that runs this test: a line in a `.pth` file lends them. What
that environment has of ours is not lent, because a folder that such a line names has its own `.pth` files left alone,
and what is installed comes first.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from tests.integration.deploy.built import ROOT, run

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

SCRIPT = """
import sys
from pointsman import Budget, ChatPointsman, Router, Table, load_experts
router = Router.load()
experts = load_experts()
print(router.decide("Write a Python function that reverses a linked list.", experts).expert)
print(router.as_runnable(experts).invoke([("user", "Sort a list in Python.")]).expert)
print(ChatPointsman(base_url="http://127.0.0.1:1/v1").model_name)
print(Table.read("table").train(name="mine").save("saved") == Router.load("saved").artifact_hash)
print({name.split(".")[0] for name in sys.modules} & {"gateway", "routers", "experts", "evals"})
"""


@pytest.fixture(scope="module")
def with_extras(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel, and with the packages of this one behind it."""
    folder = tmp_path_factory.mktemp("with-extras")
    venv.create(folder, with_pip=True)
    run(folder / "bin" / "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", wheel)
    (site,) = folder.glob("lib/python*/site-packages")
    lent = [place for place in sys.path if Path(place).name == "site-packages"]
    (site / "lent.pth").write_text("\n".join(lent) + "\n", encoding="utf-8")
    return folder / "bin"


@pytest.fixture
def project(taken_names: dict[str, Any]) -> dict[str, Any]:
    """A user's project with a table, a pool and a log of arrivals."""
    folder: Path = taken_names["cwd"]
    shutil.copytree(ROOT / "examples/data/nano", folder / "table")
    shutil.copy(ROOT / "examples/data/pool.yaml", folder)
    shutil.copy(ROOT / "examples/data/arrivals.parquet", folder)
    return taken_names


def test_what_is_imported_is_the_wheel(with_extras: Path, project: dict[str, Any]) -> None:
    code = "import pointsman, pointsman.evals.session as s; print(pointsman.__file__); print(s.__file__)"
    for place in run(with_extras / "python", "-c", code, **project).split():
        assert Path(place).is_relative_to(with_extras.parent)
    for name in ("gateway", "evals"):
        done = subprocess.run(
            [with_extras / "python", "-c", f"import {name}"], capture_output=True, text=True, check=False, **project
        )
        assert f"ImportError: somebody else has the name {name}" in done.stderr


def test_a_router_is_trained_evaluated_and_decides(with_extras: Path, project: dict[str, Any]) -> None:
    pointsman, folder = with_extras / "pointsman", project["cwd"]
    trained = run(pointsman, "train", "--table", "table", "--out", "mine", **project)
    assert "Fitted on 480 train prompts and 5 experts of table" in trained
    run(
        *(pointsman, "eval", "--table", "table", "--router", "mine", "--bootstrap", "50"),
        *("--json", "report.json", "--html", "report.html"),
        **project,
    )
    rows = {row["name"]: row["metrics"] for row in json.loads((folder / "report.json").read_text("utf-8"))["routers"]}
    assert rows["best_single"]["quality"] < rows["mine"]["quality"] <= rows["oracle"]["quality"]
    assert "<svg" in (folder / "report.html").read_text("utf-8")
    settings = folder / "settings.yaml"
    # YAML holds JSON.
    expert = {"name": "nano-code", "backend": "fake"}
    settings.write_text(json.dumps({"pool": {"experts": [expert]}, "router": {"artifact": "mine"}}), encoding="utf-8")
    told = run(pointsman, "route", "Sort a list in Python.", "--config", settings, "--json", **project)
    decision = json.loads(told)
    assert decision["router"] == "table"
    assert decision["candidates"][0]["estimates"]["quality_source"] != "stated"


def test_a_pool_is_planned_and_simulated(with_extras: Path, project: dict[str, Any]) -> None:
    pointsman, folder = with_extras / "pointsman", project["cwd"]
    planned = run(
        *(pointsman, "plan", "--table", "table", "--pool", "pool.yaml"),
        *("--resident-b", "0.013", "--max-energy-j", "3"),
        **project,
    )
    assert "nano-" in planned
    run(
        *(pointsman, "simulate", "--table", "table", "--pool", "pool.yaml", "--trace", "arrivals.parquet"),
        *("--window-s", "60", "--most-s", "180", "--max-energy-j", "2.6", "--json", "simulated.json"),
        **project,
    )
    simulated = json.loads((folder / "simulated.json").read_text("utf-8"))
    assert simulated["requests"] > 100
    assert 0 < simulated["kept"]["energy_j"]["mean"] <= 2.6


def test_scores_are_imported(with_extras: Path, project: dict[str, Any]) -> None:
    folder = project["cwd"]
    scores = "question,small,large\nWhat is 2 + 2?,1,1\nWho wrote Faust?,0,1\nName a prime above 100.,0,1\n"
    (folder / "scores.csv").write_text(scores, encoding="utf-8")
    columns = ("--column", "prompt=question", "--column", "models=small,large")
    run(with_extras / "pointsman", "import", "plain", "scores.csv", *columns, "--out", "scores", **project)
    assert (folder / "scores/outcomes.parquet").is_file()


def test_the_python_api_works(with_extras: Path, project: dict[str, Any]) -> None:
    told = run(with_extras / "python", "-c", SCRIPT, **project).splitlines()
    assert told == ["nano-code", "nano-code", "auto", "True", "set()"]
