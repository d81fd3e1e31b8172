"""The rules of CONTRIBUTING.md that no linter holds: sizes, names, cycles, purity, excepts, mocks, serialisation."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "routers", "experts", "evals")

MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 100
MOST_METHODS_OF_A_PROTOCOL = 5
VAGUE_NAMES = {"utils", "util", "common", "manager", "managers", "helpers", "helper", "misc", "base_utils"}
# What stands at the root is what a newcomer meets first.
ROOT_FILES = {
    ".dockerignore",
    ".gitattributes",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "pyproject.toml",
}
# Serving must work without them: they are imported inside functions, or in what runs offline.
HEAVY = {
    "torch",
    "sklearn",
    "scipy",
    "litellm",
    "transformers",
    "sentence_transformers",
    "model2vec",
    "matplotlib",
    "pyarrow",
    "pandas",
    "polars",
    "ray",
    "langchain_core",
}
# A decision asks nobody and reads no clock; time and randomness are arguments.
IMPURE = {"time", "random", "socket", "asyncio", "http", "urllib", "httpx", "requests", "threading", "redis"}


@cache
def tracked(*patterns: str) -> tuple[Path, ...]:
    """Files of the project: tracked, or new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return tuple(ROOT / name for name in sorted(listed.stdout.splitlines()) if (ROOT / name).is_file())


def sources() -> list[Path]:
    return [file for file in tracked("*.py") if file.relative_to(ROOT).parts[0] in PACKAGES]


def files_of_tests() -> list[Path]:
    return [file for file in tracked("*.py") if file.relative_to(ROOT).parts[0] == "tests"]


def shown(file: Path) -> str:
    return str(file.relative_to(ROOT))


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


each_source = pytest.mark.parametrize("file", sources(), ids=shown)
each_file = pytest.mark.parametrize("file", [*sources(), *files_of_tests()], ids=shown)


@each_source
def test_files_are_small_and_named_for_what_lives_there(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    assert file.stem not in VAGUE_NAMES


@each_source
def test_functions_fit_on_a_screen_or_two(file: Path) -> None:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MOST_LINES_OF_A_FUNCTION, f"{node.name} has {lines} lines"


@each_source
def test_protocols_are_narrow(file: Path) -> None:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == "Protocol" for b in node.bases):
            # Properties are what a thing is; methods are what it must do.
            methods = [
                child.name
                for child in node.body
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                and not any(isinstance(d, ast.Name) and d.id == "property" for d in child.decorator_list)
            ]
            assert len(methods) <= MOST_METHODS_OF_A_PROTOCOL, node.name


@each_file
def test_a_broad_except_says_why(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    for node in ast.walk(tree(file)):
        if not isinstance(node, ast.ExceptHandler):
            continue
        names = [node.type] if not isinstance(node.type, ast.Tuple) else node.type.elts
        broad = node.type is None or any(
            isinstance(name, ast.Name) and name.id in {"Exception", "BaseException"} for name in names
        )
        if broad:
            near = lines[node.lineno - 2 : node.lineno + 1]
            reasons = [line.split("#", 1)[1] for line in near if "#" in line]
            assert any(not re.fullmatch(r"\s*noqa\S*( \S+)?", reason) for reason in reasons), f"line {node.lineno}"


@each_file
def test_nothing_is_pickled(file: Path) -> None:
    imported = {name.split(".")[0] for name in imports(tree(file))}
    assert not imported & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert ast.unparse(node.func) not in {"torch.load", "torch.save"}, f"line {node.lineno}"
            if ast.unparse(node.func) in {"np.load", "numpy.load"}:
                assert not any(key.arg == "allow_pickle" for key in node.keywords), f"line {node.lineno}"


@each_source
def test_no_module_rebinds_its_globals(file: Path) -> None:
    assert not [node.lineno for node in ast.walk(tree(file)) if isinstance(node, ast.Global)]


@pytest.mark.parametrize("file", files_of_tests(), ids=shown)
def test_tests_talk_to_real_parts(file: Path) -> None:
    imported = imports(tree(file))
    assert not [name for name in imported if name.startswith(("unittest.mock", "mock", "pytest_mock", "responses"))]


@pytest.mark.parametrize("file", files_of_tests(), ids=shown)
def test_tests_that_are_skipped_say_why(file: Path) -> None:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"pytest.mark.skip", "pytest.mark.skipif"}:
            assert any(key.arg == "reason" for key in node.keywords), f"line {node.lineno}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.skip":
            assert node.args or node.keywords, f"line {node.lineno}"


def test_there_are_no_import_cycles() -> None:
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    modules = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    # Raises CycleError, which names the modules.
    assert len(list(TopologicalSorter(modules).static_order())) == len(modules)


@pytest.mark.parametrize(
    "file",
    [file for file in sources() if file.is_relative_to(ROOT / "routers") and "training" not in file.parts],
    ids=shown,
)
def test_routers_are_pure(file: Path) -> None:
    imported = {name.split(".")[0] for name in imports(tree(file))}
    assert not imported & IMPURE
    called = {
        node.func.attr
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not called & {"now", "utcnow", "today", "urandom"}


@pytest.mark.parametrize(
    "module", ["gateway.cli.serve", "gateway.app", "gateway.cli", "routers.two_stage", "evals.cli", "experts.pool"]
)
def test_importing_it_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & HEAVY


def test_the_root_holds_what_a_newcomer_needs_and_no_more() -> None:
    at_root = {file.name for file in tracked() if file.parent == ROOT}
    assert at_root <= ROOT_FILES


def test_no_file_names_a_place_that_only_one_machine_has() -> None:
    # Spelt in pieces, so that this file does not name them either.
    places = re.compile("|".join(["/" + "work/", "/" + "root/", "/home" + r"/[a-z]+/", "file" + "://"]))
    for file in tracked():
        if file.suffix in {".safetensors", ".png", ".npz"}:
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        found = [line for line in text.splitlines() if places.search(line)]
        assert not found, f"{shown(file)}: {found[0][:120]}"


def test_tracked_files_are_small_and_weights_small_together() -> None:
    sizes = {file: file.stat().st_size for file in tracked()}
    assert sum(size for file, size in sizes.items() if "nano" in file.parts) <= 60e6
    assert {shown(file): size for file, size in sizes.items() if size > 25e6} == {}


def imports(module: ast.Module) -> set[str]:
    """Full names of what a module imports."""
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found
