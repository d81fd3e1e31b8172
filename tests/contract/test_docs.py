"""The pages tell the truth: targets, commands, options, settings, metrics, headers, variables and links exist."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path

import click
import pytest
import yaml
from pydantic import BaseModel

from pointsman.experts.backends.__main__ import with_table
from pointsman.gateway.settings import Settings
from pointsman.routers.budget import CAPS, WEIGHTS
from tests.unit.deploy.exposition import families

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("experts/**/*.md"), *ROOT.glob("examples/**/*.md")]
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def code_of(page: Path) -> list[str]:
    """Lines of code blocks, continued lines joined, and code spans."""
    text = text_of(page)
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^```[^\n]*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [*lines, *re.findall(r"`([^`\n]+)`", prose)]


@cache
def targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@cache
def command(name: str) -> click.Command:
    module, attribute = PROJECT["entry-points"]["pointsman.commands"][name].split(":")
    found = getattr(import_module(module), attribute)
    assert isinstance(found, click.Command)
    return found


@cache
def settings_paths() -> frozenset[str]:
    """Dotted paths of every setting and every branch, without list indices."""

    def walk(model: type[BaseModel], prefix: str) -> set[str]:
        paths = set()
        for name, field in model.model_fields.items():
            path = f"{prefix}{name}"
            paths.add(path)
            for inner in _models_in(field.annotation):
                paths |= walk(inner, f"{path}.")
        return paths

    return frozenset(walk(Settings, ""))


@cache
def chart_paths() -> frozenset[str]:
    """Dotted paths of the chart's values."""

    def walk(values: object, prefix: str) -> set[str]:
        if not isinstance(values, dict):
            return set()
        return {path for key, below in values.items() for path in {prefix + key} | walk(below, f"{prefix}{key}.")}

    return frozenset(walk(yaml.safe_load((ROOT / "helm/pointsman/values.yaml").read_text(encoding="utf-8")), ""))


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models_in(inner)]


@cache
def source_text() -> str:
    files = [file for package in ("gateway", "routers", "experts", "evals") for file in (ROOT / package).rglob("*.py")]
    others = [ROOT / "Makefile", *(ROOT / "tests").rglob("*.py"), *(ROOT / "deploy").rglob("*.sh")]
    return "\n".join(file.read_text(encoding="utf-8") for file in [*files, *others] if file != Path(__file__))


def test_there_are_pages() -> None:
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= {page.name for page in PAGES}


@each_page
def test_make_targets_exist(page: Path) -> None:
    for code in code_of(page):
        for target in re.findall(r"(?:^|[\s$(])make ([a-z][a-z-]*)", code):
            assert target in targets(), code


@each_page
def test_commands_and_their_options_exist(page: Path) -> None:
    for code in code_of(page):
        for name, rest in re.findall(r"(?:^\$? ?|[\s;&|/(])pointsman ([a-z][a-z-]+)([^|;&#]*)", code):
            if re.search(r"(helm|kubectl|docker)\b", code):
                continue
            known = PROJECT["entry-points"]["pointsman.commands"]
            assert name in known, code
            options = {option for parameter in command(name).params for option in parameter.opts}
            # What stands in quotes is an argument, whatever it looks like.
            plain = re.sub(r"\"[^\"]*\"|'[^']*'", "", rest)
            for option in re.findall(r"(?<!\S)\[?(--[a-z][a-z0-9-]*)", plain):
                assert option in options | {"--help"}, f"{code}: {name} has no {option}"


@each_page
def test_dotted_settings_exist(page: Path) -> None:
    branches = tuple(f"{name}." for name in Settings.model_fields)
    for code in code_of(page):
        if not re.fullmatch(r"[a-z_]+(\[\d*\])?(\.[a-z_0-9]+(\[\d*\])?)+(: .*)?", code) or not code.startswith(
            branches
        ):
            continue
        path = re.sub(r"\[\d*\]|: .*", "", code)
        # A file name such as `pool.py` is no setting.
        if path.endswith((".py", ".md", ".yaml", ".json")):
            continue
        # The chart's own values share some branches' names.
        assert path in settings_paths() | chart_paths(), code


