"""What a study was measured with, as a digest, so that a page of results tells when it is older than the code.

The recipe of a study is the values that its modules and the training state: the literals in constants of modules, and
in defaults of parameters and of fields. Names, docstrings, comments, formatting and the bodies of functions are no part
of it: a reworded page or a renamed constant leaves the digest as it is. Artefacts and tables are no part of it either.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

#: Packages whose values make the recipe, where a study imports them, directly or through other modules.
_PACKAGES: Final = ("pointsman.evals.studies.", "pointsman.routers.training.")
#: Modules of the studies that shape the page and not the figures.
_PRESENTATION: Final = frozenset(f"pointsman.evals.studies.{name}" for name in ("drawing", "prose", "recipe", "study"))

_CONSTANT: Final = re.compile(r"_?[A-Z][A-Z0-9_]*")
_WRITTEN: Final = re.compile(
    r"^\*Written by `make report` with (the|an earlier) recipe `([0-9a-f]{12})`;", re.MULTILINE
)


def recipe_digest(module: str, root: Path = ROOT) -> str:
    """The digest of a study's recipe.

    Args:
        module: Full name of the module with the study.
        root: Folder with `evals/`, `routers/` and `experts/`.

    Returns:
        Twelve hexadecimal digits of a SHA-256.
    """
    counted = [name for name in _reached(module, root) if name.startswith(_PACKAGES) and name not in _PRESENTATION]
    values = sorted(value for name in counted for value in _values(_tree(name, root)))
    return hashlib.sha256("\n".join(values).encode()).hexdigest()[:12]


def written_line(digest: str, *, earlier: bool = False) -> str:
    """The first line of a page: what wrote it, with which recipe, and whether the recipe has changed since."""
    which = "an earlier" if earlier else "the"
    return f"*Written by `make report` with {which} recipe `{digest}`; do not edit.*"


def stated_recipe(page: str) -> tuple[str, bool] | None:
    """The digest that a page states, and whether the page calls it an earlier one; None where it states none."""
    found = _WRITTEN.search(page)
    return None if found is None else (found[2], found[1] == "an earlier")


def marked(page: str, today: str) -> str:
    """The page, calling its recipe an earlier one where it is not today's."""
    stated = stated_recipe(page)
    if stated is None:
        return page
    old, earlier = stated
    return page.replace(written_line(old, earlier=earlier), written_line(old, earlier=old != today), 1)


def _reached(module: str, root: Path) -> set[str]:
    """The module and all modules of the project that it needs."""
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        waiting += [other for other in _imports(_tree(name, root)) if _file(other, root).is_file()]
    return reached


def _file(module: str, root: Path) -> Path:
    return root.joinpath(*module.split(".")[1:]).with_suffix(".py")


def _tree(module: str, root: Path) -> ast.Module:
    return ast.parse(_file(module, root).read_text("utf-8"))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pointsman."):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _values(tree: ast.Module) -> Iterator[str]:
    for expression in _expressions(tree):
        parts = list(ast.walk(expression))
        # Where a file lies is no value of the recipe.
        if any(isinstance(part, ast.Name) and part.id == "__file__" for part in parts):
            continue
        values = [part.value for part in parts if isinstance(part, ast.Constant)]
        # A default of None states nothing.
        if any(value is not None for value in values):
            yield repr(values)


def _expressions(tree: ast.Module) -> Iterator[ast.expr]:
    """What the constants of a module, the parameters of its functions and the fields of its classes are set to."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            names = [
                name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
            ]
            # The study itself is its page's title and what it needs.
            if names != ["STUDY"] and any(_CONSTANT.fullmatch(name) for name in names):
                yield node.value
    for part in ast.walk(tree):
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (default for default in (*part.args.defaults, *part.args.kw_defaults) if default is not None)
        elif isinstance(part, ast.ClassDef):
            fields = (field for field in part.body if isinstance(field, ast.AnnAssign))
            yield from (field.value for field in fields if field.value is not None)
