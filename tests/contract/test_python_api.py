"""The Python API, which is `pointsman` itself: light to import, typed for its users, and known to nothing below it."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import pointsman
from pointsman.evals.session import EvalOptions, TrainOptions
from tests.contract.test_house_rules import PACKAGES, ROOT, broken, imports, sources, tree

SCRIPT = """
    from typing import assert_type

    from pointsman import (
        Budget, ChatPointsman, Decision, EvaluationReport, ExpertSpec, GatewayError, Router, RouterRunnable, Table,
        Weights, decision_to_dict, explain, load_experts,
    )

    router = Router.load("default")
    experts = load_experts()
    assert_type(experts, tuple[ExpertSpec, ...])
    decision = router.decide("Hello", experts, Budget(max_cost_usd=0.01, weights=Weights(energy=0.5)), max_tokens=9)
    assert_type(decision, Decision)
    assert_type(decision.expert, str | None)
    assert_type(explain(decision), str)
    print(decision_to_dict(decision)["expert"], [lost.detail for lost in decision.rejections])

    table = Table.read("table")
    assert_type(table.train(name="mine"), Router)
    assert_type(table.evaluate(router, "default", resamples=0), EvaluationReport)
    assert_type(table.train().save("folder"), str)

    runnable = router.as_runnable([ExpertSpec("small", "fake", "small")])
    assert_type(runnable, RouterRunnable)
    assert_type(runnable.invoke([("user", "Hello")]), Decision)
    model = ChatPointsman(base_url="http://localhost:8080/v1", max_cost_usd=0.01)
    try:
        print(model.invoke("Hello").text)
    except GatewayError as error:
        assert_type(error.decision_id, str | None)
"""
MISTAKES = {
    "from pointsman import Rooter": "attr-defined",
    "from pointsman import Router\nRouter.load().decide('Hello')": "call-arg",
    "from pointsman import Router\nRouter.load().decide('Hello', ['small'])": "list-item",
    "from pointsman import Budget\nBudget(max_cost_usd='0.01')": "arg-type",
    "from pointsman import Table\nTable.read('t').evaluate(protocol='loo')": "arg-type",
    "from pointsman import Table\nTable.read('t').train().decide": "",
}


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def checked(script: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """mypy on a user's script, with none of our settings, in a folder of its own."""
    return run(sys.executable, "-m", "mypy", "--strict", "--cache-dir", cache, script, cwd=script.parent)


@pytest.mark.slow
def test_a_users_script_is_typed(tmp_path: Path, cache: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(dedent(SCRIPT), encoding="utf-8")
    done = checked(script, cache)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_mistakes_in_a_users_script_are_found(tmp_path: Path, cache: Path) -> None:
    for at, mistake in enumerate(MISTAKES):
        (tmp_path / f"mistake_{at}.py").write_text(mistake + "\n", encoding="utf-8")
    for at, (mistake, code) in enumerate(MISTAKES.items()):
        done = checked(tmp_path / f"mistake_{at}.py", cache)
        assert (done.returncode != 0) == bool(code), (mistake, done.stdout)
        assert f"[{code}]" in done.stdout or not code, (mistake, done.stdout)


def test_the_three_lists_of_names_are_one() -> None:
    looked_up = [name for names in pointsman._MODULES.values() for name in names]
    seen_by_types = {
        alias.name: node.module
        for node in ast.walk(tree(ROOT / "pointsman/__init__.py"))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("pointsman.")
        for alias in node.names
    }
    assert sorted(looked_up) == sorted(seen_by_types) == pointsman.__all__
    assert seen_by_types == {name: module for module, names in pointsman._MODULES.items() for name in names}


@pytest.mark.parametrize("name", pointsman.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(pointsman, name).__name__ == name
    assert name in dir(pointsman)


def test_another_name_is_not_there() -> None:
    with pytest.raises(AttributeError, match="'pointsman' has no attribute 'Rooter'"):
        _ = pointsman.Rooter


def test_importing_it_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import pointsman; print(*sorted(set(sys.modules) - before))"
    done = run(sys.executable, "-c", code, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    brought = {name.split(".")[0] for name in done.stdout.split()}
    assert brought <= {"pointsman", *sys.stdlib_module_names}
    assert [name for name in done.stdout.split() if name.startswith("pointsman.")] == []


def test_without_the_extra_the_error_names_it(tmp_path: Path) -> None:
    (tmp_path / "langchain_core.py").write_text("raise ModuleNotFoundError(name='langchain_core')", encoding="utf-8")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import pointsman\n"
    router = "pointsman.Router.load().as_runnable(pointsman.load_experts())"
    for use in ("pointsman.ChatPointsman", "from pointsman import RouterRunnable", router):
        done = run(sys.executable, "-c", code + use, tmp_path, cwd=tmp_path)
        assert done.stderr.splitlines()[-1].startswith("ImportError: "), done.stderr
        assert "pip install 'pointsman[langchain]'" in done.stderr


def test_nothing_below_knows_it() -> None:
    def rule(file: Path) -> list[str]:
        # `from pointsman import x` asks for `pointsman`, and so do the modules beside it.
        api = {"pointsman", "pointsman.router", "pointsman.runnable", "pointsman.table"}
        return sorted(imports(tree(file)) & api)

    assert broken([file for file in sources() if file.relative_to(ROOT).parts[0] in PACKAGES], rule) == []


def test_pages_for_users_need_nothing_else() -> None:
    # These are about code that goes into the repository, or into a backend of its own.
    inside = {"add-a-backend.md", "add-a-filter.md", "add-a-metric.md", "nano-experts.md"}
    pages = [page for page in ROOT.glob("docs/**/*.md") if page.name not in inside and page.parent.name != "design"]
    found = {
        page.name: re.findall(r"^(?:>>> )?(?:from|import) pointsman\.[\w.]+", page.read_text("utf-8"), re.MULTILINE)
        for page in (ROOT / "README.md", *pages)
    }
    assert {name: names for name, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("method", "options"), [(pointsman.Table.evaluate, EvalOptions), (pointsman.Table.train, TrainOptions)]
)
def test_defaults_are_those_of_the_command(method: Any, options: type[Any]) -> None:
    stated = {
        name: one.default for name, one in inspect.signature(method).parameters.items() if one.kind is one.KEYWORD_ONLY
    }
    known = {one.name: one.default for one in fields(options) if one.default is not MISSING}
    assert stated == {name: known[name] for name in stated}
    assert len(stated) >= 7


def test_python_m_pointsman_is_the_command(tmp_path: Path) -> None:
    by_module, by_name = (
        run(*command, "--help", cwd=tmp_path)
        for command in ((sys.executable, "-m", "pointsman"), (Path(sys.executable).with_name("pointsman"),))
    )
    assert by_module.returncode == by_name.returncode == 0
    assert by_module.stdout == by_name.stdout
    assert by_module.stdout.startswith("Usage: pointsman ")
