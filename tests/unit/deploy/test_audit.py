"""`make audit`: every lock is read, without a network, and what an export of OSV says of a version is found."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "deploy"))
import audit

LOCKS = sorted((Path(__file__).parents[3] / "deploy" / "locks").glob("*.txt"))


def test_every_line_of_every_lock_is_read() -> None:
    pins = audit.read_locks()
    assert {lock for names in pins.values() for lock in names} == {path.stem for path in LOCKS}
    for path in LOCKS:
        stated = [line for line in path.read_text().splitlines() if "==" in line and not line.startswith(" ")]
        assert len({line.split(" ")[0] for line in stated}) == sum(path.stem in names for names in pins.values())
    assert audit.main(["--list"]) == 0


def test_what_pins_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("a==1 \\\n    --hash=sha256:0\nb>=2\n")
    with pytest.raises(ValueError, match="line 3: pins no version: b>=2"):
        audit.read_locks(tmp_path)


def database(folder: Path, *affected: dict[str, Any], **more: Any) -> Path:
    path = folder / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, one in enumerate(affected):
            package = {"package": {"ecosystem": "PyPI", "name": "Some.Thing"}}
            archive.writestr(f"{number}.json", json.dumps({"id": f"ID-{number}", "affected": [package | one], **more}))
        archive.writestr("README", "no json")
    return path


def within(*events: dict[str, str]) -> dict[str, Any]:
    return {"ranges": [{"type": "ECOSYSTEM", "events": list(events)}]}


@pytest.mark.parametrize(
    ("affected", "known"),
    [
        ({"versions": ["1.1", "1.2"]}, True),
        ({"versions": ["1.1"]}, False),
        (within({"introduced": "0"}), True),
        (within({"introduced": "0"}, {"fixed": "1.2"}), False),
        (within({"introduced": "1.0"}, {"fixed": "1.3"}), True),
        (within({"introduced": "0"}, {"last_affected": "1.2"}), True),
        (within({"introduced": "0"}, {"last_affected": "1.1"}), False),
        (within({"introduced": "0"}, {"fixed": "1.0"}, {"introduced": "1.2"}, {"fixed": "1.4"}), True),
        (within({"introduced": "no version"}), False),
        ({"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]}, False),
        ({"package": {"ecosystem": "npm", "name": "some-thing"}, "versions": ["1.2"]}, False),
    ],
)
def test_a_version_is_known_or_not(tmp_path: Path, affected: dict[str, Any], known: bool) -> None:
    found = audit.known_by_database(database(tmp_path, affected), [("some-thing", "1.2"), ("other", "1.2")])
    assert found == ({("some-thing", "1.2"): {"ID-0"}} if known else {})


def test_what_was_withdrawn_does_not_count(tmp_path: Path) -> None:
    path = database(tmp_path, {"versions": ["1.2"]}, withdrawn="2026-01-01T00:00:00Z")
    assert audit.known_by_database(path, [("some-thing", "1.2")]) == {}


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (name, version), *_ = sorted(audit.read_locks())
    bad = {"package": {"ecosystem": "PyPI", "name": name}, "versions": [version]}
    assert audit.main(["--database", str(database(tmp_path, {"versions": ["0"]}))]) == 0
    assert audit.main(["--database", str(database(tmp_path, bad))]) == 1
    assert f"{name} {version}" in capsys.readouterr().out
    assert audit.main(["--database", str(tmp_path / "absent.zip")]) == 2
    (tmp_path / "torn.zip").write_bytes(b"PK")
    assert audit.main(["--database", str(tmp_path / "torn.zip")]) == 2
