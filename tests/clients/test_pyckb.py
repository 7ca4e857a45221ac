"""pyckb deploys, upgrades and saves in NervosDAO; what a transfer does is in tests/functional/test_pyckb.py."""

from __future__ import annotations

import importlib
import time
from typing import Any

import pytest

from tests.clients.kit_asserted import (
    ACCEPT,
    DAO_OCCUPIED,
    REFUSE,
    capacity,
    cells,
    committed,
    exiting,
    interest,
    is_dead,
    new_key,
    number,
    pass_epochs,
    spent,
    type_id_of,
)
from tests.clients.kit_served import Served
from tests.support.builders.wallet import BOB_KEY, CKB
from tests.support.nodes.pyckb_wallets import pyckb_wallets

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WAIT_S = 60
DEPOSIT = 10_000_000 * CKB


@pytest.fixture
def wallet(node: Served) -> Any:
    (wallet,) = pyckb_wallets(node.rpc.port, BOB_KEY)
    return wallet


def in_block(node: Served, sent: bytes) -> str:
    """The transaction's hash, once it is in a block that the indexer has."""
    tx_hash = f"0x{sent.hex()}"
    deadline = time.monotonic() + WAIT_S
    while (status := node.rpc.call("get_transaction", tx_hash)["tx_status"])["status"] != "committed":
        assert time.monotonic() < deadline, status
        time.sleep(0.02)
    while number(node.rpc.call("get_indexer_tip")["block_number"]) < number(status["block_number"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return tx_hash


def out_point(tx_hash: str) -> Any:
    """Of output 0."""
    return importlib.import_module("pyckb.core").OutPoint(bytearray.fromhex(tx_hash[2:]), 0)


def test_deploy_and_upgrade(node: Served, wallet: Any) -> None:
    accepting, refusing = exiting(ACCEPT), exiting(REFUSE)
    plain = in_block(node, wallet.script_deploy(wallet.script, bytearray.fromhex(accepting[2:])))
    assert committed(node, plain)["outputs_data"][0] == accepting
    deployed = in_block(node, wallet.script_deploy_type_id(wallet.script, bytearray.fromhex(refusing[2:])))
    transaction = committed(node, deployed)
    assert transaction["outputs"][0]["type"]["args"] == type_id_of(transaction)
    code = bytearray.fromhex(accepting[2:])
    upgraded = in_block(node, wallet.script_update_type_id(wallet.script, code, out_point(deployed)))
    assert is_dead(node, deployed)
    (found,) = cells(node, transaction["outputs"][0]["type"], "type")
    assert found["out_point"]["tx_hash"] == upgraded
    assert found["output_data"] == accepting


def test_dao(node: Served) -> None:
    owner, saver = pyckb_wallets(node.rpc.port, BOB_KEY, bytes.fromhex(new_key("pyckb saver")[2:]))
    in_block(node, owner.transfer(saver.script, DEPOSIT + 1000 * CKB))
    deposit = in_block(node, saver.dao_deposit(DEPOSIT))
    assert saver.dao_capacity() == DEPOSIT
    pass_epochs(node, 2)
    withdrawal = in_block(node, saver.dao_prepare(out_point(deposit)))
    earned = interest(node, deposit, withdrawal, DAO_OCCUPIED)
    with pytest.raises(AssertionError):  # the wallet knows that it is too early
        saver.dao_extract(out_point(withdrawal))
    pass_epochs(node, 180)
    unlocked = committed(node, in_block(node, saver.dao_extract(out_point(withdrawal))))
    paid = sum(map(capacity, spent(node, unlocked))) + earned - capacity(unlocked["outputs"][0])
    assert earned > 0
    assert 0 < paid < CKB
    assert saver.dao_capacity() == 0
