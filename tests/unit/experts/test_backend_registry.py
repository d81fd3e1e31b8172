"""Backends are found by name in what is installed, and imported when they are named."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pointsman.experts.backend_registry import BackendUnavailable, backend_spec, installed_backends

OWN = ("embedded", "fake", "litellm", "openai_http", "replay")


def package(folder: Path, name: str, points: str, code: str = "") -> None:
    """A package as pip leaves it: metadata with entry points, and a module."""
    info = folder / f"{name}-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[pointsman.backends]\n{points}\n", encoding="utf-8")
    (folder / f"{name}.py").write_text(code, encoding="utf-8")


def told(folder: Path, name: str) -> str:
    """What somebody hears who names a backend where these packages are installed too."""
    code = f"""
        from pointsman.experts.backend_registry import BackendUnavailable, backend_spec
        try:
            backend_spec({name!r})
        except BackendUnavailable as error:
            print(error)
    """
    command = [sys.executable, "-c", f"import sys; sys.path.append({str(folder)!r})\n{textwrap.dedent(code)}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def test_our_own_are_registered_like_any_other() -> None:
    assert installed_backends() == OWN
    for name in OWN:
        assert backend_spec(name).reaches


def test_an_unknown_backend_name_lists_the_installed_ones() -> None:
    with pytest.raises(
        BackendUnavailable, match=r"no backend 'litelm' .*\(did you mean litellm\?\); installed are embe"
    ):
        backend_spec("litelm")


@pytest.mark.parametrize(
    ("points", "code", "sentence"),
    [
        ("other = third:GONE", "", "backend 'other' of third cannot be imported: AttributeError"),
        ("other = third:X", "1 / 0", "backend 'other' of third cannot be imported: ZeroDivisionError"),
        ("other = third:X", "X = 3", "backend 'other' of third: third:X is no BackendSpec"),
        ("fake = third:X", "X = 3", "backend 'fake' is in two packages, pointsman and third: remove one of them"),
    ],
)
def test_a_package_that_is_broken_is_named(tmp_path: Path, points: str, code: str, sentence: str) -> None:
    package(tmp_path, "third", points, code)
    name = points.split(" ")[0]
    assert told(tmp_path, name).startswith(sentence)


def test_a_package_may_not_take_the_name_of_what_calls_no_model(tmp_path: Path) -> None:
    package(tmp_path, "third", "null = third:X", "X = 3")
    assert "no backend 'null' is installed" in told(tmp_path, "null")


def test_what_is_not_named_is_not_imported() -> None:
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from pointsman.gateway.settings.load import parse_settings
        parse_settings("pool: {experts: [{name: a, backend: fake}]}", source="s", folder=Path("."))
        print(*sorted(name for name in sys.modules if name.startswith("pointsman.experts.backends.")))
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    imported = {name.split(".")[3] for name in done.stdout.split()}
    assert "fake" in imported
    assert not imported & {"embedded", "embedded_engine", "litellm", "openai_http", "replay"}
