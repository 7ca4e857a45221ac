"""What can be wrong with accounts and their files. Each message is one line for a person."""

from __future__ import annotations

from pathlib import Path

from ckb_node.runtime.errors import CommandError


class AccountError(CommandError):
    """An account cannot be made, read or found."""


class BadKeyError(AccountError):
    """Not a private key of secp256k1."""

    def __init__(self) -> None:
        super().__init__("not a private key: 32 bytes, not zero, below the order of secp256k1")


class BadKeystoreError(AccountError):
    """A keystore file that is damaged, hostile, or of a kind that is not supported."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"not a keystore that can be read: {detail}")
        self.detail = detail


class WrongPasswordError(AccountError):
    """The password does not open the keystore."""

    def __init__(self) -> None:
        super().__init__("the password is wrong, or the keystore is damaged")


class AccountNotFoundError(AccountError):
    """No account of this name, argument or address."""

    def __init__(self, asked: str, directory: Path) -> None:
        super().__init__(f"no account {asked!r} in {directory}: `ckb-node account list` shows those that are there")
        self.asked, self.directory = asked, directory


class AmbiguousAccountError(AccountError):
    """Several accounts have this name."""

    def __init__(self, asked: str) -> None:
        super().__init__(f"several accounts are called {asked!r}: give the lock argument instead")
        self.asked = asked


class AccountExistsError(AccountError):
    """The account, or another one of this name, is there already."""

    def __init__(self, what: str) -> None:
        super().__init__(f"account {what} exists already")
        self.what = what
