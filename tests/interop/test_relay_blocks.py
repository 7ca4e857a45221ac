"""Blocks between both programs as compact blocks: with transactions and uncles that the other one lacks, and with one
whose copy in the other's pool has other witnesses (the only collision of short ids that can be made)."""

from __future__ import annotations

import pytest

from consensus.types.blockchain import CellInput, CellOutput, RawTransaction, Transaction
from tests.interop.kit_chain import COUNTS, Mirror, purses, wait_until
from tests.interop.kit_content import HASH_TYPE_DATA1, code_dep, deploy, locked, out_points
from tests.interop.kit_json import hexed, transaction_json
from tests.interop.kit_mirror import assert_same_chain, tip_hash
from tests.interop.kit_network import connect, peer_of
from tests.interop.kit_programs import exits_with
from tests.support.builders.wallet import CKB
from tests.support.nodes.process import RpcClient
from tests.support.nodes.reference import Pair

pytestmark = pytest.mark.timeout(300)

LACKED = 30


def relayed(mirror: Mirror, **content: object) -> str:
    """The source mines a block with this content (see `filled`), and the target gets it from it; its hash."""
    block_hash = mirror.make(mirror.filled(**content))  # type: ignore[arg-type]
    assert tip_hash(mirror.source) == block_hash
    wait_until(lambda: tip_hash(mirror.target) == block_hash)
    COUNTS["blocks relayed"] += 1
    return block_hash


def are_still_together(pair: Pair) -> None:
    """No protocol error on either side."""
    for node in (pair.reference, pair.ours):
        assert node.rpc.call("get_banned_addresses") == []
        assert peer_of(node) is not None
    assert_same_chain(pair)


def knows(rpc: RpcClient, transaction: Transaction) -> bool:
    status: str = rpc.call("get_transaction", hexed(transaction.hash))["tx_status"]["status"]
    return status not in ("unknown", "rejected")


@pytest.fixture(params=["ours", "reference"])
def dialler(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_transactions_that_no_pool_has_are_asked_for(pair: Pair, mirror: Mirror, dialler: str) -> None:
    mirror.mine(2)
    cells = purses(mirror, LACKED)
    connect(pair, dialler)
    payments = [mirror.transfer(each, mirror.bob.wallet.lock, 100 * CKB) for each in cells]
    relayed(mirror, propose=payments)
    relayed(mirror)
    assert not any(knows(mirror.target, each) for each in payments)
    relayed(mirror, commit=payments)
    assert all(knows(mirror.target, each) for each in payments)
    are_still_together(pair)


def test_an_uncle_that_only_the_miner_has_is_asked_for(pair: Pair, mirror: Mirror) -> None:
    mirror.mine(2)
    template = mirror.template()
    mirror.mine()
    brother = mirror.make(template | {"current_time": hex(int(template["current_time"], 16) + 1)})
    wait_until(lambda: len(mirror.template()["uncles"]) == 1)
    connect(pair, "ours")
    assert mirror.target.call("get_fork_block", brother) is None
    view = mirror.target.call("get_block", relayed(mirror))
    assert [each["header"]["hash"] for each in view["uncles"]] == [brother]
    are_still_together(pair)


def test_another_copy_of_a_transaction_is_no_obstacle(pair: Pair, mirror: Mirror) -> None:
    """Witnesses are no part of a transaction's hash, so the target takes its own copy for the block's."""
    mirror.mine(2)
    code = exits_with(0)
    (program,) = deploy(mirror, code)
    anyone = locked(code, HASH_TYPE_DATA1)
    funding = mirror.spend(mirror.alice, [CellOutput(capacity=500 * CKB, lock=anyone, type_=None)])
    mirror.commit(funding)
    body = RawTransaction(
        version=0,
        cell_deps=[code_dep(program)],
        header_deps=[],
        inputs=[CellInput(since=0, previous_output=out_points(funding, 1)[0])],
        outputs=[CellOutput(capacity=499 * CKB, lock=anyone, type_=None)],
        outputs_data=[b""],
    )
    pooled, mined = (Transaction(body=body, witnesses=[text]) for text in (b"of the pool", b"of the block"))
    assert pooled.hash == mined.hash
    others = [mirror.transfer(mirror.alice, mirror.bob.wallet.lock, 100 * CKB) for _ in range(2)]
    mirror.target.call("send_transaction", transaction_json(pooled), "passthrough")
    connect(pair, "ours")
    relayed(mirror, propose=[mined, *others])
    relayed(mirror)
    view = mirror.target.call("get_block", relayed(mirror, commit=[others[0], mined, others[1]]))
    assert [each["witnesses"] for each in view["transactions"]][2] == [hexed(b"of the block")]
    are_still_together(pair)
