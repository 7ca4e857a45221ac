"""`ckb-node account`: keys for rewards and for the accounts of a dev chain, in ckb-cli's files.

Passwords come from a prompt or a file, never from the command line, which other users of the machine may read.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ckb_node.accounts.errors import AccountError
from ckb_node.accounts.keys import CHAIN_CODE_SIZE, AccountKey, key_of_secret, lock_of, new_key
from ckb_node.accounts.keystore import MAX_PASSWORD_BYTES, open_keystore
from ckb_node.accounts.store import FILE_MODE, Account, AccountStore, read_keystore
from ckb_node.cli.group import NodeCommand
from ckb_node.cli.options import directory_option, root_of
from ckb_node.runtime.text_file import read_text
from consensus.address import AddressNetwork, encode_address
from storage.files import write_whole

KEYSTORE = "keystore"
"""Below the node's directory."""
MAX_KEY_FILE_BYTES = 1024


class _AccountGroup(click.Group):
    command_class = NodeCommand


@click.group("account", cls=_AccountGroup)
@directory_option
def account_command() -> None:
    """Keys, in files that ckb-cli can read and write too."""


def _store_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--keystore",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Instead of keystore in the node's directory; ckb-cli's own is ~/.ckb-cli/keystore.",
    )(function)


_password_option = click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Its first line is the password; without it you are asked.",
)


def _store(context: click.Context, keystore: Path | None) -> AccountStore:
    return AccountStore(keystore or root_of(context) / KEYSTORE)


@account_command.command("new")
@directory_option
@_store_option
@_password_option
@click.option("--name", help="How you want to call it.")
@click.pass_context
def new(context: click.Context, keystore: Path | None, password_file: Path | None, name: str | None) -> None:
    """Make a new account."""
    store = _store(context, keystore)
    added = store.add(new_key(), _password(password_file, is_new=True), name)
    _tell_new(context, added, is_elsewhere=keystore is not None)


@account_command.command("list")
@directory_option
@_store_option
@click.pass_context
def list_accounts(context: click.Context, keystore: Path | None) -> None:
    """Show all accounts; no password is needed."""
    store = _store(context, keystore)
    accounts = store.accounts()
    if not accounts:
        click.echo(f"no accounts in {store.directory}; `ckb-node account new` makes one")
    for each in accounts:
        _tell(each)


@account_command.command("import")
@directory_option
@_store_option
@_password_option
@click.option("--name", help="How you want to call it.")
@click.option("--keystore-file", type=click.Path(path_type=Path), metavar="FILE", help="ckb-cli's, or exported here.")
@click.option(
    "--private-key-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The key in hexadecimal digits; the chain code, if there is one, on the second line.",
)
@click.pass_context
def import_account(
    context: click.Context,
    keystore: Path | None,
    password_file: Path | None,
    name: str | None,
    keystore_file: Path | None,
    private_key_file: Path | None,
) -> None:
    """Take an account from a file. Of a keystore file the password stays the same."""
    store = _store(context, keystore)
    if keystore_file is not None and private_key_file is None:
        document = read_keystore(keystore_file)
        password = _password(password_file)
        key = open_keystore(document, password)
    elif private_key_file is not None and keystore_file is None:
        key = _key_in(private_key_file)
        password = _password(password_file, is_new=True)
    else:
        raise click.UsageError("give one of --keystore-file and --private-key-file")
    _tell_new(context, store.add(key, password, name), is_elsewhere=keystore is not None)


@account_command.command("export")
@directory_option
@_store_option
@_password_option
@click.argument("account")
@click.option("--to", "target", type=click.Path(path_type=Path), required=True, metavar="FILE", help="A new file.")
@click.option("--private-key", is_flag=True, help="Not the keystore: the key itself, which anybody can use.")
@click.pass_context
def export(
    context: click.Context,
    keystore: Path | None,
    password_file: Path | None,
    account: str,
    target: Path,
    private_key: bool,
) -> None:
    """Write an account, by name, lock argument or address, to a file that only you can read."""
    store = _store(context, keystore)
    found = store.find(account)
    if target.exists():
        raise AccountError(f"{target}: exists already")
    key = store.open(found, _password(password_file))
    content = f"{key.secret.hex()}\n{key.chain_code.hex()}\n".encode() if private_key else found.path.read_bytes()
    write_whole(target, content, FILE_MODE)
    click.echo(f"written: {target}" + ("; whoever reads it owns the account" if private_key else ""))


def _key_in(path: Path) -> AccountKey:
    lines = [line.strip().removeprefix("0x") for line in read_text(path, MAX_KEY_FILE_BYTES).split()]
    try:
        parts = [bytes.fromhex(line) for line in lines]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 2 or len(parts[-1]) != CHAIN_CODE_SIZE:
        raise AccountError(f"{path}: no private key of 64 hexadecimal digits")
    key = key_of_secret(parts[0])
    return key if len(parts) == 1 else AccountKey(key.secret, parts[1])


def _password(path: Path | None, *, is_new: bool = False) -> bytes:
    if path is not None:
        text = read_text(path, MAX_PASSWORD_BYTES).split("\n", 1)[0].removesuffix("\r")
    else:
        text = click.prompt("Password", hide_input=True, confirmation_prompt=is_new, err=True)
    password = text.encode(errors="surrogateescape")
    if not 0 < len(password) <= MAX_PASSWORD_BYTES:
        raise AccountError(f"a password has 1 to {MAX_PASSWORD_BYTES} bytes")
    return password


def _tell(account: Account) -> None:
    lock = lock_of(account.lock_arg)
    click.echo(f"- name:            {account.name or '-'}")
    click.echo(f"  lock_arg:        0x{account.lock_arg.hex()}")
    click.echo(f"  mainnet_address: {encode_address(lock, AddressNetwork.MAINNET)}")
    click.echo(f"  testnet_address: {encode_address(lock, AddressNetwork.TESTNET)}")
    click.echo(f"  file:            {account.path}")


def _tell_new(context: click.Context, account: Account, *, is_elsewhere: bool) -> None:
    _tell(account)
    lock_arg = f"0x{account.lock_arg.hex()}"
    option = f"--ba-arg {lock_arg}" if is_elsewhere else f"--ba-account {account.name or lock_arg}"
    click.echo("Keep a copy of the file and the password: without both the key is lost.", err=True)
    directory = "" if context.obj is None else f" -C {shlex.quote(str(context.obj))}"
    click.echo(f"To mine for it: ckb-node init{directory} {option}", err=True)
