"""Strict YAML: nothing is guessed, nothing silently overwritten, and every value knows its line."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.gateway.settings import SettingsError
from pointsman.gateway.settings.yaml_source import parse, shown_path


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("10_000", 10_000),
        ("0x1f", 31),
        ("1e-3", 1e-3),
        ("1.5e2", 150.0),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        # What YAML 1.1 would turn into something else stays text.
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("010", "010"),
        ("2024-05-01", "2024-05-01"),
        ("1.2.3", "1.2.3"),
        ("0.0.0.0", "0.0.0.0"),
    ],
)
def test_scalars_are_what_they_look_like(scalar: str, value: object) -> None:
    read = parse(f"key: {scalar}", "f").data["key"]
    assert read == value
    assert type(read) is type(value)


def test_all_duplicate_keys_are_reported() -> None:
    with pytest.raises(SettingsError) as caught:
        parse("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 2\n", "f")
    assert caught.value.problems == [
        "b.c: duplicate key (line 5, first on line 3)",
        "a: duplicate key (line 6, first on line 1)",
    ]


def test_anchors_and_merges_work_and_an_own_key_beats_a_merged_one() -> None:
    document = parse("base: &b {x: 1, y: 2}\nmine: {<<: *b, y: 3}\nsame: *b\n", "f")
    assert document.data == {"base": {"x": 1, "y": 2}, "mine": {"x": 1, "y": 3}, "same": {"x": 1, "y": 2}}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [1", "line 1, column 6: not valid YAML"),
        ("a: &x [*x]", "a[0]: refers to itself"),
        ("- 1", "must hold a mapping"),
        ("1: a", "keys must be text"),
        ("? [a]\n: b", "keys must be text"),
        ("a: !!python/object/apply:os.system [ls]", "not valid YAML"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_what_is_not_plain_yaml_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text, "f")
    assert sentence in str(caught.value)


def test_lines_fall_back_to_the_nearest_parent() -> None:
    document = parse("a:\n  - b: 1\n    c:\n      d: 2\n", "f")
    assert document.line(("a",)) == 1
    assert document.line(("a", 0, "c", "d")) == 4
    assert document.line(("a", 0, "c", "missing", "deeper")) == 3
    assert document.line(("zzz",)) is None


def test_paths_read_as_people_write_them() -> None:
    assert shown_path(("pool", "experts", 2, "base_url")) == "pool.experts[2].base_url"


_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text("abc xyz", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcdef", min_size=1, max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=5), _plain, max_size=4))
def test_json_is_read_as_json(tree: dict[str, Any]) -> None:
    import json

    assert parse(json.dumps(tree, indent=1), "f").data == tree
