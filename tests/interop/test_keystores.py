"""Keystore files go both ways between `ckb-node account` and ckb-cli; CKB_CLI is the path of that program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.kit_chain import COUNTS
from tests.support.nodes.directories import OK, invoke

CKB_CLI = os.environ.get("CKB_CLI", "")
PASSWORD = "pässword of an account"
ON_A_TERMINAL = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
"""ckb-cli asks for passwords on a terminal and nowhere else."""

pytestmark = [
    pytest.mark.skipif(
        not CKB_CLI, reason="keystores were NOT COMPARED with ckb-cli's: CKB_CLI=<path of a ckb-cli binary>"
    ),
    pytest.mark.timeout(300),
]


class CkbCli:
    """The other program, with its accounts in a directory of the test."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def call(self, *arguments: str) -> str:
        """What it prints while each of its questions for a password gets the same answer."""
        command = [sys.executable, "-c", ON_A_TERMINAL, CKB_CLI, "account", "--local-only", *arguments]
        environment = os.environ | {"CKB_CLI_HOME": str(self.home), "TERM": "dumb"}
        with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            shown, answered = b"", 0
            while data := os.read(process.stdout.fileno(), 4096):
                shown += data
                if len(re.findall(rb"assword[^:\n]*:", shown)) > answered:
                    answered += 1
                    process.stdin.write(PASSWORD.encode() + b"\n")
                    process.stdin.flush()
            code = process.wait(timeout=60)
        text = shown.decode(errors="replace")
        assert code == 0, text
        return text

    def exported(self, lock_arg: str, path: Path) -> tuple[str, str]:
        """Secret and chain code of an account, in hex."""
        self.call("export", "--lock-arg", lock_arg, "--extended-privkey-path", str(path))
        secret, chain_code, *_ = path.read_text().split()
        return secret.removeprefix("0x"), chain_code.removeprefix("0x")


@pytest.fixture
def cli(tmp_path: Path) -> CkbCli:
    home = tmp_path / "ckb-cli"
    home.mkdir()
    return CkbCli(home)


@pytest.fixture
def password(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n", encoding="utf-8")
    return str(path)


def ours(*arguments: str) -> str:
    result = invoke("account", *arguments)
    assert result.exit_code == OK, result.output
    return result.output


def our_key(root: str, name: str, password: str, path: Path) -> tuple[str, ...]:
    """As `CkbCli.exported`, or the secret alone."""
    ours("export", name, "-C", root, "--password-file", password, "--private-key", "--to", str(path))
    return tuple(each.removeprefix("0x") for each in path.read_text().split())


def test_theirs_opens_what_ours_made(cli: CkbCli, password: str, tmp_path: Path) -> None:
    root, keystore = str(tmp_path / "node"), tmp_path / "ours.json"
    ours("new", "-C", root, "--name", "miner", "--password-file", password)
    ours("export", "miner", "-C", root, "--password-file", password, "--to", str(keystore))
    lock_arg = re.search(r'"hash160": "([0-9a-f]{40})"', keystore.read_text())
    assert lock_arg is not None
    cli.call("import-keystore", "--path", str(keystore))
    theirs = cli.exported(f"0x{lock_arg[1]}", tmp_path / "theirs.key")
    mine = our_key(root, "miner", password, tmp_path / "ours.key")
    assert mine == theirs[: len(mine)]
    COUNTS["keystores opened by the other program"] += 1


def test_ours_opens_what_theirs_made(cli: CkbCli, password: str, tmp_path: Path) -> None:
    shown = cli.call("new")
    lock_arg = re.search(r"lock_arg: *(0x[0-9a-f]{40})", shown)
    assert lock_arg is not None, shown
    (keystore,) = (cli.home / "keystore").iterdir()
    root = str(tmp_path / "node")
    ours("import", "-C", root, "--name", "theirs", "--password-file", password, "--keystore-file", str(keystore))
    assert lock_arg[1].removeprefix("0x") in ours("list", "-C", root)
    theirs = cli.exported(lock_arg[1], tmp_path / "theirs.key")
    mine = our_key(root, "theirs", password, tmp_path / "ours.key")
    assert mine == theirs[: len(mine)]
    COUNTS["keystores opened by the other program"] += 1
