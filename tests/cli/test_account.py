"""`ckb-node account`: new, list, import, export, and a node that mines for an account."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import pytest

import ckb_node.cli.account as account_cli
from ckb_node.accounts.keystore import Scrypt
from ckb_node.accounts.store import AccountStore
from ckb_node.config import CONFIG_NAME
from tests.support.nodes.directories import CLI, FAILURE, IO, OK, invoke

SECRET = "11" * 32


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """scrypt at its least: nothing here is about its strength."""
    monkeypatch.setattr(account_cli, "AccountStore", lambda directory: AccountStore(directory, Scrypt(2, 8, 1)))


@pytest.fixture
def password(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text("secret\r\nanother line\n")
    return str(path)


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "node")


def test_an_account_goes_through_files_and_keeps_its_key(tmp_path: Path, root: str, password: str) -> None:
    made = invoke("account", "new", "-C", root, "--name", "miner", "--password-file", password)
    assert made.exit_code == OK, made.output
    assert f"To mine for it: ckb-node init -C {root} --ba-account miner" in made.output
    keystore, key = tmp_path / "copy.json", tmp_path / "key"
    for arguments in (["--to", str(keystore)], ["--to", str(key), "--private-key"]):
        done = invoke("account", "export", "miner", "-C", root, "--password-file", password, *arguments)
        assert done.exit_code == OK, done.output
    assert stat.S_IMODE(keystore.stat().st_mode) == stat.S_IMODE(key.stat().st_mode) == 0o600
    shown = invoke("account", "list", "-C", root).output
    for at, arguments in enumerate((["--keystore-file", str(keystore)], ["--private-key-file", str(key)])):
        other = str(tmp_path / f"other{at}")
        done = invoke("account", "import", "-C", other, "--name", "miner", "--password-file", password, *arguments)
        assert done.exit_code == OK, done.output
        again = invoke("account", "list", "-C", other).output
        assert again.splitlines()[:4] == shown.splitlines()[:4], "all but the file"
        back = str(tmp_path / f"back{at}")
        invoke("account", "export", "miner", "-C", other, "--password-file", password, "--private-key", "--to", back)
        assert Path(back).read_text() == key.read_text()


def test_a_key_without_chain_code_is_taken_with_or_without_prefix(tmp_path: Path, password: str) -> None:
    shown = []
    for at, text in enumerate((SECRET, f"0x{SECRET}\n")):
        path = tmp_path / f"key{at}"
        path.write_text(text)
        root = str(tmp_path / str(at))
        done = invoke("account", "import", "-C", root, "--private-key-file", str(path), "--password-file", password)
        assert done.exit_code == OK, done.output
        shown.append(done.output.splitlines()[:4])
    assert shown[0] == shown[1]


def test_a_password_is_asked_for_twice_when_it_is_new(root: str) -> None:
    assert invoke("account", "new", "-C", root, stdin="one\none\n").exit_code == OK
    again = invoke("account", "new", "-C", root, stdin="one\ntwo\nthree\nthree\n")
    assert again.exit_code == OK
    assert "do not match" in again.output
    assert "one" not in again.output.replace("None", "")


def test_a_node_is_made_for_an_account(root: str, password: str) -> None:
    invoke("account", "new", "-C", root, "--name", "miner", "--password-file", password)
    (account,) = AccountStore(Path(root) / "keystore").accounts()
    done = invoke("init", "-C", root, "-c", "dev", "--ba-account", "miner")
    assert done.exit_code == OK, done.output
    assembler = tomllib.loads((Path(root) / CONFIG_NAME).read_text())["block_assembler"]
    assert assembler["args"] == f"0x{account.lock_arg.hex()}"


def test_what_cannot_be_done_says_why_and_leaves_nothing(tmp_path: Path, root: str, password: str) -> None:
    bad_key, wrong = tmp_path / "bad", tmp_path / "wrong"
    bad_key.write_text("11" * 31)
    wrong.write_text("other")
    target = str(tmp_path / "target")
    invoke("account", "new", "-C", root, "--name", "miner", "--password-file", password)
    for arguments, code, text in (
        (["export", "nobody", "--to", target, "--password-file", password], FAILURE, "no account 'nobody'"),
        (["export", "miner", "--to", target, "--password-file", str(wrong)], FAILURE, "the password is wrong"),
        (["export", "miner", "--to", password, "--password-file", password], FAILURE, "exists already"),
        (["import", "--private-key-file", str(bad_key), "--password-file", password], FAILURE, "no private key"),
        (["import", "--keystore-file", str(bad_key), "--password-file", password], FAILURE, "not a keystore"),
        (["import", "--keystore-file", target, "--password-file", password], IO, "target"),
        (["import", "--password-file", password], CLI, "give one of"),
        (["new", "--name", "miner", "--password-file", password], FAILURE, "exists already"),
        (["new", "--password-file", target], IO, "target"),
    ):
        done = invoke("account", arguments[0], "-C", root, *arguments[1:])
        assert (done.exit_code, text in done.output) == (code, True), (arguments, done.output)
    both = invoke("init", "-C", root, "--ba-account", "miner", "--ba-arg", "0x")
    assert (both.exit_code, "--ba-account" in both.output) == (CLI, True)
    assert not Path(target).exists()
    assert len(AccountStore(Path(root) / "keystore").accounts()) == 1


def test_an_empty_keystore_says_how_to_begin(root: str) -> None:
    assert "`ckb-node account new` makes one" in invoke("account", "list", "-C", root).output
