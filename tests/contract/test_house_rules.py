"""The rules of CONTRIBUTING.md that no linter holds: sizes, names, cycles, purity, excepts, mocks, serialisation."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
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
    "NOTICE",
    "README.md",
    "SECURITY.md",
    "hatch_build.py",
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
    "langchain_openai",
    "openai",
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
    return [file for file in tracked("*.py") if file.relative_to(ROOT).parts[0] in {*PACKAGES, "pointsman"}]


def files_of_tests() -> list[Path]:
    return [file for file in tracked("*.py") if file.relative_to(ROOT).parts[0] == "tests"]


def shown(file: Path) -> str:
    return str(file.relative_to(ROOT))


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def broken(files: Iterable[Path], rule: Callable[[Path], Iterable[str]]) -> list[str]:
    """What a rule finds in files, each with the file's name before it."""
    return [f"{shown(file)}: {found}" for file in files for found in rule(file)]


def at(node: ast.stmt | ast.expr | ast.excepthandler) -> str:
    return f"line {node.lineno}"


def test_files_are_small_and_named_for_what_lives_there() -> None:
    def rule(file: Path) -> Iterator[str]:
        lines = len(file.read_text(encoding="utf-8").splitlines())
        if lines > MOST_LINES:
            yield f"{lines} lines"
        if file.stem in VAGUE_NAMES:
            yield "a vague name"

    assert broken(sources(), rule) == []


def test_a_public_class_has_a_name_of_its_own() -> None:
    names = Counter(
        node.name
        for file in sources()
        for node in ast.walk(tree(file))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, times in names.items() if times > 1] == []


def test_functions_fit_on_a_screen_or_two() -> None:
    def rule(file: Path) -> Iterator[str]:
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MOST_LINES_OF_A_FUNCTION:
                    yield f"{node.name} has {lines} lines"

    assert broken(sources(), rule) == []


def test_protocols_are_narrow() -> None:
    def rule(file: Path) -> Iterator[str]:
        for node in ast.walk(tree(file)):
            if not isinstance(node, ast.ClassDef):
                continue
            if not any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases):
                continue
            # Properties are what a thing is; methods are what it must do.
            methods = [
                child.name
                for child in node.body
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                and not any(isinstance(d, ast.Name) and d.id == "property" for d in child.decorator_list)
            ]
            if len(methods) > MOST_METHODS_OF_A_PROTOCOL:
                yield f"{node.name} has {len(methods)} methods"

    assert broken(sources(), rule) == []


def test_a_broad_except_says_why() -> None:
    def rule(file: Path) -> Iterator[str]:
        lines = file.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(tree(file)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            names = [node.type] if not isinstance(node.type, ast.Tuple) else node.type.elts
            broad = node.type is None or any(
                isinstance(name, ast.Name) and name.id in {"Exception", "BaseException"} for name in names
            )
            near = lines[node.lineno - 2 : node.lineno + 1]
            reasons = [line.split("#", 1)[1] for line in near if "#" in line]
            if broad and not any(not re.fullmatch(r"\s*noqa\S*( \S+)?", reason) for reason in reasons):
                yield at(node)

    assert broken([*sources(), *files_of_tests()], rule) == []


def test_nothing_is_pickled() -> None:
    def rule(file: Path) -> Iterator[str]:
        imported = {name.split(".")[0] for name in imports(tree(file))}
        yield from imported & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = ast.unparse(node.func)
                pickles = called in {"np.load", "numpy.load"} and any(k.arg == "allow_pickle" for k in node.keywords)
                if pickles or called in {"torch.load", "torch.save"}:
                    yield at(node)

    assert broken([*sources(), *files_of_tests()], rule) == []


def test_no_module_rebinds_its_globals() -> None:
    def rule(file: Path) -> list[str]:
        return [at(node) for node in ast.walk(tree(file)) if isinstance(node, ast.Global)]

    assert broken(sources(), rule) == []


def test_tests_talk_to_real_parts() -> None:
    def rule(file: Path) -> list[str]:
        mocks = ("unittest.mock", "mock", "pytest_mock", "responses")
        return [name for name in imports(tree(file)) if name.startswith(mocks)]

    assert broken(files_of_tests(), rule) == []


def test_tests_that_are_skipped_say_why() -> None:
    def rule(file: Path) -> Iterator[str]:
        for node in ast.walk(tree(file)):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in {"pytest.mark.skip", "pytest.mark.skipif"}:
                if not any(key.arg == "reason" for key in node.keywords):
                    yield at(node)
            elif called == "pytest.skip" and not (node.args or node.keywords):
                yield at(node)

    assert broken(files_of_tests(), rule) == []


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("pointsman", exclude_type_checking_imports=True, cache_dir=None)


def test_there_are_no_import_cycles() -> None:
    modules = {module: graph().find_modules_directly_imported_by(module) for module in graph().modules}
    # Raises CycleError, which names the modules.
    assert len(list(TopologicalSorter(modules).static_order())) == len(modules)


def test_there_is_one_import_name() -> None:
    def rule(file: Path) -> list[str]:
        return [name for name in imports(tree(file)) if name.split(".")[0] in PACKAGES]

    assert broken([*sources(), *files_of_tests()], rule) == []


def test_what_is_installed_needs_nothing_that_stays_in_the_repository() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    left_out = tuple(name.replace("/", ".") for name in project["tool"]["hatch"]["build"]["exclude"])
    stays = {module for module in graph().modules if module.startswith(left_out)}
    assert len({module.split(".")[1] for module in stays}) == 3
    needed = {module: graph().find_modules_directly_imported_by(module) & stays for module in graph().modules - stays}
    assert {module: found for module, found in needed.items() if found} == {}


def test_routers_are_pure() -> None:
    def rule(file: Path) -> Iterator[str]:
        yield from {name.split(".")[0] for name in imports(tree(file))} & IMPURE
        called = (node for node in ast.walk(tree(file)) if isinstance(node, ast.Call))
        for node in called:
            if isinstance(node.func, ast.Attribute) and node.func.attr in {"now", "utcnow", "today", "urandom"}:
                yield at(node)

    decide = [file for file in sources() if file.is_relative_to(ROOT / "routers") and "training" not in file.parts]
    assert broken(decide, rule) == []


@pytest.mark.parametrize(
    "module",
    [
        "pointsman.gateway.cli.serve",
        "pointsman.gateway.app",
        "pointsman.gateway.cli",
        "pointsman.routers.two_stage",
        "pointsman.evals.cli",
        "pointsman.experts.pool",
        "pointsman.router",
        "pointsman.table",
    ],
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


def test_no_file_names_a_path_of_one_machine() -> None:
    # Spelt in pieces, so that this file does not name them either.
    places = re.compile("|".join(["/" + "work/", "/" + "root/", "/home" + r"/[a-z]+/", "file" + "://"]))

    def rule(file: Path) -> list[str]:
        text = file.read_text(encoding="utf-8", errors="replace")
        return [line[:120] for line in text.splitlines() if places.search(line)]

    read = [file for file in tracked() if file.suffix not in {".safetensors", ".png", ".npz"}]
    assert broken(read, rule) == []


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
