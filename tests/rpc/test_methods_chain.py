"""Module Chain on a dev chain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ckb_node.filters.service import FilterService
from consensus.rules.block_filter import filter_hash
from consensus.types.blockchain import Block, Header, OutPoint
from storage.filters import FilterStore
from tests.rpc.kit import FEE, RpcChain, commit, rpc_chain, side_block
from tests.support.asking import RpcFailure, as_json, call, dispatcher_of, uint_text
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, Wallet, issued_cell

UNKNOWN = "0x" + "11" * 32


@pytest.fixture
async def rpc() -> AsyncIterator[RpcChain]:
    async with rpc_chain() as chain:
        yield chain


async def test_blocks_by_hash_and_number_in_each_form(rpc: RpcChain) -> None:
    block = await rpc.node.mine(2)
    for method, key in (("get_block", uint_text(block.hash)), ("get_block_by_number", "0x2")):
        view = await rpc.call(method, key)
        assert view["header"]["hash"] == uint_text(block.hash)
        assert view["header"]["number"] == "0x2"
        assert view["transactions"][0]["hash"] == uint_text(block.transactions[0].hash)
        assert view["extension"] == uint_text(block.extension or b"")
        assert await rpc.call(method, key, "0x2") == view
        raw = await rpc.call(method, key, "0x0")
        assert Block.parse(bytes.fromhex(raw[2:])) == block
        assert await rpc.call(method, key, None, True) == {"block": view, "cycles": []}
        assert await rpc.call(method, key, "0x0", True) == {"block": raw, "cycles": []}
        with pytest.raises(RpcFailure, match="invalid verbosity level") as caught:
            await rpc.call(method, key, "0x1")
        assert caught.value.code == -32602
    assert await rpc.call("get_block", UNKNOWN) is None
    assert await rpc.call("get_block_by_number", "0x3") is None


async def test_the_genesis_block_has_no_extension(rpc: RpcChain) -> None:
    view = await rpc.call("get_block_by_number", "0x0")
    assert "extension" not in view


async def test_headers_in_each_form(rpc: RpcChain) -> None:
    block = await rpc.node.mine()
    header = await rpc.call("get_header", uint_text(block.hash))
    assert header["hash"] == uint_text(block.hash)
    assert await rpc.call("get_header_by_number", "0x1") == header
    assert await rpc.call("get_tip_header") == header
    raw = uint_text(block.header.raw)
    assert await rpc.call("get_header", uint_text(block.hash), "0x0") == raw
    assert await rpc.call("get_header_by_number", "0x1", "0x0") == raw
    assert await rpc.call("get_tip_header", "0x0") == raw
    assert Header.parse(bytes.fromhex(raw[2:])) == block.header
    assert await rpc.call("get_header", UNKNOWN) is None
    assert await rpc.call("get_header_by_number", "0x2") is None
    for call_of in (("get_header", uint_text(block.hash)), ("get_header_by_number", "0x1"), ("get_tip_header",)):
        with pytest.raises(RpcFailure, match="invalid verbosity level"):
            await rpc.call(*call_of, "0x2")


async def test_numbers_and_hashes(rpc: RpcChain) -> None:
    assert await rpc.call("get_tip_block_number") == "0x0"
    block = await rpc.node.mine(3)
    assert await rpc.call("get_tip_block_number") == "0x3"
    assert await rpc.call("get_block_hash", "0x3") == uint_text(block.hash)
    assert await rpc.call("get_block_hash", "0x4") is None
    assert await rpc.call("get_block_hash", "0x0") == uint_text(rpc.node.consensus.genesis_hash)


async def test_blocks_beside_the_main_chain(rpc: RpcChain) -> None:
    other = await side_block(rpc)
    view = await rpc.call("get_fork_block", uint_text(other.hash))
    assert view["header"]["hash"] == uint_text(other.hash)
    assert await rpc.call("get_fork_block", uint_text(other.hash), "0x0") == uint_text(other.raw)
    for method in ("get_block", "get_header", "get_block_median_time", "get_block_economic_state"):
        assert await rpc.call(method, uint_text(other.hash)) is None
    assert await rpc.call("get_fork_block", uint_text(rpc.node.consensus.genesis_hash)) is None
    assert await rpc.call("get_fork_block", UNKNOWN) is None


async def test_filters_are_null_where_there_are_none(rpc: RpcChain) -> None:
    assert await rpc.call("get_block_filter", UNKNOWN) is None
    assert await rpc.call("get_block_filter", uint_text(rpc.node.consensus.genesis_hash)) is None


async def test_filters_of_the_main_chain(rpc: RpcChain) -> None:
    await rpc.node.mine(2)
    filters = FilterService(rpc.node.chain, FilterStore.in_memory())
    dispatcher = dispatcher_of(replace(rpc.services, filters=filters))
    other = await side_block(rpc)
    assert filters.follower.step()
    with rpc.node.store.view() as view:
        hashes = [view.main_hash(number) or b"" for number in range(4)]
    parent, data = bytes(32), b""
    for block_hash in hashes:
        answer = await call(dispatcher, "get_block_filter", uint_text(block_hash))
        assert answer.keys() == {"data", "hash"}
        data = bytes.fromhex(answer["data"][2:])
        parent = filter_hash(parent, data)
        assert answer["hash"] == uint_text(parent)
    assert data == bytes(8), "the first blocks pay nobody"
    for absent in (UNKNOWN, uint_text(other.hash), uint_text((await rpc.node.mine()).hash)):
        assert await call(dispatcher, "get_block_filter", absent) is None
    filters.close()


async def test_median_time_counts_up_to_37_blocks(rpc: RpcChain) -> None:
    blocks = [await rpc.node.mine() for _ in range(40)]
    for position, expected in ((39, 39 - 18), (4, 2)):
        median = await rpc.call("get_block_median_time", uint_text(blocks[position].hash))
        assert int(median, 16) == blocks[expected].header.timestamp
    assert await rpc.call("get_block_median_time", UNKNOWN) is None


async def test_epochs(rpc: RpcChain) -> None:
    first = await rpc.call("get_current_epoch")
    assert first == {"number": "0x0", "start_number": "0x0", "length": "0xa", "compact_target": "0x20010000"}
    assert await rpc.call("get_epoch_by_number", "0x0") == first
    assert await rpc.call("get_epoch_by_number", "0x1") is None
    await rpc.node.mine(10)
    second = await rpc.call("get_current_epoch")
    assert (second["number"], second["start_number"]) == ("0x1", "0xa")
    assert await rpc.call("get_epoch_by_number", "0x1") == second
    assert await rpc.call("get_epoch_by_number", "0x0") == first


async def test_consensus(rpc: RpcChain) -> None:
    consensus = await rpc.call("get_consensus")
    assert consensus["id"] == "ckb_dev"
    assert consensus["genesis_hash"] == uint_text(rpc.node.consensus.genesis_hash)
    assert consensus["proposer_reward_ratio"] == {"numer": "0x4", "denom": "0xa"}
    assert consensus["orphan_rate_target"] == {"numer": "0x1", "denom": "0x28"}
    assert consensus["tx_proposal_window"] == {"closest": "0x2", "farthest": "0xa"}
    assert consensus["cellbase_maturity"] == "0x10000000000"
    features = {feature["rfc"]: feature["epoch_number"] for feature in consensus["hardfork_features"]}
    assert list(features) == ["0028", "0029", "0030", "0031", "0032", "0036", "0038", "0048", "0049"]
    assert set(features.values()) == {"0x0"}
    assert consensus["softforks"]["light_client"]["status"] == "rfc0043"
    assert set(consensus["softforks"]["light_client"]) == {"status", "rfc0043"}


async def test_a_transaction_on_its_way(rpc: RpcChain) -> None:
    transaction = rpc.alice_pays()
    key = uint_text(transaction.hash)
    unknown = await rpc.call("get_transaction", key)
    assert unknown["tx_status"] == {
        "status": "unknown", "block_number": None, "block_hash": None, "tx_index": None, "reason": None,
    }  # fmt: skip
    assert {unknown[name] for name in ("transaction", "cycles", "fee", "min_replace_fee", "time_added_to_pool")} == {
        None
    }

    await rpc.call("send_transaction", as_json(transaction))
    pending = await rpc.call("get_transaction", key)
    assert pending["tx_status"]["status"] == "pending"
    assert pending["transaction"] == as_json(transaction) | {"hash": key}
    assert int(pending["fee"], 16) == FEE
    assert int(pending["cycles"], 16) > 0
    assert int(pending["min_replace_fee"], 16) > FEE
    assert pending["time_added_to_pool"] is not None
    assert (await rpc.call("get_transaction", key, "0x0"))["transaction"] == uint_text(transaction.raw)
    brief = await rpc.call("get_transaction", key, "0x1")
    assert (brief["transaction"], brief["fee"], brief["cycles"]) == (None, None, pending["cycles"])
    assert (await rpc.call("get_transaction", key, None, True))["tx_status"]["status"] == "unknown"

    statuses = []
    block = await rpc.node.mine()
    while block.number < 6 and len(block.transactions) == 1:
        statuses.append((await rpc.call("get_transaction", key))["tx_status"]["status"])
        block = await rpc.node.mine()
    assert "proposed" in statuses
    committed = await rpc.call("get_transaction", key)
    assert committed["tx_status"] == {
        "status": "committed",
        "block_number": hex(block.number),
        "block_hash": uint_text(block.hash),
        "tx_index": "0x1",
        "reason": None,
    }
    assert committed["cycles"] == pending["cycles"]
    assert (committed["fee"], committed["min_replace_fee"], committed["time_added_to_pool"]) == (None, None, None)
    assert (await rpc.call("get_transaction", key, "0x0", True))["transaction"] == uint_text(transaction.raw)
    assert (await rpc.call("get_transaction", key, "0x1"))["transaction"] is None
    with pytest.raises(RpcFailure, match="invalid verbosity level"):
        await rpc.call("get_transaction", key, "0x3")


async def test_a_cellbase_has_no_cycles(rpc: RpcChain) -> None:
    block = await rpc.node.mine()
    found = await rpc.call("get_transaction", uint_text(block.transactions[0].hash))
    assert (found["tx_status"]["tx_index"], found["cycles"]) == ("0x0", None)


async def test_a_rejected_transaction_tells_why(rpc: RpcChain) -> None:
    transaction = rpc.alice_pays(fee=1)
    with pytest.raises(RpcFailure):
        await rpc.call("send_transaction", as_json(transaction))
    status = (await rpc.call("get_transaction", uint_text(transaction.hash)))["tx_status"]
    assert status["status"] == "rejected"
    assert status["reason"].startswith('{"type":"LowFeeRate","description":"The min fee rate is 1000 shannons/KW')


async def test_live_cells(rpc: RpcChain) -> None:
    cell, capacity = issued_cell(rpc.node.consensus, Wallet(ALICE_KEY))
    point = {"tx_hash": uint_text(cell.tx_hash), "index": hex(cell.index)}
    live = await rpc.call("get_live_cell", point, False)
    assert live["status"] == "live"
    assert live["cell"]["data"] is None
    assert live["cell"]["output"]["capacity"] == hex(capacity)
    assert (await rpc.call("get_live_cell", point, True))["cell"]["data"] == {"content": "0x", "hash": "0x" + "00" * 32}
    nothing = {"cell": None, "status": "unknown"}
    assert await rpc.call("get_live_cell", {"tx_hash": UNKNOWN, "index": "0x0"}, True) == nothing
    transaction = rpc.alice_pays()
    await rpc.call("send_transaction", as_json(transaction))
    assert await rpc.call("get_live_cell", point, True) == {
        **live,
        "cell": {**live["cell"], "data": {"content": "0x", "hash": "0x" + "00" * 32}},
    }
    assert await rpc.call("get_live_cell", point, True, True) == {"cell": None, "status": "unknown"}
    made = {"tx_hash": uint_text(transaction.hash), "index": "0x0"}
    assert await rpc.call("get_live_cell", made, True) == nothing
    assert (await rpc.call("get_live_cell", made, True, True))["status"] == "live"


async def test_system_cells_show_their_data(rpc: RpcChain) -> None:
    cellbase = rpc.node.consensus.genesis_block.transactions[0]
    found = await rpc.call("get_live_cell", {"tx_hash": uint_text(cellbase.hash), "index": "0x1"}, True)
    assert found["cell"]["data"]["content"] == uint_text(cellbase.body.outputs_data[1])


async def test_cycles_of_a_transaction(rpc: RpcChain) -> None:
    transaction = rpc.alice_pays()
    cycles = await rpc.call("estimate_cycles", as_json(transaction))
    accepted = await rpc.call("test_tx_pool_accept", as_json(transaction))
    assert cycles == {"cycles": accepted["cycles"]}
    assert await rpc.call("dry_run_transaction", as_json(transaction)) == cycles
    stranger = Wallet(BOB_KEY).transfer(
        rpc.node.consensus, [issued_cell(rpc.node.consensus, Wallet(ALICE_KEY))], [(Wallet(BOB_KEY).lock, 10**10)]
    )
    with pytest.raises(RpcFailure) as caught:
        await rpc.call("estimate_cycles", as_json(stranger))
    assert caught.value.code == -302
    missing = transaction.replace(
        body=transaction.body.replace(
            inputs=[transaction.body.inputs[0].replace(previous_output=OutPoint(tx_hash=b"\x11" * 32, index=0))]
        )
    )
    with pytest.raises(RpcFailure, match="Unknown") as caught:
        await rpc.call("estimate_cycles", as_json(missing))
    assert caught.value.code == -301


async def test_what_a_block_issued_and_paid(rpc: RpcChain) -> None:
    block = await commit(rpc, rpc.alice_pays())
    key = uint_text(block.hash)
    assert await rpc.call("get_block_economic_state", key) is None
    final = [await rpc.node.mine() for _ in range(11)]
    state = await rpc.call("get_block_economic_state", key)
    assert state["finalized_at"] == uint_text(final[-1].hash)
    assert int(state["txs_fee"], 16) == FEE
    reward = {name: int(text, 16) for name, text in state["miner_reward"].items()}
    assert reward["committed"] == FEE - FEE * 4 // 10
    assert reward["primary"] == int(state["issuance"]["primary"], 16)
    assert 0 < reward["secondary"] < int(state["issuance"]["secondary"], 16)
    assert sum(reward.values()) == final[-1].transactions[0].body.outputs[0].capacity
    assert await rpc.call("get_block_economic_state", uint_text(rpc.node.consensus.genesis_hash)) is None
    assert await rpc.call("get_block_economic_state", UNKNOWN) is None


async def test_fee_rates_of_late(rpc: RpcChain) -> None:
    assert await rpc.call("get_fee_rate_statistics") is None
    transaction = rpc.alice_pays()
    await commit(rpc, transaction)
    cycles = int((await rpc.call("get_transaction", uint_text(transaction.hash)))["cycles"], 16)
    weight = max(transaction.size_in_block, int(cycles * 0.000_170_571_4))
    expected = {"mean": hex(FEE * 1000 // weight), "median": hex(FEE * 1000 // weight)}
    assert await rpc.call("get_fee_rate_statistics") == expected
    assert await rpc.call("get_fee_rate_statics", "0x1") == expected
    await rpc.node.mine(2)
    assert await rpc.call("get_fee_rate_statistics", "0x1") is None
    assert await rpc.call("get_fee_rate_statistics", "0x2") == expected, "2 counts as 3"


async def test_proofs_of_transactions(rpc: RpcChain) -> None:
    transaction = rpc.alice_pays()
    block = await commit(rpc, transaction)
    hashes = [uint_text(each.hash) for each in block.transactions]
    proof = await rpc.call("get_transaction_proof", hashes[1:])
    assert proof["block_hash"] == uint_text(block.hash)
    assert await rpc.call("verify_transaction_proof", proof) == hashes[1:]
    assert sorted(
        await rpc.call("verify_transaction_proof", await rpc.call("get_transaction_proof", hashes))
    ) == sorted(hashes)
    both = await rpc.call("get_transaction_and_witness_proof", hashes[1:], uint_text(block.hash))
    assert set(both) == {"block_hash", "transactions_proof", "witnesses_proof"}
    assert await rpc.call("verify_transaction_and_witness_proof", both) == hashes[1:]


async def test_proofs_that_cannot_be_made_or_are_wrong(rpc: RpcChain) -> None:
    transaction = rpc.alice_pays()
    block = await commit(rpc, transaction)
    key, other = uint_text(transaction.hash), uint_text(rpc.node.consensus.genesis_block.transactions[1].hash)
    for params, text in (
        (([],), "Empty transaction hashes"),
        (([UNKNOWN],), "not yet in block"),
        (([key, other],), "Not all transactions found in retrieved block"),
        (([key, key],), "Duplicated tx_hash"),
        (([key], uint_text(rpc.node.consensus.genesis_hash)), "Not all transactions found in specified block"),
    ):
        for method in ("get_transaction_proof", "get_transaction_and_witness_proof"):
            with pytest.raises(RpcFailure, match=text) as caught:
                await rpc.call(method, *params)
            assert caught.value.code == -32602
    proof = await rpc.call("get_transaction_proof", [key])
    for wrong in (
        proof | {"witnesses_root": UNKNOWN},
        proof | {"block_hash": uint_text(rpc.node.consensus.genesis_hash)},
        proof | {"proof": proof["proof"] | {"lemmas": []}},
        proof | {"proof": proof["proof"] | {"indices": ["0x7"]}},
        proof | {"proof": {"indices": [], "lemmas": []}},
    ):
        with pytest.raises(RpcFailure, match="Invalid transaction proof") as caught:
            await rpc.call("verify_transaction_proof", wrong)
        assert caught.value.code == -32602
    with pytest.raises(RpcFailure, match="Cannot find block"):
        await rpc.call("verify_transaction_proof", proof | {"block_hash": UNKNOWN})
    with pytest.raises(RpcFailure, match="H256") as caught:
        await rpc.call("verify_transaction_proof", proof | {"witnesses_root": "0x"})
    assert caught.value.code == -32602
    both = await rpc.call("get_transaction_and_witness_proof", [key])
    with pytest.raises(RpcFailure, match="Invalid transaction_and_witness proof"):
        await rpc.call("verify_transaction_and_witness_proof", both | {"witnesses_proof": both["transactions_proof"]})
    assert block.transactions[1].hash == transaction.hash