def test_every_setting_is_documented() -> None:
    page = ROOT / "docs/reference/settings.md"
    spans = {word for code in code_of(page) for word in re.findall(r"[a-z_0-9]+", code)}
    undocumented = {path for path in settings_paths() if path.rsplit(".", 1)[-1] not in spans}
    assert undocumented == set()


def test_the_table_of_backends_is_that_of_their_declarations() -> None:
    page = ROOT / "docs" / "backends.md"
    assert text_of(page) == with_table(text_of(page)), (
        "run: python -m pointsman.experts.backends --write docs/backends.md"
    )


def test_a_backend_is_written_as_the_page_says() -> None:
    example = ROOT / "examples" / "backend"
    files = "\n".join(file.read_text(encoding="utf-8") for file in sorted(example.iterdir()) if file.is_file())
    blocks = re.findall(
        r"^```(?:python|toml|yaml)\n(.*?)^```", text_of(ROOT / "docs" / "add-a-backend.md"), re.M | re.S
    )
    assert len(blocks) >= 4
    for block in blocks:
        assert block in files, block


def test_every_metric_is_documented_as_it_is() -> None:
    rows = re.findall(
        r"^\| `(pointsman_\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", text_of(ROOT / "docs/metrics.md"), re.MULTILINE
    )
    documented = {name: (kind, tuple(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in rows}
    assert documented == {family.name: (family.kind, family.labels, family.meaning) for family in families()}


def test_every_label_is_documented() -> None:
    section = text_of(ROOT / "docs/metrics.md").split("Labels and their values")[1]
    documented = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert documented == {label for family in families() for label in family.labels}


@each_page
def test_headers_exist(page: Path) -> None:
    stated = {row.header for row in (*CAPS, *WEIGHTS)}
    for header in re.findall(r"\bx-pointsman-[a-z-]*[a-z]", text_of(page)):
        assert header in stated or header in source_text(), header


@each_page
def test_environment_variables_exist(page: Path) -> None:
    # API keys carry whatever name the settings give them.
    for variable in set(re.findall(r"\bPOINTSMAN_[A-Z_]*[A-Z]\b", text_of(page))) - {"POINTSMAN_API_KEY"}:
        assert variable in source_text(), variable


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), target


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_files_that_are_named_exist(page: Path) -> None:
    tops = "examples|gateway|routers|experts|evals|deploy|helm|docs|tests"
    for code in code_of(page):
        if re.fullmatch(rf"(?:{tops})/[\w./-]+", code):
            assert (ROOT / code).exists(), code


@each_page
def test_no_line_of_prose_is_a_paragraph(page: Path) -> None:
    """A change of one word is then a change of one line; rows of tables are what they are."""
    assert [line[:80] for line in text_of(page).splitlines() if len(line) > 400 and not line.startswith("|")] == []


@each_page
def test_no_cell_of_a_table_is_a_paragraph(page: Path) -> None:
    rows = [line for line in text_of(page).splitlines() if line.startswith("|")]
    cells = [cell.strip() for row in rows for cell in re.split(r"(?<!\\)\|", row)]
    assert [cell[:80] for cell in cells if len(cell) > 400] == []


def test_glossary_terms_stand_there_once() -> None:
    rows = re.findall(r"^\| (.+?) \| (.+?) \|", text_of(ROOT / "docs/glossary.md"), re.MULTILINE)
    terms = [term.strip() for names, _ in rows for term in names.split(",") if term.strip("- ") not in {"", "term"}]
    assert len(terms) > 60
    assert {term for term in terms if terms.count(term) > 1} == set()


@pytest.mark.parametrize("name", PROJECT["entry-points"]["pointsman.commands"])
def test_every_command_explains_itself(name: str) -> None:
    told = command(name)
    assert told.help
    for parameter in told.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_every_make_target_that_is_listed_explains_itself() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.findall(r"^\.PHONY: (\S+)$", makefile, re.MULTILINE))
    explained = set(re.findall(r"^([a-z][a-z-]*):.*## .+$", makefile, re.MULTILINE))
    assert phony == explained
