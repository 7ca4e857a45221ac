"""A directory of keystore files, ckb-cli's or ours: `UTC--<time>--<lock argument>`, readable by this user only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ckb_node.accounts.errors import (
    AccountError,
    AccountExistsError,
    AccountNotFoundError,
    AmbiguousAccountError,
    BadKeystoreError,
)
from ckb_node.accounts.keys import LOCK_ARG_SIZE, AccountKey, lock_of
from ckb_node.accounts.keystore import (
    MAX_KEYSTORE_BYTES,
    MAX_NAME_CHARS,
    STRONG,
    Scrypt,
    is_name,
    name_in,
    open_keystore,
    parse,
    seal,
)
from consensus.address import AddressError, decode_address
from storage.files import write_whole

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700
MAX_FILES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Account:
    """An account whose keystore is in the directory. `name` is None for one that ckb-cli made."""

    lock_arg: bytes
    name: str | None
    path: Path


class AccountStore:
    """The accounts of a directory, which need not exist before the first one is made. Raises OSError."""

    def __init__(self, directory: Path, cost: Scrypt = STRONG) -> None:
        self.directory: Final = directory
        self._cost: Final = cost

    def accounts(self) -> list[Account]:
        """All of them, oldest first by the time in their names; files that are no keystores are left out."""
        if not self.directory.exists():
            return []
        return list(self._read_all())

    def _read_all(self) -> Iterator[Account]:
        paths = sorted(self.directory.iterdir())
        if len(paths) > MAX_FILES:
            raise AccountError(f"{self.directory}: more than {MAX_FILES} files")
        for path in paths:
            lock_arg = _lock_arg_of(path.name)
            if lock_arg is None or not path.is_file():
                continue
            try:
                yield Account(lock_arg, name_in(read_keystore(path)), path)
            except BadKeystoreError:
                continue

    def find(self, asked: str) -> Account:
        """The account of a name, a lock argument or an address. Raises AccountNotFoundError, AmbiguousAccountError."""
        wanted = _lock_arg_asked(asked)
        found = [each for each in self.accounts() if each.name == asked or each.lock_arg == wanted]
        if not found:
            raise AccountNotFoundError(asked, self.directory)
        if len({each.lock_arg for each in found}) > 1:
            raise AmbiguousAccountError(asked)
        return found[0]

    def add(self, key: AccountKey, password: bytes, name: str | None = None) -> Account:
        """Keep a key under a password. AccountExistsError; BadKeyError; AccountError for a bad name."""
        if name is not None:
            _verify_name(name)
        for each in self.accounts():
            if each.lock_arg == key.lock_arg:
                raise AccountExistsError(f"0x{each.lock_arg.hex()}")
            if name is not None and each.name == name:
                raise AccountExistsError(repr(name))
        self.directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        now = datetime.now(UTC)
        stamp = f"{now:%Y-%m-%dT%H-%M-%S}.{now.microsecond * 1000:09}Z"
        path = self.directory / f"UTC--{stamp}--{key.lock_arg.hex()}"
        write_whole(path, seal(key, password, self._cost, name), FILE_MODE)
        return Account(key.lock_arg, name, path)

    def open(self, account: Account, password: bytes) -> AccountKey:
        """The key of an account. Raises WrongPasswordError, BadKeystoreError, BadKeyError."""
        key = open_keystore(read_keystore(account.path), password)
        if key.lock_arg != account.lock_arg:
            raise BadKeystoreError(f"{account.path.name}: it holds another account's key than its name says")
        return key


def read_keystore(path: Path) -> dict[str, Any]:
    """The document in a file. Raises BadKeystoreError, OSError."""
    if path.exists() and not path.is_file():
        raise BadKeystoreError(f"{path}: not a regular file")  # a pipe might never be written to
    with path.open("rb") as file:
        return parse(file.read(MAX_KEYSTORE_BYTES + 1))


def _verify_name(name: str) -> None:
    if not is_name(name) or _lock_arg_asked(name) is not None:
        raise AccountError(f"a name has 1 to {MAX_NAME_CHARS} printable characters, and is no lock argument or address")


def _lock_arg_of(file_name: str) -> bytes | None:
    return _lock_arg(file_name.rsplit("--", 1)[-1]) if "--" in file_name else None


def _lock_arg_asked(asked: str) -> bytes | None:
    plain = _lock_arg(asked.removeprefix("0x"))
    if plain is not None:
        return plain
    try:
        script = decode_address(asked).script
    except AddressError:
        return None
    return script.args if script == lock_of(script.args) else None


def _lock_arg(text: str) -> bytes | None:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        return None
    return found if len(found) == LOCK_ARG_SIZE and len(text) == 2 * LOCK_ARG_SIZE else None
