"""The folder of the sockets is nobody else's to write."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pointsman.experts.backends.embedded_engine import EngineProcess
from pointsman.gateway.process.runtime_dir import ENV, runtime_dir


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
def test_a_named_folder_that_others_may_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    given.chmod(mode)
    monkeypatch.setenv(ENV, str(given))
    with pytest.raises(PermissionError, match="may be written by others"), runtime_dir():
        pass
    assert list(given.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_named_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tmp_path / "given"
    given.mkdir(mode=0o700)
    os.chown(given, 65534, 65534)
    monkeypatch.setenv(ENV, str(given))
    with pytest.raises(PermissionError, match="belongs to another user"), runtime_dir():
        pass


def test_a_place_that_others_may_write_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "t"
    place.mkdir()
    place.chmod(0o777)
    monkeypatch.delenv(ENV, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(place))
    with runtime_dir() as folder:
        assert folder.parent != place
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("mode", [0o777, 0o770])
async def test_no_engine_is_asked_or_started_where_others_may_write(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "engine"
    folder.mkdir()
    folder.chmod(mode)
    engine = EngineProcess(folder / "embedded.sock")
    with pytest.raises(PermissionError, match="may be written by others"):
        await engine.ensure()
    await engine.aclose()
