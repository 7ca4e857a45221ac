"""The file of the node's own key: 32 raw bytes that only this user can read."""

from __future__ import annotations

from pathlib import Path

import structlog

from network.identity import SECRET_SIZE, Identity, is_secret_key, new_identity
from storage.files import set_aside, write_whole

log = structlog.get_logger("node")

MODE = 0o400


class KeyFileError(Exception):
    """The key file cannot be read or written; the message names it."""


def load_or_create_identity(path: Path) -> Identity:
    """The identity in the file. A new one when there is no file, or no key in it; such a file is renamed, not deleted.

    Raises KeyFileError.
    """
    try:
        if not path.exists():
            return _create(path)
        secret = _read(path)
        if is_secret_key(secret):
            return Identity(secret)
        kept = set_aside(path)
        log.error("the node's key is damaged; the node gets a new one, and so a new peer id", kept_as=str(kept))
        return _create(path)
    except OSError as error:
        raise KeyFileError(f"cannot use the node key {path}: {error.strerror}") from error


def _read(path: Path) -> bytes:
    """At most one byte more than a key; empty when the path is not a regular file."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(SECRET_SIZE + 1)


def _create(path: Path) -> Identity:
    identity = new_identity()
    write_whole(path, identity.secret, MODE)
    return identity
