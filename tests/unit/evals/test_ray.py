"""Collection and evaluation on a local Ray cluster of two workers: the same results as here."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from pointsman.evals.collect.cli import collect_table
from pointsman.evals.grid_cli import evaluate_grid
from pointsman.evals.parallel import Workers, each
from pointsman.evals.tables import load_table

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a cluster with two workers of one CPU each; the head has none, so that they do all the work."""
    pytest.importorskip("ray", reason="ray is not installed (extra `ray`)")
    from ray.cluster_utils import Cluster

    running = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        running.add_node(num_cpus=1)
    yield running.address
    running.shutdown()


def _node(_: int) -> str:
    import ray

    time.sleep(1)  # long enough that one worker cannot take them all before the other has started
    found: str = ray.get_runtime_context().get_node_id()
    return found


def test_both_workers_take_part(cluster: str) -> None:
    nodes = {node for _, node in each(_node, range(8), Workers(ray=cluster))}
    assert len(nodes) == 2


def test_a_collection_is_the_same_there_and_here(cluster: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"Number {i}, of many: pick {'AB'[i % 2]}", "reference": "A"} for i in range(100)]
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-m", "pointsman.experts.backends.fake", "--reply", "{prompt}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        options = ["--expert", f"a={url}", "--expert", f"b={url}", "--prompts", str(questions), "--scorer", "choice"]
        for name, more in {"far": ["--ray", cluster], "near": []}.items():
            done = CliRunner().invoke(collect_table, [*options, "--out", str(tmp_path / name), *more])
            assert done.exit_code == 0, done.output
        server.terminate()
    far, near = (load_table(tmp_path / name) for name in ("far", "near"))
    assert far.scores.shape == (100, 2)
    np.testing.assert_array_equal(far.scores, near.scores)


def test_evaluations_are_the_same_there_and_here(
    cluster: str, write_table: Callable[..., Path], synthetic: Callable[..., Any], tmp_path: Path
) -> None:
    options = ["--bootstrap", "50"]
    for seed in (0, 1):
        options += ["--table", str(write_table(*synthetic(seed=seed), name=f"t{seed}")), "--seed", str(seed)]
    for name, more in {"far": ["--ray", cluster], "near": []}.items():
        done = CliRunner().invoke(evaluate_grid, [*options, "--out", str(tmp_path / name), *more])
        assert done.exit_code == 0, done.output
    files = sorted(path.name for path in (tmp_path / "far").iterdir())
    assert files == ["t0-0.json", "t0-1.json", "t1-0.json", "t1-1.json"]
    for file in files:
        far, near = (json.loads((tmp_path / name / file).read_text())["routers"] for name in ("far", "near"))
        assert [row["metrics"]["quality"] for row in far] == [row["metrics"]["quality"] for row in near]
        assert [row["intervals"] for row in far] == [row["intervals"] for row in near]
