"""Ask OSV what is known against the packages of every lock: `make audit`.

Without arguments https://api.osv.dev is asked, by name and version. `--database FILE` asks nobody: the file is OSV's
export of everything on PyPI, https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip, brought here by whatever
means. `--list` only reads the locks. Exit codes: 0 nothing is known, 1 something is, 2 nobody could be asked.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import urllib.request
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

LOCKS: Final = Path(__file__).parent / "locks"
_API: Final = "https://api.osv.dev/v1/querybatch"
_PIN: Final = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)")
#: Queries in one call of the API.
_BATCH: Final = 500
#: What is known and does not concern us: id -> why.
ACCEPTED: Final[Mapping[str, str]] = {}

#: Name and version -> the locks that name it.
Pins = dict[tuple[str, str], list[str]]


def read_locks(folder: Path = LOCKS) -> Pins:
    """Every package of every lock.

    Raises:
        ValueError: A line pins nothing.
    """
    pins: Pins = {}
    for lock in sorted(folder.glob("*.txt")):
        for number, line in enumerate(lock.read_text("utf-8").splitlines(), 1):
            if not line.strip() or line.lstrip().startswith(("#", "--hash=")):
                continue
            pin = _PIN.match(line)
            if pin is None:
                raise ValueError(f"{lock.name}, line {number}: pins no version: {line.strip()}")
            pins.setdefault((canonicalize_name(pin[1]), pin[2]), []).append(lock.stem)
    return pins


def known_by_database(database: Path, pins: Iterable[tuple[str, str]]) -> dict[tuple[str, str], set[str]]:
    """Ids of what an export of OSV knows, by name and version."""
    versions: dict[str, list[str]] = {}
    for name, version in pins:
        versions.setdefault(name, []).append(version)
    found: dict[tuple[str, str], set[str]] = {}
    with zipfile.ZipFile(database) as archive:
        for member in archive.namelist():
            if not member.endswith(".json"):
                continue
            entry = json.loads(archive.read(member))
            if entry.get("withdrawn"):
                continue
            for affected in entry.get("affected", ()):
                package = affected.get("package", {})
                name = canonicalize_name(package.get("name", ""))
                for version in versions.get(name, ()) if package.get("ecosystem") == "PyPI" else ():
                    if _is_affected(affected, version):
                        found.setdefault((name, version), set()).add(entry["id"])
    return found


def _is_affected(affected: Mapping[str, Any], version: str) -> bool:
    """Whether a version is listed, or lies within a range from `introduced` to `fixed` or `last_affected`."""
    if version in affected.get("versions", ()):
        return True
    mine = Version(version)
    for one in affected.get("ranges", ()):
        inside = False
        for event in one.get("events", ()) if one.get("type") == "ECOSYSTEM" else ():
            (kind, bound), *_ = event.items()
            try:
                at = Version("0" if bound == "0" else bound)
            except InvalidVersion:
                continue
            if kind == "introduced" and mine >= at:
                inside = True
            elif (kind == "fixed" and mine >= at) or (kind == "last_affected" and mine > at):
                inside = False
        if inside:
            return True
    return False


def known_online(pins: Iterable[tuple[str, str]]) -> dict[tuple[str, str], set[str]]:
    """The same from OSV's API.

    Raises:
        OSError, ValueError: It cannot be asked, or answers something else.
    """
    asked = sorted(pins)
    found: dict[tuple[str, str], set[str]] = {}
    for at in range(0, len(asked), _BATCH):
        batch = asked[at : at + _BATCH]
        queries = [{"package": {"name": n, "ecosystem": "PyPI"}, "version": v} for n, v in batch]
        request = urllib.request.Request(  # a constant address
            _API, json.dumps({"queries": queries}).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
            results = json.load(reply)["results"]
        for pin, result in zip(batch, results, strict=True):
            if ids := {one["id"] for one in result.get("vulns", ())}:
                found[pin] = ids
    return found


def _told(pins: Pins, found: Mapping[tuple[str, str], set[str]]) -> Iterator[str]:
    for pin in sorted(found):
        if ids := sorted(found[pin] - ACCEPTED.keys()):
            yield f"{pin[0]} {pin[1]} ({', '.join(pins[pin])}): {', '.join(ids)}"


def main(arguments: list[str] | None = None) -> int:
    """Read, ask, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", type=Path, help="OSV's export of PyPI, a zip file")
    parser.add_argument("--list", action="store_true", help="only read the locks")
    options = parser.parse_args(arguments)
    pins = read_locks()
    locks = len({lock for names in pins.values() for lock in names})
    sys.stdout.write(f"{len(pins)} packages in {locks} locks\n")
    if options.list:
        return 0
    try:
        found = known_by_database(options.database, pins) if options.database else known_online(pins)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        sys.stderr.write(f"nobody could be asked: {error}\n")
        return 2
    lines = list(_told(pins, found))
    sys.stdout.write("\n".join(lines or ["nothing is known against them"]) + "\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
