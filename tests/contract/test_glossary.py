"""The words of the code are those of docs/glossary.md."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "routers", "experts", "evals", "pointsman")
GLOSSARY = ROOT / "docs" / "glossary.md"
ORDINARY = "## Ordinary programming words"


def squeezed(term: str) -> str:
    """A term as it stands in a class name, in lower case: letters and digits, in the singular."""
    letters = re.sub(r"[^a-z0-9]", "", term.lower())
    if letters.endswith(("ss", "us", "is")) or len(letters) < 3:
        return letters
    for plural, singular in (("ies", "y"), ("shes", "sh"), ("s", "")):
        if letters.endswith(plural):
            return letters.removesuffix(plural) + singular
    return letters


@cache
def terms() -> frozenset[str]:
    """First cells of the glossary's tables; commas stand between the terms of one cell."""
    tables = GLOSSARY.read_text(encoding="utf-8").partition(ORDINARY)[0]
    cells = re.findall(r"^\| ([^|]+) \|", tables, re.MULTILINE)
    return frozenset(squeezed(term) for cell in cells for term in cell.split(","))


@cache
def ordinary_words() -> frozenset[str]:
    """The words of the list: each item has a heading, a colon, and words with commas between them."""
    listed = GLOSSARY.read_text(encoding="utf-8").partition(ORDINARY)[2]
    items = re.findall(r"^- [^:]+: ([^.]+)\.$", listed, re.MULTILINE)
    return frozenset(squeezed(word) for item in items for word in item.split(","))


@cache
def public_classes() -> dict[str, str]:
    """Name of every public class -> its file."""
    return {
        node.name: str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }


def endings(name: str) -> set[str]:
    """What a class name ends with: its last word, its last two words, and so on to the whole name."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*", name)
    return {squeezed("".join(words[start:])) for start in range(len(words))}


def test_every_class_is_named_with_a_word_of_the_glossary() -> None:
    known = terms() | ordinary_words()
    assert {name: file for name, file in public_classes().items() if not endings(name) & known} == {}


def test_every_ordinary_word_names_a_class() -> None:
    named = {ending for name in public_classes() for ending in endings(name)}
    assert ordinary_words() - named == frozenset()


def test_no_ordinary_word_is_a_term_as_well() -> None:
    assert ordinary_words() & terms() == frozenset()


def test_a_name_that_ends_with_an_unknown_word_is_seen() -> None:
    assert endings("FanOut") == {"out", "fanout"}
    assert endings("OpenAIHttpExpert") >= {"expert", "httpexpert"}
    assert "fanout" in terms()
    assert not endings("RequestFound") & (terms() | ordinary_words())
