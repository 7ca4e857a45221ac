"""The node's key: made once, read again, never lost."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ckb_node.runtime.key_file import KeyFileError, load_or_create_identity


def test_the_next_run_has_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "network" / "secret_key"
    made = load_or_create_identity(path)
    assert load_or_create_identity(path) == made
    assert path.read_bytes() == made.secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert [each.name for each in path.parent.iterdir()] == ["secret_key"]


@pytest.mark.parametrize("content", [b"", b"short", bytes(32), b"\xff" * 32, bytes(100_000)])
def test_a_damaged_key_is_kept_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret_key"
    path.write_bytes(content)
    identity = load_or_create_identity(path)
    assert load_or_create_identity(path) == identity
    assert (tmp_path / "secret_key.damaged-1").read_bytes() == content


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "secret_key"
    os.mkfifo(path)
    load_or_create_identity(path)
    assert path.is_file()


def test_no_room_leaves_no_half_of_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "secret_key"
    monkeypatch.setattr("os.fsync", no_room)
    with pytest.raises(KeyFileError, match="No space left"):
        load_or_create_identity(path)
    assert list(tmp_path.iterdir()) == []
