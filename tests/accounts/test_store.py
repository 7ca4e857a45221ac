"""The directory of accounts: who may read it, how an account is found, what is left out."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ckb_node.accounts.errors import (
    AccountError,
    AccountExistsError,
    AccountNotFoundError,
    AmbiguousAccountError,
    BadKeystoreError,
)
from ckb_node.accounts.keys import AccountKey, lock_of
from ckb_node.accounts.keystore import Scrypt
from ckb_node.accounts.store import AccountStore, read_keystore
from consensus.address import AddressNetwork, encode_address

CHEAP = Scrypt(2, 8, 1)
ONE, TWO = AccountKey(b"\1" * 32, b"\1" * 32), AccountKey(b"\2" * 32, b"\2" * 32)


@pytest.fixture
def store(tmp_path: Path) -> AccountStore:
    return AccountStore(tmp_path / "keystore", CHEAP)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_this_user_may_read(store: AccountStore) -> None:
    account = store.add(ONE, b"x", "miner")
    assert (mode(store.directory), mode(account.path)) == (0o700, 0o600)
    assert [each.name for each in store.directory.iterdir()] == [account.path.name]


def test_an_account_is_found_by_name_argument_and_address(store: AccountStore) -> None:
    account = store.add(ONE, b"x", "miner")
    store.add(TWO, b"x")
    lock_arg = ONE.lock_arg.hex()
    addresses = [encode_address(lock_of(ONE.lock_arg), network) for network in AddressNetwork]
    for asked in ("miner", lock_arg, f"0x{lock_arg}", *addresses):
        assert store.find(asked) == account
    assert store.open(account, b"x") == ONE
    for asked in ("Miner", lock_arg[:-2], f"0x{'00' * 20}", ""):
        with pytest.raises(AccountNotFoundError):
            store.find(asked)


def test_the_address_of_another_lock_is_no_account(store: AccountStore) -> None:
    store.add(ONE, b"x")
    other = lock_of(ONE.lock_arg).raw.replace(lock_of(b"").code_hash, b"\7" * 32)
    address = encode_address(type(lock_of(b"")).parse(other), AddressNetwork.TESTNET)
    with pytest.raises(AccountNotFoundError):
        store.find(address)


def test_an_account_or_a_name_is_there_once(store: AccountStore) -> None:
    store.add(ONE, b"x", "miner")
    with pytest.raises(AccountExistsError):
        store.add(ONE, b"y", "other")
    with pytest.raises(AccountExistsError):
        store.add(TWO, b"y", "miner")
    assert len(store.accounts()) == 1


def test_names_that_would_mislead_are_refused(store: AccountStore) -> None:
    address = encode_address(lock_of(TWO.lock_arg), AddressNetwork.MAINNET)
    for name in ("", "  ", "a" * 65, "a\nb", "\x1b[2J", TWO.lock_arg.hex(), address):
        with pytest.raises(AccountError):
            store.add(ONE, b"x", name)
    assert store.accounts() == []


def test_a_name_that_was_copied_to_another_account_is_told(store: AccountStore) -> None:
    store.add(ONE, b"x", "miner")
    elsewhere = AccountStore(store.directory.with_name("other"), CHEAP).add(TWO, b"x", "miner")
    elsewhere.path.rename(store.directory / elsewhere.path.name)
    with pytest.raises(AmbiguousAccountError):
        store.find("miner")


def test_other_files_are_left_out(store: AccountStore) -> None:
    account = store.add(ONE, b"x")
    (store.directory / "notes.txt").write_text("mine")
    (store.directory / f"UTC--now--{'00' * 20}").write_text("{")
    (store.directory / f"UTC--dir--{'11' * 20}").mkdir()
    assert store.accounts() == [account]


def test_a_file_under_another_name_does_not_open(store: AccountStore) -> None:
    account = store.add(ONE, b"x")
    account.path.rename(store.directory / f"UTC--now--{TWO.lock_arg.hex()}")
    (found,) = store.accounts()
    with pytest.raises(BadKeystoreError):
        store.open(found, b"x")


def test_a_directory_that_is_not_there_has_no_accounts(store: AccountStore) -> None:
    assert store.accounts() == []


def test_a_name_in_a_file_that_would_write_to_the_terminal_is_not_shown(store: AccountStore) -> None:
    account = store.add(ONE, b"x", "miner")
    account.path.write_bytes(account.path.read_bytes().replace(b'"miner"', b'"\\u001b[2J"'))
    assert [each.name for each in store.accounts()] == [None]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadKeystoreError, match="not a regular file"):
        read_keystore(tmp_path / "pipe")
