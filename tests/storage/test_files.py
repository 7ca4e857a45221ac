"""Files that are replaced whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from storage.files import set_aside, write_whole


def test_a_file_is_made_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.toml"
    write_whole(path, b"one")
    write_whole(path, b"two", 0o400)
    write_whole(path, b"three", 0o600)
    assert path.read_bytes() == b"three"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["file.toml"]


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_failure_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(step, fail)
        with pytest.raises(OSError, match="No space left"):
            write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    path, victim = tmp_path / "file", tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (tmp_path / "file.new").symlink_to(victim)
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert victim.read_bytes() == b"untouched"


def test_the_name_is_on_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", note)
    write_whole(tmp_path / "file", b"new")
    assert synced == [False, True]


def test_damaged_files_are_kept_under_names_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "pool.v1"
    names = []
    for content in (b"one", b"two"):
        path.write_bytes(content)
        names.append(set_aside(path).name)
    assert names == ["pool.v1.damaged-1", "pool.v1.damaged-2"]
    assert [(tmp_path / name).read_bytes() for name in names] == [b"one", b"two"]
    assert not path.exists()
