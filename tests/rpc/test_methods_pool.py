"""Modules Pool and Experiment on a dev chain."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from consensus.types.blockchain import HASH_TYPE_DATA1, HASH_TYPE_TYPE, CellOutput, OutPoint, Script, Transaction
from tests.rpc.kit import FEE, RpcChain, commit, rpc_chain
from tests.support.asking import RpcFailure, as_json, uint_text
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, Wallet, issued_cell

UNKNOWN = "0x" + "11" * 32


@pytest.fixture
async def rpc() -> AsyncIterator[RpcChain]:
    async with rpc_chain() as chain:
        yield chain


async def refusal(rpc: RpcChain, transaction: Transaction) -> RpcFailure:
    """The error object for a transaction; the dry run must say the same."""
    failures = []
    for method in ("send_transaction", "test_tx_pool_accept"):
        with pytest.raises(RpcFailure) as caught:
            await rpc.call(method, as_json(transaction))
        failures.append(caught.value)
    assert failures[0].code == failures[1].code
    return failures[0]


def with_outputs(rpc: RpcChain, *outputs: CellOutput) -> Transaction:
    plain = rpc.alice_pays()
    body = plain.body.replace(outputs=list(outputs), outputs_data=[b""] * len(outputs))
    return Wallet(ALICE_KEY).sign(body)


async def test_a_transaction_enters_and_leaves(rpc: RpcChain) -> None:
    transaction = rpc.alice_pays()
    key = uint_text(transaction.hash)
    empty = await rpc.call("tx_pool_info")
    assert (empty["pending"], empty["total_tx_size"], empty["tip_number"]) == ("0x0", "0x0", "0x0")
    assert await rpc.call("send_transaction", as_json(transaction)) == key
    info = await rpc.call("tx_pool_info")
    assert info["pending"] == "0x1"
    assert int(info["total_tx_size"], 16) == transaction.size_in_block
    assert info["tip_hash"] == uint_text(rpc.node.consensus.genesis_hash)
    assert (info["min_fee_rate"], info["min_rbf_rate"], info["tx_size_limit"]) == ("0x3e8", "0x5dc", "0x7d000")
    assert await rpc.call("get_raw_tx_pool") == {"pending": [key], "proposed": []}
    verbose = await rpc.call("get_raw_tx_pool", True)
    assert verbose["pending"][key]["fee"] == hex(FEE)
    assert verbose["pending"][key]["size"] == hex(transaction.size_in_block)
    assert (verbose["proposed"], verbose["conflicted"]) == ({}, [])
    assert await rpc.call("remove_transaction", key) is True
    assert await rpc.call("remove_transaction", key) is False
    assert await rpc.call("get_raw_tx_pool", False) == {"pending": [], "proposed": []}


async def test_the_pool_is_cleared(rpc: RpcChain) -> None:
    await rpc.call("send_transaction", as_json(rpc.alice_pays()))
    assert await rpc.call("clear_tx_verify_queue") is None
    assert await rpc.call("clear_tx_pool") is None
    assert (await rpc.call("tx_pool_info"))["pending"] == "0x0"


async def test_one_transaction_in_detail(rpc: RpcChain) -> None:
    unknown = await rpc.call("get_pool_tx_detail_info", UNKNOWN)
    assert unknown["entry_status"] == "unknown"
    transaction = rpc.alice_pays()
    await rpc.call("send_transaction", as_json(transaction))
    detail = await rpc.call("get_pool_tx_detail_info", uint_text(transaction.hash))
    assert detail.keys() == unknown.keys()
    assert (detail["entry_status"], detail["pending_count"], detail["proposed_count"]) == ("pending", "0x1", "0x0")
    assert detail["score_sortkey"]["fee"] == hex(FEE)


async def test_ready_after_what_was_kept_is_loaded(rpc: RpcChain, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert await rpc.call("tx_pool_ready") is False
    await rpc.node.pool.load(tmp_path_factory.mktemp("pool") / "nothing")
    assert await rpc.call("tx_pool_ready") is True


async def test_the_dry_run_tells_and_takes_nothing(rpc: RpcChain) -> None:
    accepted = await rpc.call("test_tx_pool_accept", as_json(rpc.alice_pays()), "passthrough")
    assert accepted["fee"] == hex(FEE)
    assert int(accepted["cycles"], 16) > 0
    assert (await rpc.call("tx_pool_info"))["pending"] == "0x0"


async def test_what_the_pool_refuses(rpc: RpcChain) -> None:
    low = await refusal(rpc, rpc.alice_pays(fee=1))
    assert low.code == -1104
    assert low.message.startswith("PoolRejectedTransactionByMinFeeRate: The min fee rate is 1000 shannons/KW")
    missing = rpc.alice_pays()
    inputs = [missing.body.inputs[0].replace(previous_output=OutPoint(tx_hash=b"\x11" * 32, index=0))]
    unresolved = await refusal(rpc, Wallet(ALICE_KEY).sign(missing.body.replace(inputs=inputs)))
    assert unresolved.code == -301
    assert "Resolve failed Unknown" in unresolved.message
    assert unresolved.data is not None
    stolen = Wallet(BOB_KEY).transfer(
        rpc.node.consensus, [issued_cell(rpc.node.consensus, Wallet(ALICE_KEY))], [(Wallet(BOB_KEY).lock, 10**10)]
    )
    assert (await refusal(rpc, stolen)).code == -302
    too_much = rpc.alice_pays(fee=-1)
    assert (await refusal(rpc, too_much)).code == -1108
    block = await rpc.node.mine()
    assert (await refusal(rpc, block.transactions[0])).code == -1108


async def test_a_transaction_is_taken_once_and_replaced_by_the_rules(rpc: RpcChain) -> None:
    first = rpc.alice_pays()
    await rpc.call("send_transaction", as_json(first))
    assert (await refusal(rpc, first)).code == -1107
    with pytest.raises(RpcFailure, match="RBF rejected") as caught:
        await rpc.call("send_transaction", as_json(rpc.alice_pays(fee=FEE + 1)))
    assert caught.value.code == -1111
    second = rpc.alice_pays(fee=3 * FEE)
    assert await rpc.call("send_transaction", as_json(second)) == uint_text(second.hash)
    assert (await rpc.call("get_raw_tx_pool"))["pending"] == [uint_text(second.hash)]
    replaced = await rpc.call("get_transaction", uint_text(first.hash))
    assert replaced["tx_status"]["status"] == "rejected"
    assert "RBFRejected" in replaced["tx_status"]["reason"]


async def test_well_known_scripts_only(rpc: RpcChain) -> None:
    capacity = rpc.alice_pays().body.outputs[0].capacity
    ours = CellOutput(capacity=capacity, lock=Wallet(BOB_KEY).lock, type_=None)
    strange = Script(code_hash=b"\x11" * 32, hash_type=HASH_TYPE_DATA1, args=b"")
    for output, reason in (
        (ours.replace(lock=strange), "NotWellKnownLockScript"),
        (ours.replace(type_=strange), "NotWellKnownTypeScript"),
    ):
        transaction = as_json(with_outputs(rpc, output))
        for method in ("send_transaction", "test_tx_pool_accept"):
            with pytest.raises(RpcFailure, match="well_known_scripts_only") as caught:
                await rpc.call(method, transaction, "well_known_scripts_only")
            assert caught.value.code == -1102
            assert caught.value.data == f'"output index: 0, error: {reason}"'
    with pytest.raises(RpcFailure, match="`outputs_validator`"):
        await rpc.call("send_transaction", as_json(with_outputs(rpc, ours)), "anything")
    assert await rpc.call("send_transaction", as_json(with_outputs(rpc, ours)), "well_known_scripts_only")


async def test_a_fee_rate_to_pay(rpc: RpcChain) -> None:
    for mode in ("no_priority", "low_priority", "medium_priority", "high_priority", None):
        assert await rpc.call("estimate_fee_rate", mode) == "0x3e8"
    with pytest.raises(RpcFailure) as caught:
        await rpc.call("estimate_fee_rate", "high_priority", False)
    assert caught.value.code == -1
    with pytest.raises(RpcFailure, match="`estimate_mode`"):
        await rpc.call("estimate_fee_rate", "highest")


async def test_what_a_deposit_is_worth(rpc: RpcChain) -> None:
    dao = Script(code_hash=rpc.node.consensus.dao_type_hash or b"", hash_type=HASH_TYPE_TYPE, args=b"")
    plain = rpc.alice_pays()
    capacity = plain.body.outputs[0].capacity
    dao_cell = OutPoint(tx_hash=rpc.node.consensus.genesis_block.transactions[0].hash, index=2)
    deposit = Wallet(ALICE_KEY).sign(
        plain.body.replace(
            cell_deps=[*plain.body.cell_deps, plain.body.cell_deps[0].replace(out_point=dao_cell, dep_type=0)],
            outputs=[CellOutput(capacity=capacity, lock=Wallet(BOB_KEY).lock, type_=dao)],
            outputs_data=[bytes(8)],
        )
    )
    block = await commit(rpc, deposit)
    later = await rpc.node.mine(5)
    point = {"tx_hash": uint_text(deposit.hash), "index": "0x0"}
    grown = int(await rpc.call("calculate_dao_maximum_withdraw", point, uint_text(later.hash)), 16)
    rate = [int.from_bytes(header.dao[8:16], "little") for header in (block.header, later.header)]
    occupied = (8 + 53 + 33 + 8) * 10**8
    assert grown == (capacity - occupied) * rate[1] // rate[0] + occupied > capacity
    # Not in the block of the deposit itself, be it named by hash or by a cell.
    for same_block in (uint_text(block.hash), point):
        with pytest.raises(RpcFailure, match="-5: DaoError: InvalidOutPoint"):
            await rpc.call("calculate_dao_maximum_withdraw", point, same_block)
    for wrong, kind, text in (
        ({"tx_hash": UNKNOWN, "index": "0x0"}, uint_text(later.hash), "invalid out_point"),
        (point | {"index": "0x1"}, uint_text(later.hash), "invalid out_point"),
        (point, {"tx_hash": UNKNOWN, "index": "0x0"}, "invalid withdrawing_out_point"),
    ):
        with pytest.raises(RpcFailure, match=text) as caught:
            await rpc.call("calculate_dao_maximum_withdraw", wrong, kind)
        assert caught.value.code == -32602
    with pytest.raises(RpcFailure) as caught:
        await rpc.call("calculate_dao_maximum_withdraw", point, UNKNOWN)
    assert caught.value.code == -5
