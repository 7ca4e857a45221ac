"""What a dApp developer reads when a script fails on the dev chain, and the line that runs it again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from consensus.script.syscalls.numbers import DEBUG
from consensus.types.blockchain import Transaction
from tests.support.builders.dev_transactions import with_code
from tests.support.builders.wallet import ALICE_KEY, Wallet, issued_cell
from tests.support.chains.devchain import dev_consensus
from tests.support.nodes.directories import invoke
from tests.support.nodes.process import NodeProcess, RpcFailure
from tests.support.nodes.quiet import init_directory, quiet_node, send
from tests.support.vm.script_programs import DATA, T0, T1, Program

pytestmark = pytest.mark.slow

EXIT_CODE = 7
SCRIPT_FAILED = 1


def failing(rounds: int) -> bytes:
    """Prints, counts, and fails."""
    program = Program(data=b"hello from the script\0")
    program.syscall(DEBUG, DATA)
    program.load_immediate(T0, 0)
    program.load_immediate(T1, rounds)
    program.label("again")
    program.addi(T0, T0, 1)
    program.branch_less(T0, T1, "again")
    program.exit(EXIT_CODE)
    return program.elf()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    directory = tmp_path / "node"
    port = init_directory(directory, lambda text: text.replace("info,ckb-script=debug", "debug"))
    with quiet_node(directory, port) as running:
        yield running


def refused(node: NodeProcess, rounds: int) -> Transaction:
    """A transaction whose script runs, prints and fails; the pool has refused it."""
    consensus = dev_consensus()
    storing, running = with_code(consensus, issued_cell(consensus, Wallet(ALICE_KEY)), failing(rounds))
    send(node.rpc, storing)
    with pytest.raises(RpcFailure, match=f"error code {EXIT_CODE}"):
        send(node.rpc, running)
    return running


@pytest.mark.parametrize("rounds", [10, 60_000_000], ids=["at once", "in a process of its own"])
def test_a_failing_script_shows_in_the_log_and_runs_again(node: NodeProcess, rounds: int) -> None:
    transaction = refused(node, rounds)
    log = node.log_path.read_text()
    assert log.count("hello from the script") == 1
    assert re.search(r"a script failed .*\[script\] .*error code 7.*transaction=0x" + transaction.hash.hex(), log)
    assert re.search(r"transaction accepted .*\[txpool\]", log)
    assert re.search(r"transaction rejected .*\[txpool\].*hash=0x" + transaction.hash.hex(), log)
    assert re.search(r"a call failed .*\[rpc\] code=-302 method=send_transaction", log)
    found = re.search(r"command='?(ckb-node debug [^\n']*)'?", log)
    assert found is not None
    program, *arguments = shlex.split(found[1])
    assert program == "ckb-node"
    result = invoke(*arguments)
    assert result.exit_code == SCRIPT_FAILED
    assert "debug: hello from the script" in result.stdout
    assert f"code {EXIT_CODE}" in result.stdout


def test_the_filter_of_a_dev_chain_shows_scripts_and_no_more(tmp_path: Path) -> None:
    directory = tmp_path / "node"
    port = init_directory(directory)
    with quiet_node(directory, port) as running:
        refused(running, 10)
        log = running.log_path.read_text()
    assert "hello from the script" in log
    assert "ckb-node debug --rpc" in log
    assert "transaction accepted" not in log
    assert "a call failed" not in log
