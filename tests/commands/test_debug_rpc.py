"""`ckb-node debug --rpc`: transactions of nodes, real and false."""

from __future__ import annotations

import json
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ckb_node.debug.case import Rules
from ckb_node.jsonrpc_types.chain import header_view_json, transaction_json, transaction_view_json
from ckb_node.jsonrpc_types.hex_text import bytes_text
from consensus.params import NEVER, Hardforks
from consensus.script.verifier import ScriptVerifier
from consensus.types.blockchain import Block, Transaction
from tests.commands.kit_debug import cycles_in
from tests.commands.kit_server import answering
from tests.support.builders.dev_transactions import payment
from tests.support.builders.scripts import Chain, Env
from tests.support.builders.wallet import ALICE_KEY, CKB, Wallet, issued_cell
from tests.support.chains.devchain import dev_consensus
from tests.support.nodes.directories import FAILURE, OK, invoke
from tests.support.nodes.process import dev_node, run_command


class FakeNode:
    """Answers what it knows by method and first parameter, null for everything else."""

    def __init__(self) -> None:
        genesis = dev_consensus().genesis_block
        status = {"status": "committed", "block_hash": bytes_text(genesis.hash)}
        self.answers: dict[tuple[str, str | None], Any] = {
            ("get_transaction", bytes_text(tx.hash)): _transaction(tx, status) for tx in genesis.transactions
        }
        self.answers[("get_transaction", bytes_text(payment().hash))] = _transaction(
            payment().transaction, {"status": "pending", "block_hash": None}
        )
        header = msgspec.to_builtins(header_view_json(genesis.header))
        self.answers[("get_header", bytes_text(genesis.hash))] = self.answers[("get_tip_header", None)] = header
        features = [{"rfc": "0032", "epoch_number": "0x0"}, {"rfc": "0049", "epoch_number": None}]
        self.answers[("get_consensus", None)] = {"id": "ckb_dev", "hardfork_features": features}

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        request = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        key = (request["method"], request["params"][0] if request["params"] else None)
        result = self.answers.get(key, {"transaction": None, "tx_status": {"status": "unknown"}})
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode())


def _transaction(transaction: Transaction, status: dict[str, Any]) -> dict[str, Any]:
    return {"transaction": msgspec.to_builtins(transaction_view_json(transaction)), "tx_status": status, "cycles": None}


PAYMENT = bytes_text(payment().hash)


def test_a_transaction_by_its_hash() -> None:
    with answering(FakeNode().answer) as url:
        result = invoke("debug", "--rpc", url, PAYMENT)
    assert result.exit_code == OK, result.stderr
    expected = ScriptVerifier(Rules(Hardforks(rfc_0049=NEVER)), Chain()).verify(payment(), Env(0), 70_000_000)
    assert cycles_in(result.stdout) == [expected]


def test_a_cellbase_has_nothing_to_run() -> None:
    genesis = dev_consensus().genesis_block
    with answering(FakeNode().answer) as url:
        result = invoke("debug", "--rpc", url, bytes_text(genesis.transactions[0].hash), "--script-group-type", "lock")
    assert (result.exit_code, "has no such script group" in result.stderr) == (FAILURE, True)


@pytest.mark.parametrize(
    ("key", "answer", "reason"),
    [
        (("get_transaction", PAYMENT), {"tx_status": {"status": "unknown"}}, "does not know transaction"),
        (("get_transaction", PAYMENT), {}, "missing required field"),
        (("get_transaction", PAYMENT), [], "Expected `object`"),
        (("get_consensus", None), {"hardfork_features": [{"rfc": "0032", "epoch_number": "x"}]}, "Invalid Uint64"),
        (("get_tip_header", None), {}, "missing required field"),
    ],
)
def test_answers_that_cannot_be_used(key: tuple[str, str | None], answer: object, reason: str) -> None:
    node = FakeNode()
    node.answers[key] = answer
    with answering(node.answer) as url:
        result = invoke("debug", "--rpc", url, PAYMENT)
    assert (result.exit_code, result.stdout) == (FAILURE, "")
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_another_transaction_than_was_asked_for() -> None:
    node = FakeNode()
    other = payment().transaction.body.inputs[0].previous_output.tx_hash
    node.answers[("get_transaction", bytes_text(other))] = node.answers[("get_transaction", PAYMENT)]
    with answering(node.answer) as url:
        result = invoke("debug", "--rpc", url, PAYMENT)
    assert f"answered {PAYMENT} for {bytes_text(other)}" in result.stderr


def test_a_cell_that_the_node_does_not_know() -> None:
    node = FakeNode()
    other = payment().transaction.body.inputs[0].previous_output.tx_hash
    del node.answers[("get_transaction", bytes_text(other))]
    with answering(node.answer) as url:
        result = invoke("debug", "--rpc", url, PAYMENT)
    assert (result.exit_code, "Unknown(OutPoint(0x" in result.stderr) == (FAILURE, True)


@pytest.mark.slow
def test_transactions_of_a_running_node(tmp_path: Path) -> None:
    with dev_node(tmp_path / "node") as node:
        url = f"http://127.0.0.1:{node.rpc.port}/"
        genesis = Block.parse(bytes.fromhex(node.rpc.call("get_block_by_number", "0x0", "0x0")[2:]))
        consensus, alice = replace(dev_consensus(), genesis_block=genesis), Wallet(ALICE_KEY)
        sent = alice.transfer(consensus, [issued_cell(consensus, alice)], [(alice.lock, 100 * CKB)])
        tx_hash = node.rpc.call("send_transaction", msgspec.to_builtins(transaction_json(sent)), "passthrough")
        waiting = run_command("debug", "--rpc", url, tx_hash)
        while (known := node.rpc.call("get_transaction", tx_hash))["tx_status"]["status"] != "committed":
            node.wait_for_tip(node.rpc.tip() + 1)
        committed = run_command("debug", "--rpc", url, tx_hash)  # its input is spent now
    for result in (waiting, committed):
        assert (result.returncode, result.stderr) == (OK, "")
        assert cycles_in(result.stdout) == [int(known["cycles"], 16)]
