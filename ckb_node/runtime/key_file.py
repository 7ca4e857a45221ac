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
        identity = _read(path)
        if identity is not None:
            return identity
        kept = set_aside(path)
        log.error("the node's key is damaged; the node gets a new one, and so a new peer id", kept_as=str(kept))
        return _create(path)
    except OSError as error:
        raise KeyFileError(f"cannot use the node key {path}: {error.strerror}") from error


def read_identity(path: Path) -> Identity | None:
    """The identity in the file, None when it holds no key. Raises KeyFileError, also when there is no file."""
    try:
        return _read(path)
    except OSError as error:
        raise KeyFileError(f"cannot use the node key {path}: {error.strerror}") from error


def create_identity(path: Path) -> Identity:
    """A new identity in a new file. Raises KeyFileError."""
    try:
        return _create(path)
    except OSError as error:
        raise KeyFileError(f"cannot write the node key {path}: {error.strerror}") from error


def _read(path: Path) -> Identity | None:
    """None when the path is not a regular file, or no key of the right size."""
    if path.exists() and not path.is_file():
        return None
    with path.open("rb") as file:
        secret = file.read(SECRET_SIZE + 1)
    return Identity(secret) if is_secret_key(secret) else None


def _create(path: Path) -> Identity:
    identity = new_identity()
    write_whole(path, identity.secret, MODE)
    return identity
