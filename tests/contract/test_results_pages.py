"""A page of results states the recipe it was measured with, and says so when that recipe is not today's."""

from __future__ import annotations

from pathlib import Path

import pytest

from pointsman.evals.studies.__main__ import MODULES, mark_pages
from pointsman.evals.studies.recipe import ROOT, marked, recipe_digest, stated_recipe, written_line

PAGES = ROOT / "docs" / "results"


@pytest.mark.parametrize("module", MODULES)
def test_a_page_is_of_todays_recipe_or_says_that_it_is_not(module: str) -> None:
    """After a change of a recipe: `make report ARGS=NAME` measures again, `make report ARGS=--mark` marks the page."""
    page = PAGES / f"{module.rpartition('.')[2]}.md"
    stated = stated_recipe(page.read_text(encoding="utf-8"))
    assert stated is not None, f"{page.name} does not state its recipe"
    digest, earlier = stated
    assert earlier == (digest != recipe_digest(module)), page.name


STUDY = "pointsman.evals.studies.sums"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project: a study that uses a module outside of the recipe, which uses one of the training."""
    files = {
        "evals/studies/sums.py": (
            '"""Sums."""\nfrom pointsman.evals.middle import run\n_SEEDS = (1, 2)\nSTUDY = Study("sums", "A title")\n'
        ),
        "evals/middle.py": "from pointsman.routers.training.fitted import fit\nOF_NO_RECIPE = 1\n",
        "routers/training/fitted.py": "RATE = 0.5\ndef fit(steps: int = 20) -> float:\n    return 0.1\n",
        "routers/training/unused.py": "RATE = 0.7\n",
    }
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("evals/studies/sums.py", "(1, 2)", "(1, 3)"),
        ("routers/training/fitted.py", "RATE = 0.5", "RATE = 0.6"),
        ("routers/training/fitted.py", "steps: int = 20", "steps: int = 30"),
    ],
)
def test_a_changed_value_changes_the_digest(project: Path, file: str, old: str, new: str) -> None:
    before = recipe_digest(STUDY, project)
    edit(project / file, old, new)
    assert recipe_digest(STUDY, project) != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("evals/studies/sums.py", "(1, 2)", "(\n    1,\n    2,  # two\n)"),
        ("evals/studies/sums.py", "_SEEDS", "_DRAWS"),
        ("evals/studies/sums.py", "A title", "Another title"),
        ("evals/studies/sums.py", '"""Sums."""', '"""Other words."""'),
        ("evals/middle.py", "OF_NO_RECIPE = 1", "OF_NO_RECIPE = 2"),
        ("routers/training/unused.py", "0.7", "0.8"),
    ],
)
def test_words_names_layout_and_other_modules_leave_the_digest(project: Path, file: str, old: str, new: str) -> None:
    before = recipe_digest(STUDY, project)
    edit(project / file, old, new)
    assert recipe_digest(STUDY, project) == before


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_a_page_of_another_recipe_is_marked_and_one_of_todays_is_not() -> None:
    page = f"# A title\n\n{written_line('0123456789ab')}\n\nWords.\n"
    assert stated_recipe(page) == ("0123456789ab", False)
    assert marked(page, "0123456789ab") == page
    older = marked(page, "ba9876543210")
    assert stated_recipe(older) == ("0123456789ab", True)
    assert marked(older, "0123456789ab") == page
    assert marked("# No recipe\n", "0123456789ab") == "# No recipe\n"


def test_marking_leaves_pages_that_are_marked_already(tmp_path: Path) -> None:
    for page in PAGES.glob("*.md"):
        (tmp_path / page.name).write_bytes(page.read_bytes())
    mark_pages(tmp_path)
    assert [page.name for page in tmp_path.iterdir() if page.read_bytes() != (PAGES / page.name).read_bytes()] == []
